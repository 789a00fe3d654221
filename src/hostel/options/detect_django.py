"""A Django project's site: its application, its settings module, and which folders hold its static and media files.

Owns what is known about Django; what names hold is ``static_eval``'s. The hard part is static files before anybody ran
``collectstatic``: Django would merge the ``static`` folders of all apps into one tree, and here only a table from paths
in URLs to paths of the file system can say so. So each entry of each such folder becomes one mapping, the first app's
wins, and where two apps share a folder's name the second one's files are mapped one by one inside the first one's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hostel.options.detect_static import holds_code
from hostel.options.fields import parse_application, parse_url_prefix
from hostel.options.reading import Reader
from hostel.options.site import FILE_PARTS
from hostel.options.static_eval import UNKNOWN, Evaluator, Import, Scope

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
MAPPINGS = 500
MERGED_DEPTH = 6  # how deep folders of the same name in two apps are merged
FALLBACK_APP = "django.core.wsgi:get_wsgi_application()"
COLLECT = "python manage.py collectstatic"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is known of a project's settings module; ``scope`` is None when it could not be read."""

    module: str
    scope: Scope | None
    evaluator: Evaluator
    notes: list[str]

    def get(self, name: str, default: object = None) -> object:
        """The value of a setting, or ``UNKNOWN``; the default only when the settings surely leave it out."""
        is_there = self.scope is not None and name in self.scope.names
        return self.evaluator.get(self.scope, name) if is_there else default

    def note_unknown(self, name: str, consequence: str) -> None:
        self.notes.append(f"{name} cannot be told by reading the settings: {consequence}")


def find_manage(reader: Reader, folder: str, variables: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """The folders with a Django ``manage.py``, this one or else direct subfolders, and the settings that each names.

    The settings' module is None where ``manage.py`` does not say it plainly. The one that the ``variables`` name wins.
    """
    given = settings_given(variables)
    for candidates in ([folder], [os.path.join(folder, name) for name in reader.folders(folder)]):
        found = []
        for candidate in candidates:
            file = os.path.join(candidate, "manage.py")
            evaluator = Evaluator(reader, candidate, variables)
            scope = evaluator.load_file(file, "__main__") if os.path.isfile(file) else None
            if scope is not None and SETTINGS_VARIABLE in scope.environ:
                found.append((candidate, given or _module_name(scope.environ[SETTINGS_VARIABLE])))
        if found:
            return found
    return []


def settings_given(variables: Mapping[str, str]) -> str | None:
    """The settings module that the site's environment names."""
    return _module_name(variables.get(SETTINGS_VARIABLE))


def settings_set_by(evaluator: Evaluator, app: str) -> object:
    """The settings module that the module of an application puts into the environment itself, or None.

    ``UNKNOWN`` means that it sets one which cannot be told.
    """
    module, _, name = app.partition(":")
    for _ in range(4):
        scope = evaluator.load(module)
        if scope is not None and SETTINGS_VARIABLE in scope.environ:
            return _module_name(scope.environ[SETTINGS_VARIABLE]) or UNKNOWN
        origin = scope.names.get(name) if scope is not None else None
        if not isinstance(origin, Import):
            break
        module, name = origin.module, origin.name
    return None


def describe_django(
    evaluator: Evaluator, libraries: list[str], named: str | None, app: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The options ``app``, ``env`` and ``static`` of a Django project, and sentences for the person.

    ``named`` is the settings module that the environment or else ``manage.py`` names, ``app`` the application if it is
    known already, and ``libraries`` are the site-packages folders that the project's apps are looked for in.
    """
    notes: list[str] = []
    module, entry, own = named or "", app, None
    for _ in range(3):  # the settings name the application, whose module may name other settings
        settings = Settings(module, evaluator.load(module), evaluator, notes)
        entry = app or _find_app(settings)
        own = settings_set_by(evaluator, entry)
        if not isinstance(own, str) or own == module or not evaluator.find(own):
            break
        module = own
    options: dict[str, Any] = {"app": entry}
    given = settings_given(evaluator.variables)
    if given and own not in (None, given):
        other = f", to {own}" if isinstance(own, str) else ""
        notes.append(f"{entry} sets {SETTINGS_VARIABLE} by itself{other}: what you have given for it is not used")
    if own is None and named:
        options["env"] = {SETTINGS_VARIABLE: named}
    if settings.scope is None:
        what = f"settings module {module}".strip()
        notes.append(f"the {what} could not be read: static files are not mapped; name them under [static]")
    else:
        if static := _static(settings, libraries):
            options["static"] = static
        if settings.get("DEBUG") is True:
            notes.append(f"DEBUG is on in {module}: turn it off before strangers visit")
        apps, said = settings.get("INSTALLED_APPS"), _application(settings, "ASGI_APPLICATION")
        if said not in (None, entry) and isinstance(apps, tuple) and ("channels" in apps or "daphne" in apps):
            notes.append(f'the project uses channels: for WebSockets set app = "{said}"')
    if libraries and not any(os.path.isdir(os.path.join(library, "django")) for library in libraries):
        notes.append(f"Django is not installed in {libraries[0]}: install the project's requirements there")
    return options, notes


def _module_name(value: object) -> str | None:
    is_name = isinstance(value, str) and all(part.isidentifier() for part in value.split("."))
    return str(value) if is_name else None


def is_application(text: str) -> bool:
    """Whether a text can be the option ``app``."""
    try:
        return bool(parse_application(text))
    except ValueError:
        return False


def _application(settings: Settings, name: str) -> str | None:
    """The application that a setting names, if its module is there."""
    module, _, attribute = said.rpartition(".") if isinstance(said := settings.get(name), str) else ("", "", "")
    return (
        f"{module}:{attribute}" if settings.evaluator.find(module) and is_application(f"{module}:{attribute}") else None
    )


def _find_app(settings: Settings) -> str:
    """The WSGI application that the settings name or that lies beside them; an ASGI one only where there is none."""
    evaluator = settings.evaluator
    for kind in ("wsgi", "asgi"):
        if said := _application(settings, f"{kind.upper()}_APPLICATION"):
            return said
        parts = settings.module.split(".")
        packages = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        for package in (*packages, "", *evaluator.reader.folders(evaluator.directory)):
            module = f"{package}.{kind}".lstrip(".")
            if evaluator.find(module) and is_application(f"{module}:application"):
                names = scope.names if (scope := evaluator.load(module)) else {}
                return f"{module}:app" if "app" in names and "application" not in names else f"{module}:application"
    return FALLBACK_APP


# Static and media files


def _static(settings: Settings, libraries: list[str]) -> dict[str, str]:
    """The mappings of static and media files."""
    evaluator, mappings = settings.evaluator, {}
    base = _url(settings, "STATIC_URL", "static/")
    if base:
        root = evaluator.path(said := settings.get("STATIC_ROOT"))
        until = "until then static files are taken from the folders of the apps"
        if root is None and said not in (None, ""):
            settings.note_unknown("STATIC_ROOT", f"{until}; name it under [static]")
        elif root is None:
            settings.notes.append(
                "STATIC_ROOT is not set: static files are taken from the folders of the apps; for production, set it "
                f"and run {COLLECT}"
            )
        elif _is_open(settings, root, f"STATIC_ROOT {root}"):
            if evaluator.reader.entries(root):
                mappings[f"{base}/"] = root
            else:
                state = "is empty" if os.path.isdir(root) else "does not exist yet"
                settings.notes.append(f"STATIC_ROOT {root} {state}: run {COLLECT}; {until}")
        if not mappings:
            _collect(settings, base, libraries, mappings)
    media = evaluator.path(settings.get("MEDIA_ROOT"))
    base = _url(settings, "MEDIA_URL", "") if media else ""
    is_free = media and base and os.path.isdir(os.path.dirname(media)) and not {base, f"{base}/"} & mappings.keys()
    if media and is_free and _is_open(settings, media, f"MEDIA_ROOT {media}"):
        mappings[f"{base}/"] = media
    return mappings


def _is_open(settings: Settings, folder: str, what: str) -> bool:
    """Whether a folder may be served; notes why not."""
    is_open = not holds_code(settings.evaluator, folder)
    if not is_open:
        settings.notes.append(f"{what} holds the project's own code and is not served: set it to a folder of its own")
    return is_open


def _url(settings: Settings, name: str, default: str) -> str:
    """A setting as path in URLs without the last slash; empty when there is nothing to map below it."""
    said = settings.get(name, default)
    if not isinstance(said, str) and said is not None:
        settings.note_unknown(name, "its files are not mapped; name them under [static]")
    if not said or not isinstance(said, str) or said.startswith(("http://", "https://", "//")):
        return ""
    try:
        return parse_url_prefix(f"/{said.strip('/')}")
    except ValueError:
        settings.notes.append(f"{name} is not a path that files can be mapped to: name them under [static]")
        return ""


def _collect(settings: Settings, base: str, libraries: list[str], mappings: dict[str, str]) -> None:
    """Add what ``collectstatic`` would collect."""
    evaluator = settings.evaluator
    folders = said if isinstance(said := settings.get("STATICFILES_DIRS", ()), tuple) else ()
    for source in folders:
        prefix, path = source if isinstance(source, tuple) and len(source) == 2 else ("", source)
        folder = evaluator.path(path)
        is_there = folder and isinstance(prefix, str) and os.path.isdir(folder)
        if folder and is_there and _is_open(settings, folder, f"{folder}, of STATICFILES_DIRS,"):
            _merge(mappings, evaluator.reader, f"{base}/{prefix}".rstrip("/"), folder)
    apps = settings.get("INSTALLED_APPS", ())
    if not isinstance(apps, tuple):
        settings.note_unknown("INSTALLED_APPS", "the static files of apps are not mapped")
        apps = ()
    for app in dict.fromkeys(app for app in apps if isinstance(app, str)):
        if package := _find_package(app, [*evaluator.roots, *libraries]):
            _merge(mappings, evaluator.reader, base, os.path.join(package, "static"))
    if len(mappings) >= MAPPINGS:
        settings.notes.append(
            f"there are more static files than {MAPPINGS} mappings can say: set STATIC_ROOT and run {COLLECT}"
        )


def _merge(mappings: dict[str, str], reader: Reader, prefix: str, folder: str, depth: int = 0) -> None:
    """Add the entries of a folder below a path in URLs, as far as nothing is served there yet."""
    for name in reader.entries(folder):
        if name.startswith(".") or name.endswith("~") or name == "CVS" or len(mappings) >= MAPPINGS:
            continue  # as collectstatic
        url, path = f"{prefix}/{name}", os.path.join(folder, name)
        served = _served(mappings, url)
        if served is None:
            if url.count("/") <= FILE_PARTS and _is_usable(url, path):
                mappings[url] = path
        elif (
            depth < MERGED_DEPTH
            and os.path.isdir(served)
            and os.path.isdir(path)
            and not os.path.samefile(served, path)
        ):
            _merge(mappings, reader, url, path, depth + 1)


def _served(mappings: dict[str, str], url: str) -> str | None:
    """The path that a path in URLs leads to, if there is something."""
    head, tail = url, ""
    while head and head not in mappings:
        head, _, name = head.rpartition("/")
        tail = f"/{name}{tail}"
    path = mappings.get(head, "") + tail
    return path if head and os.path.lexists(path) else None


def _is_usable(url: str, path: str) -> bool:
    try:
        return bool(parse_url_prefix(url)) and path.isprintable() and os.path.exists(path)
    except ValueError:
        return False


def _find_package(app: str, roots: list[str]) -> str | None:
    """The folder of an app, given as package (``blog``) or as class of its configuration (``blog.apps.BlogConfig``)."""
    parts = app.split(".")
    if len(app) > 300 or not all(part.isidentifier() for part in parts):
        return None
    root = next((root for root in roots if os.path.isdir(os.path.join(root, parts[0]))), None)
    folders = [os.path.join(root, *parts[:length]) for length in range(len(parts), 0, -1)] if root else ()
    return next(filter(os.path.isdir, folders), None)
