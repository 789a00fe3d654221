"""The options of a site, declared once, and ``Site``: a validated site file.

Pure: text in, value or problems out. What the file system says about a site is ``options.check``'s.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any, Literal, cast, get_type_hints

import tomli  # as tomllib, compiled: ten thousand site files are read at a start
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as options_dataclass
from pydantic.fields import FieldInfo

from hostel.options.fields import (
    OF_TENANT,
    Application,
    Domain,
    ErrorStatus,
    MountPath,
    PathText,
    PythonText,
    SiteName,
    UrlPrefix,
    UserName,
    Variable,
    VariableName,
    parse_site_name,
    plain,
    reason_of,
)  # fmt: skip
from hostel.options.guard import GuardOptions
from hostel.options.tables import NO_TLS, CacheOptions, LimitOptions, StaticCacheOptions, TlsOptions, WorkerOptions

FILE_BYTES = 256 * 1024
KEY_PARTS = 16  # tomli takes time and memory by the square of a key's parts
ENV_BYTES = 64 * 1024  # it has to fit into one message to a zygote, with room for the rest
PROBLEMS = 50  # of one file that are worth reporting one by one
MOST_MOUNTS = 100  # in one site, counted with what is mounted in what it mounts
OWN_USER = "#"  # begins, before the site's name, the user of a site that has one to itself; no name of a user begins so
FILE_PARTS = 6  # of a path in URLs that is mapped to files; the front tries the longest first

_CONFIG = ConfigDict(extra="forbid")


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class SiteOptions:
    """What a site file may say."""

    app: Annotated[
        Application | None,
        Field(
            description="The WSGI or ASGI application, as module:object; without it the site is static files only.",
            examples=["mysite.wsgi:application"],
        ),
    ] = None
    interface: Annotated[
        Literal["auto", "wsgi", "asgi"],
        Field(description="How app is called; auto tells by looking at it.", examples=["asgi"]),
    ] = "auto"
    domains: Annotated[
        tuple[Domain, ...],
        Field(
            description="Host names; '*.name' is every name below one, '*' every name that no site has. Default: NAME.localhost.",
            examples=[["blog.example.com", "*.blog.example.com"]],
        ),
    ] = ()
    directory: Annotated[
        PathText,
        Field(
            description="Where the site works and imports from; relative to the site file's folder.",
            examples=["/srv/blog"],
        ),
    ] = "."
    environment: Annotated[
        PathText | None,
        Field(
            description="The virtualenv the site runs in; relative to the site file's folder. Default: Hostel's own Python.",
            examples=["/srv/blog/.venv"],
        ),
    ] = None
    python: Annotated[
        PythonText | None,
        Field(
            description="The Python of this machine that the site runs in, without an environment: a version from 3.9 to 3.14, "
            "or a path. Default: Hostel's own Python.",
            examples=["3.13"],
        ),
    ] = None
    start: Annotated[
        Literal["fork", "fresh"],
        Field(
            description="How a worker comes to life: fork is a copy of a process that has the modules already; fresh is a new "
            "interpreter, slower and larger, which shares nothing with other sites.",
            examples=["fresh"],
        ),
    ] = "fork"
    user: Annotated[
        UserName | None,
        Field(
            description="The system user that the site runs as. Default: the server's default_user.", examples=["blog"]
        ),
    ] = None
    reload_on: Annotated[
        tuple[PathText, ...],
        Field(
            description="Files that reload the site when one of them is touched or replaced; relative to directory.",
            examples=[["mysite/wsgi.py"]],
        ),
    ] = ()
    mounted_by: Annotated[
        tuple[SiteName, ...],
        Field(
            description="Sites of other users that may mount this one: its pages are then theirs, too, for a browser.",
            examples=[["portal"]],
        ),
    ] = ()
    static: Annotated[
        dict[UrlPrefix, PathText],
        Field(
            description="Paths in URLs that the front serves from files; relative to directory.",
            examples=[{"/static/": "static-root", "/favicon.ico": "static-root/favicon.ico"}],
        ),
    ] = field(default_factory=dict)
    static_cache: Annotated[StaticCacheOptions, Field(description="How long browsers may keep static files.")] = (
        StaticCacheOptions()
    )
    private: Annotated[
        dict[UrlPrefix, PathText],
        Field(
            description="Paths of files that nobody can ask for, and that the application has the front send, by "
            "X-Accel-Redirect: /path, or X-Sendfile: /the/file. Relative to directory.",
            examples=[{"/downloads/": "media/paid"}],
        ),
    ] = field(default_factory=dict)
    errors: Annotated[
        dict[ErrorStatus, PathText],
        Field(
            description="Pages of the site's own for what the front has to say in its place, by status: 404 (a site without an "
            "app), 413, 429, 500, 502, 503, 504. HTML files that need nothing else; relative to directory.",
            examples=[{"503": "errors/503.html", "504": "errors/504.html"}],
        ),
    ] = field(default_factory=dict)
    env: Annotated[
        dict[VariableName, Variable],
        Field(
            description="Environment variables of the site.", examples=[{"DJANGO_SETTINGS_MODULE": "mysite.settings"}]
        ),
    ] = field(default_factory=dict)
    mount: Annotated[
        dict[MountPath, SiteName],
        Field(
            description="Other sites under paths of this one, with what is mounted under theirs; the longest path counts. "
            "A site of another user has to allow it by mounted_by.",
            examples=[{"/shop": "shop"}],
        ),
    ] = field(default_factory=dict)
    tls: Annotated[TlsOptions, Field(description="How the site is reached by HTTPS.")] = TlsOptions()
    workers: Annotated[WorkerOptions, Field(description="How many workers, and when they leave.")] = WorkerOptions()
    limits: Annotated[LimitOptions, Field(description="What the site may take.")] = LimitOptions()
    cache: Annotated[CacheOptions, Field(description="What the front keeps of the site's answers.")] = CacheOptions()
    guard: Annotated[GuardOptions, Field(description="What keeps the site from others.")] = GuardOptions()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a site: where, why, and what to do. ``is_fatal``: the site cannot be run with it."""

    site: str
    file: str
    where: str  # "line 3", a key as "workers.max", or empty for the file as a whole
    reason: str
    remedy: str = ""
    is_fatal: bool = True

    def __str__(self) -> str:
        return f"{self.file}{f': {self.where}' if self.where else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Site:
    """A site as its file wants it; all paths are absolute."""

    name: str
    file: str
    app: str | None
    interface: str
    domains: tuple[str, ...]
    directory: str
    environment: str | None
    user: str | None
    reload_on: tuple[str, ...]
    static: tuple[tuple[str, str], ...]  # (path in URLs without the last slash, path of the file system)
    static_cache: StaticCacheOptions
    private: tuple[tuple[str, str], ...]  # as static
    errors: tuple[tuple[str, str], ...]  # (status, path of the file system)
    env: tuple[tuple[str, str], ...]
    workers: WorkerOptions
    limits: LimitOptions
    cache: CacheOptions = CacheOptions()  # noqa: RUF009 (it is frozen)
    guard: GuardOptions = GuardOptions()  # noqa: RUF009 (it is frozen)
    mount: tuple[tuple[str, str], ...] = ()  # (path in URLs without the last slash, site)
    mounted_by: tuple[str, ...] = ()
    tls: TlsOptions = NO_TLS
    within: tuple[str, ...] = ()  # a tenant's: where everything lies that it names; empty for the operator's
    python: str | None = None  # a version, or an absolute path
    start: str = "fork"
    paths: tuple[tuple[str, str], ...] = ()  # as mount, what is really mounted: the plan finds it out

    def with_own_user(self) -> Site:
        """The same with a user that no other site has, if it names none and needs one."""
        return self if self.app is None or self.user is not None else replace(self, user=f"{OWN_USER}{self.name}")

    @property
    def has_own_user(self) -> bool:
        """Whether no other site and nobody else is its user."""
        return self.user == f"{OWN_USER}{self.name}"

    @property
    def for_workers(self) -> tuple[Any, ...]:
        """What a worker is made of: when it changes, new workers are needed."""
        return (
            self.app, self.interface, self.directory, self.environment, self.user, self.env,
            self.workers.threads, self.limits.queue, self.limits.request, self.limits.drain, self.limits.body,
            self.workers.idle_ignore, self.guard, self.sent_by_front, self.limits.memory, self.limits.cpu,
            self.limits.processes, self.limits.files, self.limits.file_size, self.limits.disk, *self.within,
            self.python, self.start,
        )  # fmt: skip

    @property
    def sent_by_front(self) -> tuple[tuple[str, str], ...]:
        """The files that the application may name by X-Sendfile; static ones count where some are private only."""
        return (*self.private, *self.static) if self.private else ()

    @property
    def digest(self) -> str:
        """A short text that differs when ``for_workers`` does."""
        return hashlib.sha256(repr(self.for_workers).encode()).hexdigest()[:16]


SECTIONS: dict[str, Any] = {
    "tls": TlsOptions,
    "workers": WorkerOptions,
    "limits": LimitOptions,
    "cache": CacheOptions,
    "static_cache": StaticCacheOptions,
    "guard": GuardOptions,
}
_adapter: TypeAdapter[SiteOptions] = TypeAdapter(SiteOptions)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a site file."""
    return cast(dict[str, Any], _in_words_of_json_schema(_adapter.json_schema()))


def _in_words_of_json_schema(schema: Any) -> Any:
    """pydantic writes the bound of an option that may be absent as it is called in Python."""
    if isinstance(schema, list):
        return [_in_words_of_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {"exclusiveMinimum" if key == "gt" else key: _in_words_of_json_schema(one) for key, one in schema.items()}


@cache
def descriptions(kind: Any) -> dict[str, str]:
    """The options of a declaration, each with its sentence."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        option.name: next(
            info.description or "" for info in hints[option.name].__metadata__ if isinstance(info, FieldInfo)
        )
        for option in fields(kind)
    }


def read_site(name: str, file: str, data: bytes) -> tuple[Site | None, list[Problem]]:
    """The site that the bytes of a site file describe, or every problem that they have."""

    def problem(where: str, reason: str, remedy: str) -> tuple[None, list[Problem]]:
        return None, [Problem(name, file, where, reason, remedy)]

    try:
        parse_site_name(name)
    except ValueError as error:
        return problem("", str(error), "rename the file: its name is the site's name")
    table, text, complaint = parse_table(data)
    if complaint is not None:
        return problem(*complaint)
    return make_site(name, file, os.path.dirname(os.path.abspath(file)), table, text)


def parse_table(data: bytes) -> tuple[dict[str, Any], str, tuple[str, str, str] | None]:
    """The table and the text of a file, and where, why and what to do when they cannot be had."""

    def problem(where: str, reason: str, remedy: str) -> tuple[dict[str, Any], str, tuple[str, str, str]]:
        return {}, "", (where, reason, remedy)

    if len(data) > FILE_BYTES:
        reason = f"the file has {len(data)} bytes; a site file has at most {FILE_BYTES}"
        return problem("", reason, "is it a site file? Each site has a short one of its own")
    try:
        text = data.decode("utf-8-sig")  # Windows' editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return problem(f"line {line}", "the file is not UTF-8 text", "save it as UTF-8")
    if line := _line_of_long_key(text):
        return problem(f"line {line}", f"a key has more than {KEY_PARTS} parts", TOML_REMEDY)
    try:
        table = tomli.loads(text)
    except RecursionError:
        return problem("", "not TOML that anybody would write: its values lie too deep in each other", TOML_REMEDY)
    except tomli.TOMLDecodeError as error:
        return problem(*_toml_problem(text, str(error)))
    except ValueError:  # int() refuses so many digits
        return problem("", "not TOML: a number has too many digits", TOML_REMEDY)
    if not table:
        return problem("", "the file says nothing", 'write at least an app, as in: app = "mysite.wsgi:application"')
    return table, text, None


def make_site(
    name: str, file: str, folder: str, table: dict[str, Any], text: str = ""
) -> tuple[Site | None, list[Problem]]:
    """The site that a table of options describes; relative paths are taken from ``folder``."""
    try:
        options = _adapter.validate_python(table)
    except ValidationError as error:
        lines, details = _lines_of_keys(text), error.errors(include_url=False)
        found = [_option_problem(name, file, lines, detail) for detail in details[:PROBLEMS]]
        if len(details) > PROBLEMS:
            found.append(Problem(name, file, "", f"and {len(details) - PROBLEMS} more problems", "begin with these"))
        return None, found
    if problems := _contradictions(name, file, table, options, text):
        return None, problems

    def absolute(path: str, base: str) -> str:
        return os.path.normpath(os.path.join(base, os.path.expanduser(path)))

    directory = absolute(options.directory, folder)

    def mapped(mappings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        return tuple((prefix, absolute(mappings[prefix], directory)) for prefix in sorted(mappings))

    return (
        Site(
            name=name,
            file=file,
            app=options.app,
            interface=options.interface,
            domains=tuple(dict.fromkeys(options.domains)) or (default_domain(name),),
            directory=directory,
            environment=absolute(options.environment, folder) if options.environment else None,
            python=absolute(options.python, folder) if options.python and "/" in options.python else options.python,
            start=options.start,
            user=options.user,
            reload_on=tuple(dict.fromkeys(absolute(path, directory) for path in options.reload_on)),
            static=mapped(options.static),
            static_cache=options.static_cache,
            private=mapped(options.private),
            errors=tuple((status, absolute(path, directory)) for status, path in sorted(options.errors.items())),
            env=tuple(sorted(options.env.items())),
            workers=options.workers,
            limits=options.limits,
            cache=options.cache,
            guard=replace(options.guard, writable=tuple(absolute(path, directory) for path in options.guard.writable)),
            mount=tuple(sorted(options.mount.items())),
            mounted_by=options.mounted_by,
            tls=make_tls(options.tls, lambda path: absolute(path, folder)),
        ),
        [],
    )


def default_domain(name: str) -> str:
    """The domain of a site whose file names none; that of a tenant's site is nobody else's either."""
    tenant, _, site = name.rpartition(OF_TENANT)
    return f"{site}.{tenant}.localhost" if tenant else f"{name}.localhost"


def make_tls(options: TlsOptions, absolute: Callable[[str], str]) -> TlsOptions:
    """The same with absolute paths."""
    if options.certificate is None or options.key is None:
        return options
    return replace(options, certificate=absolute(options.certificate), key=absolute(options.key))


def _contradictions(name: str, file: str, table: Mapping[str, Any], options: SiteOptions, text: str) -> list[Problem]:
    """What is wrong with options that are right each for itself."""
    found: list[tuple[tuple[str, ...], str, str]] = []
    if options.app is None and not options.static and not options.mount:
        found.append(((), "the site has neither app nor static: there is nothing to serve", "add one of them"))
    if options.python is not None and options.environment is not None:
        reason = "the site has both environment and python, and an environment has its Python already"
        found.append((("python",), reason, "remove one of them"))
    for key, table_of_paths in (("static", options.static), ("private", options.private), ("mount", options.mount)):
        if len(table_of_paths) < len(table.get(key, ())):
            reason = "two entries have the same path in URLs: '/a' and '/a/' are one"
            found.append(((key,), reason, "remove one of them"))
    for key, mappings in (("static", options.static), ("private", options.private)):
        for prefix in mappings:
            if prefix.count("/") > FILE_PARTS:
                reason = f"the path in URLs has {prefix.count('/')} parts"
                found.append(((key, prefix), reason, f"at most {FILE_PARTS} are possible"))
    size = len(json.dumps(options.env, ensure_ascii=False).encode())
    if size > ENV_BYTES:
        reason = f"the variables have {size} bytes, and {ENV_BYTES} are allowed"
        found.append((("env",), reason, "put long ones into a file"))
    lines = _lines_of_keys(text) if found else {}
    return [Problem(name, file, _where(where, lines), reason, remedy) for where, reason, remedy in found]


# --- what is wrong, in words ---------------------------------------------------------------------------------------

TOML_REMEDY = "see https://toml.io for how values are written"

# TOML's strings and comments; one that does not end goes on to the end of its line, or of the text.
_QUOTED = re.compile(
    r"""
    "{3} (?: \\. | [^\\] )*? (?: "{3,5} | \Z ) | '{3} .*? (?: '{3,5} | \Z )
    | " (?: \\. | [^"\\\n] )* "? | ' [^'\n]* '? | \# [^\n]*
    """,
    re.VERBOSE | re.DOTALL,
)
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{KEY_PARTS}}}")


def _line_of_long_key(text: str) -> int:
    """The line of the first key with too many parts, or 0. Found without parsing, for parsing is what has to be avoided."""
    bare = _QUOTED.sub(lambda quoted: "s" + "\n" * quoted[0].count("\n"), text + "\n")
    match = _LONG_KEY.search(bare)
    return bare.count("\n", 0, match.start()) + 1 if match else 0


def _toml_problem(text: str, message: str) -> tuple[str, str, str]:
    """Where, reason and remedy of what tomli says."""
    match = re.search(r"\(at line (\d+), column (\d+)\)|\(at end of document\)", message)
    where = ""
    if match:
        where = f"line {match[1]}, column {match[2]}" if match[1] else f"line {text.count(chr(10)) + 1}"
        message = message[: match.start()].strip()
    remedy = TOML_REMEDY
    if message.startswith(("Cannot overwrite", "Cannot declare", "Duplicate", "Cannot mutate")):
        remedy = "each key and each [table] may stand there once"
    message = plain(message, 200)
    return where, f"not TOML: {message[:1].lower()}{message[1:]}", remedy


def _option_problem(name: str, file: str, lines: Mapping[tuple[str, ...], int], detail: Any) -> Problem:
    """One of pydantic's findings in words for the owner of the file."""
    location = tuple(str(part) for part in detail["loc"] if part != "[key]" and not str(part).startswith("function-"))
    key = ".".join(plain(part, 100) for part in location)
    remedy = _meaning_of(location)
    match detail["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            known = _options_of(location[:-1])
            close = difflib.get_close_matches(location[-1][:100], known, 1)
            remedy = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        case "dict_type" | "dataclass_type":
            remedy = f"write [{key}] on a line of its own, and the options below it"
        case "tuple_type" | "list_type":
            given = detail["input"]
            item = json.dumps(given) if isinstance(given, str) and len(given) < 50 else "..."
            remedy = f"write {key} = [{item}]"
    return Problem(name, file, _where(location, lines), reason_of(detail), remedy)


def _where(location: tuple[str, ...], lines: Mapping[tuple[str, ...], int]) -> str:
    """A key with the line where it stands, as far as that is known."""
    key = ".".join(plain(part, 100) for part in location)
    for size in range(len(location), 0, -1):
        above = location[:size]
        line = lines.get(above) or lines.get((*above[:-1], f"{above[-1]}/"))
        if line:
            return f"{key} (line {line})"
    return key


def _options_of(location: Sequence[str]) -> dict[str, str]:
    """The options of a table of the file, with their descriptions."""
    return descriptions(SECTIONS.get(location[0] if location else "", SiteOptions))


def _meaning_of(location: Sequence[str]) -> str:
    """What the option is for, which helps when its value is wrong."""
    is_table = len(location) > 1 and location[0] in SECTIONS
    path = location[: 2 if is_table else 1]
    sentence = _options_of(path[:-1]).get(path[-1], "") if path else ""
    return f"{'.'.join(path)}: {sentence}" if sentence else ""


def _lines_of_keys(text: str) -> dict[tuple[str, ...], int]:
    """The lines where the keys of a site file most likely stand."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            table = tuple(match[1].split("."))
            lines.setdefault(table, number)
        elif match := re.match(r"""\s*(?:"([^"]*)"|'([^']*)'|([^"'=\s]+))\s*=""", line):
            name = match[1] or match[2]
            path = (name,) if name else tuple((match[3] or "").split("."))
            lines.setdefault((*table, *path), number)
    return lines
