"""The files that a project that is not Django's serves by itself, or is: what the front can serve in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hostel.errors import UsageError
from hostel.options.fields import parse_url_prefix
from hostel.options.reading import Reader
from hostel.options.static_eval import Evaluator, Made

PUBLIC_FOLDERS = ("public", "dist", "build", "site", "_site", "html", "htdocs", "www")
PRIVATE_FILES = (".git", ".hg", ".svn", ".env", ".htpasswd")
WITH_STATIC_FOLDER = ("Flask", "APIFlask", "OpenAPI", "Quart")


def find_static(evaluator: Evaluator, made: Made, folder: str) -> dict[str, str]:
    """The option ``static`` for an application object: folders by their paths in URLs.

    Not those for the whole site, nor those that would give away the project's code.
    """
    is_flask = made.func.split(".")[-1] in WITH_STATIC_FOLDER
    found = _own_folder(evaluator, made) if is_flask else _mounted_folders(evaluator, made, folder)
    static = {}
    for url, path in found:
        if isinstance(url, str) and url.strip("/") and os.path.isdir(path) and not holds_code(evaluator, path):
            try:
                static[f"{parse_url_prefix('/' + url.strip('/'))}/"] = path
            except ValueError:
                pass
    return static


def _own_folder(evaluator: Evaluator, made: Made) -> Iterator[tuple[object, str]]:
    """The static folder that a Flask or Quart object serves by itself."""
    said = made.keywords
    if {"**", "static_host", "root_path"} & said.keys() or said.get("has_static_folder") is False:
        return
    given: list[object] = [*made.args[:3], *(None, None, "static")[len(made.args) :]]
    name = said.get("import_name", given[0])
    module = evaluator.find(name) if isinstance(name, str) and name != made.scope.module else None
    path = evaluator.path(said.get("static_folder", given[2]), os.path.dirname(module or made.scope.file))
    if path is not None:
        url = said.get("static_url_path", given[1])
        yield os.path.basename(path) if url is None else url, path


def _mounted_folders(evaluator: Evaluator, made: Made, folder: str) -> Iterator[tuple[object, str]]:
    """The static folders that are mounted on a FastAPI or Starlette object, and nothing but served."""
    routes = said if isinstance(said := made.keywords.get("routes"), tuple) else ()
    mounts = [(args, keywords) for name, args, keywords in made.calls if name == "mount"]
    mounts += [(one.args, one.keywords) for one in routes if isinstance(one, Made) and one.func.endswith(".Mount")]
    for args, keywords in mounts:
        url = keywords.get("path", args[0] if args else None)
        files = keywords.get("app", args[1] if len(args) > 1 else None)
        if not isinstance(files, Made) or not files.func.endswith(".StaticFiles"):
            continue
        if files.keywords.get("html", False) is not False or {"packages", "**"} & files.keywords.keys():
            continue
        said = files.keywords.get("directory", files.args[0] if files.args else None)
        paths = [evaluator.path(said, base) for base in (evaluator.directory, folder)]
        if path := next((path for path in paths if path and os.path.isdir(path)), None):
            yield url, path


def find_index(reader: Reader, folder: str) -> str | None:
    """The folder of plain files that a folder is, or has. Raises ``UsageError`` when it has several."""
    candidates = [folder, *(os.path.join(folder, name) for name in PUBLIC_FOLDERS)]
    places = [place for place in candidates if os.path.isfile(os.path.join(place, "index.html"))]
    if not places:
        return None
    if places[0] != folder and len(places) > 1:
        names = ", ".join(os.path.basename(place) for place in places)
        raise UsageError(f"cannot choose a folder in {folder}: several have an index.html", f"name one of: {names}")
    private = [name for name in reader.entries(places[0]) if name in PRIVATE_FILES or name.endswith(".py")][:5]
    if private:
        reader.note(f"{places[0]} also has {', '.join(private)}, which nobody should be served: move it away")
    return places[0]


def holds_code(evaluator: Evaluator, folder: str) -> bool:
    """Whether a folder is the project's own or one above it, whose files nobody means to publish."""
    directory, folder = os.path.realpath(evaluator.directory), os.path.realpath(folder)
    return f"{directory}/".startswith(f"{folder.rstrip('/')}/")
