"""What kind of project a folder or a Python file is, and the options of a site for it, found by looking alone.

``detect`` decides; what Django needs is ``detect_django``'s, what other frameworks serve as files ``detect_static``'s,
what names hold ``static_eval``'s. The hard part is that a project rarely says which of its objects is the application.
So every module that usually holds it is worked out, and what is found is ranked: an object that surely is one, then a
function that makes one, then a name that tells; within a rank the more usual file wins. Nothing of the project is
imported or run, and nothing that it says is trusted to be short.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from hostel.errors import UsageError
from hostel.options.detect_django import describe_django, find_manage, is_application, settings_given, settings_set_by
from hostel.options.detect_static import PUBLIC_FOLDERS, find_index, find_static
from hostel.options.fields import parse_path
from hostel.options.reading import Reader
from hostel.options.static_eval import (
    DATA,
    UNKNOWN,
    ClassDefinition,
    Dotted,
    Evaluator,
    Function,
    Import,
    Made,
    Signature,
    find_method,
)

ENVIRONMENTS = (".venv", "venv", "env")
MODULES = ("wsgi", "app", "main", "application", "asgi", "passenger_wsgi", "server", "run", "api", "web")
NO_MODULES = ("manage", "setup", "conftest", "noxfile", "fabfile", "tasks")  # tools of a project
PACKAGE_MODULES = ("", "wsgi", "app", "main", "asgi", "application")
NAMES = ("application", "app", "api")
FACTORIES = ("create_app", "make_app")
PACKAGES = 50
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

# What makes an application: (top package, last part of the name) -> kind.
MAKERS = {
    ("flask", "Flask"): "flask", ("apiflask", "APIFlask"): "flask", ("flask_openapi3", "OpenAPI"): "flask",
    ("dash", "Dash"): "flask", ("fastapi", "FastAPI"): "fastapi", ("starlette", "Starlette"): "starlette",
    ("quart", "Quart"): "asgi", ("litestar", "Litestar"): "asgi", ("sanic", "Sanic"): "asgi",
    ("blacksheep", "Application"): "asgi", ("socketio", "ASGIApp"): "asgi", ("socketio", "WSGIApp"): "wsgi",
    ("falcon", "App"): "wsgi", ("falcon", "API"): "wsgi", ("bottle", "Bottle"): "wsgi", ("bottle", "default_app"): "wsgi",
    ("pyramid", "make_wsgi_app"): "wsgi", ("web", "wsgifunc"): "wsgi", ("asgiref", "WsgiToAsgi"): "asgi",
    ("a2wsgi", "WSGIMiddleware"): "asgi", ("a2wsgi", "ASGIMiddleware"): "wsgi",
    ("django", "get_wsgi_application"): "django", ("django", "get_asgi_application"): "django",
    ("channels", "ProtocolTypeRouter"): "django",
}  # fmt: skip
# Top packages whose objects are called app too, but are no web application, unless they stand above.
OTHERS = {package for package, _ in MAKERS} | {
    "aiohttp", "argparse", "celery", "click", "customtkinter", "discord", "gi", "huey", "kivy", "PyQt5", "PyQt6",
    "PySide2", "PySide6", "rq", "streamlit", "telegram", "textual", "tkinter", "tornado", "typer", "wx",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detected:
    """What a folder or file was found to be."""

    kind: str  # "django", "flask", "fastapi", "starlette", "asgi", "wsgi" or "static"
    options: dict[str, Any]  # what a site file for it would say; its paths are absolute
    notes: tuple[str, ...]  # sentences for the person


class Rank(IntEnum):
    """How sure it is that something is the application."""

    OBJECT = 0
    FACTORY = 1
    NAME = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Something that may be the application, in a module below one of the folders that modules are imported from."""

    rank: Rank
    kind: str
    app: str
    value: object
    origin: object  # the value, or the function that makes it: the same when two modules share one
    evaluator: Evaluator

    @property
    def file(self) -> str:
        return self.evaluator.find(self.app.partition(":")[0]) or self.evaluator.directory


def detect(path: str, variables: Mapping[str, str] = NO_VARIABLES) -> Detected:
    """What kind of project a folder, or a single Python file, is, and the options of a site for it.

    ``variables`` are environment variables that the site will have, and which need not be among its options again.
    It only looks: nothing is imported, run, written or made. Raises ``UsageError`` when the path cannot be looked at,
    when nothing in it is recognised, and when several things are and none is more likely than the others.
    """
    path = os.path.abspath(path)
    reader = Reader()
    try:
        look = _look_at_folder if _is_folder(path) else _look_at_file
        detected = look(reader, path, variables)
    except UsageError as error:
        skipped = "".join(f"; {note}" for note in reader.notes[:3])
        raise UsageError(_printable(str(error)), _printable(error.hint + skipped)) from None
    return Detected(detected.kind, detected.options, tuple(map(_printable, (*detected.notes, *reader.notes))))


def is_project(path: str) -> bool:
    """Whether ``detect`` finds a project there."""
    try:
        detect(path)
    except UsageError:
        return False
    return True


def _is_folder(path: str) -> bool:
    """Raises UsageError when the path is neither a folder nor a Python file, or cannot be read."""
    try:
        parse_path(path)
        path.encode()
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()
            return True
    except ValueError:
        raise UsageError(
            f"cannot look at {path}: its name has characters that no option can hold", "rename it"
        ) from None
    except OSError as error:
        reason = "there is no such file or folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"cannot look at {path}: {reason}", "check the path and who may read it") from None
    if stat.S_ISREG(mode) and path.endswith(".py"):
        return False
    raise UsageError(f"cannot look at {path}: it is neither a folder nor a Python file", "name a folder or a .py file")


def _look_at_folder(reader: Reader, folder: str, variables: Mapping[str, str]) -> Detected:
    managed = find_manage(reader, folder, variables)
    if len(managed) == 1:
        directory, settings = managed[0]
        _is_folder(directory)
        if settings and not Evaluator(reader, directory, variables).find(settings):
            source = os.path.join(directory, "src")
            directory = source if Evaluator(reader, source, variables).find(settings) else directory
        return _django(Evaluator(reader, directory, variables), folder, settings)
    found = _choose(folder, _candidates(reader, folder, variables))
    found = found or _choose(folder, _other_candidates(reader, folder, variables))
    if found:
        return _application(found, folder)
    if managed:
        names = ", ".join(os.path.basename(directory) for directory, _ in managed)
        raise UsageError(
            f"cannot choose a project in {folder}: several folders have a manage.py", f"name one of: {names}"
        )
    if place := find_index(reader, folder):
        return Detected("static", {"static": {"/": place}, "directory": place}, ())
    raise UsageError(
        f"cannot tell what {folder} is: nothing in it looks like a web application",
        f"looked for manage.py (Django), for an application in {', '.join(f'{name}.py' for name in MODULES)}, other Python "
        f"files and packages, also below src, and for index.html (also in {', '.join(PUBLIC_FOLDERS)}); name the Python "
        "file that holds the application, or write a site file",
    )


def _look_at_file(reader: Reader, file: str, variables: Mapping[str, str]) -> Detected:
    directory, name = os.path.split(file)
    managed = find_manage(reader, directory, variables) if name == "manage.py" else []
    if [at for at, _ in managed] == [directory]:
        return _look_at_folder(reader, directory, variables)
    parts = [name[:-3]]
    while os.path.isfile(os.path.join(directory, "__init__.py")) and len(parts) < 20:
        directory, name = os.path.split(directory)
        parts.insert(0, name)
    if parts[-1] == "__init__" and len(parts) > 1:
        del parts[-1]
    module = ".".join(parts)
    if not is_application(f"{module}:app"):
        raise UsageError(
            f"cannot import {file}: {module!r} is no name of a module", "rename it: letters, digits and '_'"
        )
    found = _examine(Evaluator(reader, directory, variables), module)
    if found is None:
        raise UsageError(
            f"cannot find an application in {file}",
            f"looked for an object of Flask, FastAPI, Starlette and others, for a function {' or '.join(FACTORIES)} "
            "without required parameters, and for the names application and app",
        )
    return _application(found, directory)


# Candidates


def _candidates(reader: Reader, folder: str, variables: Mapping[str, str]) -> Iterator[tuple[str, Found]]:
    """What may be the application, in the order of the files, each with its package's name (empty for a module)."""
    source = os.path.join(folder, "src")
    is_source = os.path.isdir(source) and not _is_package(folder, "src")
    places = [Evaluator(reader, place, variables) for place in ([folder, source] if is_source else [folder])]
    for place in places:
        # Python prefers a package to a module of the same name; packages come later.
        modules = [module for module in MODULES if not _is_package(place.directory, module)]
        yield from (("", found) for module in modules if (found := _examine(place, module)))
    for place in places:
        packages = [name for name in reader.folders(place.directory) if _is_package(place.directory, name)]
        for package in packages[:PACKAGES]:
            modules = [f"{package}.{module}".rstrip(".") for module in PACKAGE_MODULES]
            yield from ((package, found) for module in modules if (found := _examine(place, module)))


def _other_candidates(reader: Reader, folder: str, variables: Mapping[str, str]) -> Iterator[tuple[str, Found]]:
    """What surely is an application in the folder's Python files that have no usual name."""
    evaluator = Evaluator(reader, folder, variables)
    names = [name[:-3] for name in reader.entries(folder) if name.endswith(".py") and not name.startswith("test_")]
    for module in [name for name in names if name not in (*MODULES, *NO_MODULES)][:PACKAGES]:
        found = _examine(evaluator, module)
        if found and found.rank is not Rank.NAME:
            yield module, found


def _is_package(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name, "__init__.py"))


def _choose(folder: str, candidates: Iterable[tuple[str, Found]]) -> Found | None:
    """The most likely one. Raises UsageError when several parts of a project have one, and it is not the same one."""
    ranked: dict[Rank, list[tuple[str, Found]]] = {}
    for package, found in candidates:
        ranked.setdefault(found.rank, []).append((package, found))
        if found.rank is Rank.OBJECT and not package:
            return found
    if not ranked:
        return None
    best = ranked[min(ranked)]
    package, first = best[0]
    rivals = {name: found for name, found in best if name not in ("", package) and found.origin is not first.origin}
    if not rivals or not package or first.rank is Rank.NAME:
        return first
    own = os.path.basename(folder).lower().replace("-", "_")
    if named := next((found for name, found in best if name.lower() == own), None):
        return named
    files = ", ".join([one.file for one in (first, *rivals.values())][:5])
    raise UsageError(
        f"cannot choose an application in {folder}: there are several",
        f"name the file that holds the one you mean: {files}",
    )


def _examine(evaluator: Evaluator, module: str) -> Found | None:
    """The most likely application of one module, which has to lie in the folder that is sure to be imported from."""
    file = evaluator.find(module) if is_application(f"{module}:app") else None
    scope = evaluator.load(module) if file else None
    if not file or not scope or not file.startswith(os.path.join(evaluator.directory, *module.split("."))):
        return None
    own = [name for name, value in scope.names.items() if not isinstance(value, Import) and name not in NAMES]

    def found(rank: Rank, kind: str, name: str, value: object, origin: object = None) -> Found | None:
        app = f"{module}:{name}"
        return Found(rank, kind, app, value, origin or value, evaluator) if is_application(app) else None

    for name in [*(name for name in NAMES if name in scope.names), *own]:
        value = evaluator.get(scope, name)
        if kind := _kind_of(value, is_named=name in NAMES[:2]):
            if isinstance(value, Made) and _maker(value.func) == ("dash", "Dash"):
                name = "server" if "server" in scope.names else f"{name}.server"
            return found(Rank.OBJECT, kind, name, value)
    for name in FACTORIES:
        function = evaluator.get(scope, name)
        if isinstance(function, Function) and not function.signature.required and not function.signature.is_async:
            value = evaluator.call(function)
            kind = _kind_of(value, is_named=True)
            if kind or not _is_other(value):
                return found(Rank.FACTORY, kind or "wsgi", f"{name}()", value, function)
    for name in NAMES[:2]:
        value = evaluator.get(scope, name) if name in scope.names else None
        if _may_be_application(value):
            return found(Rank.NAME, "asgi" if module.split(".")[-1] == "asgi" else "wsgi", name, value)
        if isinstance(value, Made) and _maker(value.func)[0] in ("aiohttp", "tornado"):
            evaluator.reader.note(f"{scope.file}: {name} is made by {value.func}, which is neither WSGI nor ASGI")
    return None


def _maker(func: str) -> tuple[str, str]:
    return func.split(".")[0], func.split(".")[-1]


def _kind_of(value: object, is_named: bool, depth: int = 0) -> str | None:
    """The kind of application that a value surely is, or None. ``is_named``: it has the usual name of one."""
    match value:
        case Made(func=func):
            if kind := MAKERS.get(_maker(func)):
                return "asgi" if ".asgi." in func and kind == "wsgi" else kind
            if value.calling and (calling := _interface(value.calling, skip=1)):
                return calling
            if (is_named or depth) and depth < 4 and _maker(func)[0] not in OTHERS:  # something around an application
                return next((kind for one in _given(value) if (kind := _kind_of(one, False, depth + 1))), None)
        case Dotted(name="dash.Dash.server"):
            return "flask"
        case Function():
            names = value.signature.positional[:3]
            if is_named or names[-1:] == ("start_response",) or names == ("scope", "receive", "send"):
                return _interface(value.signature)
        case ClassDefinition() if is_named:
            made = find_method(value, "__init__")
            return _interface(made, skip=1) if made and find_method(value, "__iter__") else None
    return None


def _given(made: Made) -> tuple[object, ...]:
    """What something was made from: for a layer around an application, the application is one of these."""
    return (*made.args, *made.keywords.values())[:8]


def _innermost(value: object) -> Made | None:
    """The framework's object in what may be layers around it."""
    for _ in range(5):
        if not isinstance(value, Made) or _maker(value.func) in MAKERS:
            break
        value = next((one for one in _given(value) if _kind_of(one, False, 1)), None)
    return value if isinstance(value, Made) and _maker(value.func) in MAKERS else None


def _interface(signature: Signature, skip: int = 0) -> str | None:
    """How something with these parameters is called: as WSGI, as ASGI, or neither."""
    names, required = signature.positional[skip:], signature.required - skip
    if names[:3] == ("scope", "receive", "send") or (signature.is_async and len(names) >= 3 >= required):
        return "asgi" if required <= 3 else None
    return "wsgi" if len(names) >= 2 >= required and not signature.is_async else None


def _may_be_application(value: object) -> bool:
    if isinstance(value, Function):
        return bool(value.decorators) and not any(_is_other(one) for one in value.decorators)
    return value is UNKNOWN or (isinstance(value, (Made, Dotted)) and not _is_other(value))


def _is_other(value: object) -> bool:
    """Whether something is known to be no application."""
    if isinstance(value, (Made, Dotted)):
        maker = _maker(value.func if isinstance(value, Made) else value.name)
        return maker[0] in OTHERS and maker not in MAKERS
    return value is None or value is DATA or isinstance(value, (str, int, float, tuple))


# Options


def _application(found: Found, folder: str) -> Detected:
    """The site of an application that is no Django project with ``manage.py``."""
    evaluator, settings = found.evaluator, settings_set_by(found.evaluator, found.app)
    if found.kind == "django" or (settings is not None and found.kind in ("wsgi", "asgi")):
        named = settings if isinstance(settings, str) else settings_given(evaluator.variables)
        return _django(evaluator, folder, named, found.app)
    options: dict[str, Any] = {"app": found.app, "directory": evaluator.directory}
    notes: list[str] = []
    libraries = _add_environment(options, notes, folder, evaluator.directory)
    if made := _innermost(found.value):
        if static := find_static(evaluator, made, folder):
            options["static"] = static
        package = made.func.split(".")[0]
        places = [os.path.join(library, package) for library in libraries]
        if not any(os.path.exists(place + end) for place in places for end in ("", ".py")):
            where = options.get("environment") or "the Python that Hostel runs in"
            notes.append(f"{package} is not installed in {where}: install the project's requirements there")
    return Detected(found.kind, options, tuple(notes))


def _django(evaluator: Evaluator, folder: str, settings: str | None, app: str | None = None) -> Detected:
    options: dict[str, Any] = {"directory": evaluator.directory}
    notes: list[str] = []
    libraries = _add_environment(options, notes, folder, evaluator.directory)
    more, told = describe_django(evaluator, libraries, settings, app)
    return Detected("django", {"app": more["app"], **options, **more}, (*notes, *told))


def _add_environment(options: dict[str, Any], notes: list[str], *folders: str) -> list[str]:
    """Add the project's virtualenv, if it has one, to the options; the folders that its packages are installed in."""
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path]
    own = list(dict.fromkeys(path for path in paths if path.endswith(("/site-packages", "/dist-packages"))))
    reader = Reader()
    for environment in dict.fromkeys(os.path.join(folder, name) for folder in folders for name in ENVIRONMENTS):
        said = reader.read(os.path.join(environment, "pyvenv.cfg"))
        if said is None:
            continue
        if not os.path.isfile(os.path.join(environment, "bin", "python")):
            notes.append(f"{environment} has no Python that can be run (bin/python): make it anew")
            continue
        options["environment"] = environment
        pythons = [
            name for name in reader.entries(os.path.join(environment, "lib")) if name.startswith(("python", "pypy"))
        ]
        libraries = [os.path.join(environment, "lib", python, "site-packages") for python in pythons]
        has_more = re.search(rb"(?im)^include-system-site-packages\s*=\s*true", said)
        return [*libraries, *(["/usr/lib/python3/dist-packages", *own] if has_more else ())]
    return own


def _printable(text: str) -> str:
    """Text for a terminal: what a project says may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text[:1000])
