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
from typing import Any, Callable, Dict, FrozenSet, Optional, Set, Tuple

from hostel.errors import SiteError

CO_COROUTINE = 0x80 | 0x100  # inspect.CO_COROUTINE, CO_ITERABLE_COROUTINE; importing inspect would cost 5 ms
WSGI_ARGUMENTS = 2
WRAPPERS = 50  # a bound for objects that claim to wrap something without end
SOURCES = 200
CAUSES = 50  # a bound for exceptions that led to others
FROZEN = "<frozen importlib"  # what the import system's frames are called
RECORDER = os.path.join(os.path.dirname(__file__), "imports.py")  # it stands between them when a start is measured
# The modules of Python itself; before Python 3.10, those that are often left out of it.
OWN_MODULES: FrozenSet[str] = getattr(sys, "stdlib_module_names", None) or frozenset(
    ("_bz2", "_ctypes", "_curses", "_dbm", "_gdbm", "_hashlib", "_lzma", "_sqlite3", "_ssl", "_tkinter", "_uuid", "distutils",
     "ensurepip", "idlelib", "lib2to3", "readline", "tkinter", "turtle", "venv", "zlib")
)  # fmt: skip


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
        raise LoadError(f"no module named {name!r}", _hint_for_module(name), _format(error)) from None
    except SystemExit as error:
        raise LoadError(
            f"module {module_name!r} exits when it is imported (status {error.code!r})",
            "code that exits belongs under: if __name__ == '__main__'",
            _format(error),
        ) from None
    except BaseException as error:
        raise LoadError(f"{type(error).__name__}: {error}", _hint_for(error), _format(error)) from None
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
            raise LoadError(f"{type(error).__name__}: {error}", _hint_for(error), _format(error)) from None
    if is_call:
        try:
            found = found()
        except BaseException as error:
            raise LoadError(
                f"{application} raised {type(error).__name__}: {error}", _hint_for(error), _format(error)
            ) from None
    if not callable(found):
        raise LoadError(
            f"{application!r} is {type(found).__name__}, which cannot be called",
            "app has to name a WSGI or ASGI application, or a function that makes one, with () at its end",
        )
    return found


def _is_candidate(owner: Any, name: str) -> bool:
    """Whether an attribute could be meant as the application: it can be called, and was not just imported.

    Classes and functions alone are asked where they are from: a proxy, as Flask's ``request``, raises what it likes.
    """
    try:
        value = getattr(owner, name)
        home = getattr(owner, "__module__", None) or getattr(owner, "__name__", None)
    except Exception:  # of a property, or a lazy module
        return False
    is_definition = issubclass(type(value), (type, types.FunctionType, types.BuiltinFunctionType))
    return callable(value) and not (is_definition and value.__module__ != home)


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


def shared_modules(directory: str, before: Set[str], virtualenv: str = "") -> Tuple[str, ...]:
    """The modules imported since ``before`` that do not lie in the site's directory, in the order of their import.

    With a ``virtualenv`` that the zygote is not of: only those of Python itself.
    """
    inside = os.path.join(directory, "")
    library = os.path.join(os.path.dirname(os.__file__), "")
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(vars_of(module).get("__spec__"), "origin", None)
        if name in before or not isinstance(file, str) or name == "__main__" or name.startswith("hostel."):
            continue
        is_package = f"{os.sep}site-packages{os.sep}" in file
        if virtualenv and (is_package or not file.startswith(library)):
            continue
        if not file.startswith(inside) or is_package:
            names.append(name)
    return tuple(names)


def vars_of(module: Any) -> Dict[str, Any]:
    """A module's variables, got without running code of its own, as lazy modules have it."""
    try:
        return object.__getattribute__(module, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return {}


def _hint_for_module(name: str) -> str:
    """What to do about a module that is not there."""
    top, _, rest = name.partition(".")
    if top not in OWN_MODULES:
        return f"install it into the site's environment ({sys.prefix}), or set environment to the one that has it"
    library = os.path.dirname(os.__file__)
    file = vars_of(sys.modules.get(top)).get("__file__")
    if isinstance(file, str) and (not file.startswith(os.path.join(library, "")) or "-packages" + os.sep in file):
        return f"{file} stands in the way of Python's own module {top!r}: give it another name"
    version = ".".join(map(str, sys.version_info[:2]))
    if rest and top in sys.modules:
        return f"{top!r} belongs to Python itself, and that of Python {version} has no {rest!r}: check the name"
    return (
        f"it belongs to Python itself, and this Python {version} ({sys.base_prefix}) lacks it or is broken: install all of "
        "it (some systems have parts in packages of their own), or set environment to one that was made with another Python"
    )


def _hint_for(error: BaseException) -> str:
    """What to do about an exception of the site's code. Often a refusal lies behind it, as of a log file."""
    cause: Optional[BaseException] = error
    for _ in range(CAUSES):
        if cause is None or isinstance(cause, PermissionError):
            break
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    if not isinstance(cause, PermissionError):
        return "see the traceback"
    user, path = user_name(), cause.filename
    if not isinstance(path, (str, bytes)) or not path:
        return f"see the traceback; the site runs as user {user}, who may not do this"
    try:
        place = path = os.path.abspath(os.fsdecode(path))
    except OSError:  # the working directory is gone
        return f"see the traceback; the site runs as user {user}"
    while not os.path.lexists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if place != path and not os.access(place, os.X_OK):
        return (
            f"the site runs as user {user}, who may not enter {place}: "
            "put what the site needs where that user may, or set user to one who may"
        )
    if place != path:
        return (
            f"the site runs as user {user}, who may not make {path} in {place}: "
            f"make it and give it to that user (chown {user} {path}), or set user to one who may"
        )
    if _is_own(place):
        return f"the site runs as user {user}, who owns {place}, but its mode refuses: see chmod"
    return (
        f"the site runs as user {user}, who may not use {place}: "
        f"give it to that user (chown {user} {place}), or set user to one who may"
    )


def user_name() -> str:
    """Who this process runs as, or the number where the system has no name for it."""
    import pwd  # of no use to a worker that starts

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _is_own(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


def _format(error: BaseException) -> str:
    """The traceback without our own frames at its top, and without the import system's anywhere."""
    frames = error.__traceback__
    here = os.path.dirname(os.path.dirname(__file__))
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename, here):
        frames = frames.tb_next
    whole = traceback.TracebackException(type(error), error.with_traceback(frames), frames)
    _leave_out_imports(whole, set())
    return "".join(whole.format())


def _leave_out_imports(shown: traceback.TracebackException, seen: Set[int]) -> None:
    """Take the import system's frames out of a traceback and of those that led to it."""
    if id(shown) in seen or len(seen) >= CAUSES:
        return
    seen.add(id(shown))
    shown.stack[:] = [frame for frame in shown.stack if not _is_import(frame.filename)]
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        if other is not None:
            _leave_out_imports(other, seen)


def _is_ours(name: str, here: str) -> bool:
    return name.startswith(here) or _is_import(name)


def _is_import(name: str) -> bool:
    return name.startswith(FROZEN) or name in (importlib.__file__, RECORDER)
