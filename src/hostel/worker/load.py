"""Finding a site's application: import the module, take the object, tell WSGI from ASGI by looking.

What goes wrong here is what owners meet most often, so each way to fail has its own sentence and remedy.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
import types
from typing import Any, Callable, Dict, Set, Tuple

from hostel.errors import SiteError

CO_COROUTINE = 0x80 | 0x100  # inspect.CO_COROUTINE, CO_ITERABLE_COROUTINE; importing inspect would cost 5 ms
WSGI_ARGUMENTS = 2
WRAPPERS = 50  # a bound for objects that claim to wrap something without end
SOURCES = 200


class LoadError(SiteError):
    """The application cannot be had. ``traceback`` is empty when the sentence says all."""

    def __init__(self, message: str, hint: str = "", traceback: str = "") -> None:
        super().__init__(message, hint)
        self.traceback = traceback


def load(application: str, directory: str) -> Any:
    """The object that ``module:object`` names; ``module:make()`` is called. Raises ``LoadError``."""
    module_name, _, path = application.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        name = error.name or str(error)
        if module_name == name or module_name.startswith(name + "."):
            raise LoadError(
                f"no module named {name!r}",
                f"{application!r} is looked for in {directory} and in the site's environment: check app and directory",
            ) from None
        raise LoadError(
            f"no module named {name!r}",
            f"install it into the site's environment ({sys.prefix}), or set environment to the one that has it",
            _format(error),
        ) from None
    except SystemExit as error:
        raise LoadError(
            f"module {module_name!r} exits when it is imported (status {error.code!r})",
            "code that exits belongs under: if __name__ == '__main__'",
            _format(error),
        ) from None
    except BaseException as error:
        raise LoadError(f"{type(error).__name__}: {error}", "see the traceback", _format(error)) from None
    is_call = path.endswith("()")
    found: Any = module
    names = (path[:-2] if is_call else path).split(".")
    for count, name in enumerate(names):
        where = f"module {module_name!r}" if not count else f"{module_name}:{'.'.join(names[:count])}"
        try:
            found = getattr(found, name)
        except AttributeError:
            callables = sorted(n for n in dir(found) if not n.startswith("_") and _is_candidate(found, n))
            hint = f"it has: {', '.join(callables[:12])}" if callables else "it has no callable at all"
            raise LoadError(f"{where} has no {name!r}", hint) from None
        except BaseException as error:  # of a property, or a module's __getattr__
            raise LoadError(f"{type(error).__name__}: {error}", "see the traceback", _format(error)) from None
    if is_call:
        try:
            found = found()
        except BaseException as error:
            raise LoadError(
                f"{application} raised {type(error).__name__}: {error}", "see the traceback", _format(error)
            ) from None
    if not callable(found):
        raise LoadError(
            f"{application!r} is {type(found).__name__}, which cannot be called",
            "app has to name a WSGI or ASGI application, or a function that makes one, with () at its end",
        )
    return found


def _is_candidate(owner: Any, name: str) -> bool:
    """Whether an attribute could be meant as the application: it can be called, and was not just imported."""
    value = getattr(owner, name, None)
    home = getattr(owner, "__module__", None) or getattr(owner, "__name__", None)
    is_foreign = hasattr(value, "__name__") and getattr(value, "__module__", None) != home
    return callable(value) and not is_foreign


def is_asgi(application: Callable[..., Any]) -> bool:
    """Whether this is an ASGI application.

    It is one when it (an instance: its ``__call__``) is a coroutine function or takes ASGI's names. What says nothing,
    as a wrapper that takes anything, is judged by what it wraps.
    """
    if isinstance(application, type) and hasattr(application, "__await__"):
        return True  # each request makes an instance, which ASGI awaits; WSGI would iterate it
    inner: Any = application
    for _ in range(WRAPPERS):
        application = inner
        if isinstance(application, functools.partial):
            inner = application.func
        else:
            function: Any = application if hasattr(application, "__code__") else getattr(application, "__call__", None)  # noqa: B004
            code = getattr(getattr(function, "__func__", function), "__code__", None)
            if isinstance(code, types.CodeType):
                names = [name for name in code.co_varnames[: code.co_argcount] if name != "self"]
                if names[:3] == ["scope", "receive", "send"] or code.co_flags & CO_COROUTINE:
                    return True
                if len(names) == WSGI_ARGUMENTS:
                    return False
            inner = getattr(function, "__wrapped__", None)
        if not callable(inner):
            break
    return False


def involved_sources(directory: str, text: str) -> Tuple[str, ...]:
    """The site's own files that were imported or stand in a traceback: what to watch for a change that mends it."""
    inside = os.path.join(directory, "")
    found: Set[str] = {name for name in text.split('"') if name.startswith(inside)}
    for module in list(sys.modules.values()):
        name = vars_of(module).get("__file__")
        if isinstance(name, str) and name.startswith(inside):
            found.add(name)
    return tuple(sorted(name for name in found if f"{os.sep}site-packages{os.sep}" not in name)[:SOURCES])


def shared_modules(directory: str, before: Set[str]) -> Tuple[str, ...]:
    """The modules imported since ``before`` that do not lie in the site's directory, in the order of their import."""
    inside = os.path.join(directory, "")
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(vars_of(module).get("__spec__"), "origin", None)
        if name in before or not isinstance(file, str) or name == "__main__" or name.startswith("hostel."):
            continue
        if not file.startswith(inside) or f"{os.sep}site-packages{os.sep}" in file:
            names.append(name)
    return tuple(names)


def vars_of(module: Any) -> Dict[str, Any]:
    """A module's variables, got without running code of its own, as lazy modules have it."""
    try:
        return object.__getattribute__(module, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return {}


def _format(error: BaseException) -> str:
    """The traceback without our own frames at its top."""
    frames = error.__traceback__
    here = os.path.dirname(os.path.dirname(__file__))
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename, here):
        frames = frames.tb_next
    lines = traceback.format_exception(type(error), error.with_traceback(frames), frames)
    return "".join(lines)


def _is_ours(name: str, here: str) -> bool:
    return name.startswith((here, "<frozen importlib")) or "/importlib/" in name
