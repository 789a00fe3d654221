"""The reference pages, written from what the code declares: ``python -m hostel.reference docs/reference``.

Options, fields, calls, errors and commands are declared once, each with its sentence; this only sets them in pages. A
test compares the pages with what would be written now.
"""

from __future__ import annotations

import inspect
import json
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter

from hostel import errors
from hostel.api import views
from hostel.api.calls import CALLS
from hostel.cli import commands
from hostel.cli.serve import flag_of, variable_of
from hostel.errors import HostelError
from hostel.front.pages import PAGES
from hostel.options.declaration import Option, read_options, write
from hostel.options.server import ServerOptions
from hostel.options.site import SiteOptions, json_schema
from hostel.options.tenant import TenantOptions

MADE = "<!-- Made by: python -m hostel.reference docs/reference. Change the declarations, not this page. -->"
WIDTH = 88  # of the commands' help
KINDS = {
    "text": "text", "number": "whole number", "flag": "yes or no", "time": "time", "size": "size",
    "list": "list of texts", "table": "table of texts", "section": "table of options",
}  # fmt: skip
UNITS = """\
A **time** is a number of seconds, or text with a unit: `"250ms"`, `"30s"`, `"10m"`, `"2h"`, `"1d"`.
A **size** is a number of bytes, or text with a unit of 1024: `"64K"`, `"256M"`, `"2G"`."""
PRINTED = {
    "hostel status --json": views.StatusView,
    "hostel start, stop, pause, reload --json": views.StatusView,
    "hostel upgrade --json": views.UpgradeView,
    "hostel add --json": views.StatusView,
    "hostel remove --json": views.RemovedView,
    "hostel logs --json": views.LogsView,
    "hostel cache purge --json": views.PurgedView,
    "hostel explain --json": views.ExplainView,
    "hostel explain --start --json": views.StartView,
    "hostel check --json": views.CheckView,
    "hostel env list --json": views.EnvironmentsView,
    "hostel env show --json": views.EnvironmentView,
    "hostel env create, sync --json": views.MadeView,
}


def pages() -> dict[str, str]:
    """All pages: their names and their texts."""
    return {
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "json.md": json_page(),
        "sample.toml": sample(),
        "server-options.md": server_options_page(),
        "site-file.md": site_file_page(),
        "tenant-file.md": tenant_file_page(),
        "site-file.schema.json": json.dumps(site_file_schema(), indent=2) + "\n",
    }


# Options


def site_file_page() -> str:
    parts = [
        "# The site file",
        MADE,
        "A site is described by one TOML file, `NAME.toml`, in a folder that `hostel serve` was given. The file's name is "
        "the site's name: 1 to 48 small letters, digits, `-` and `_`. A change takes effect within a second. What is "
        "wrong with a file, `hostel check` tells; until it is mended, the last good version goes on.",
        UNITS,
        "[sample.toml](sample.toml) is a file with every option at its default. "
        "[site-file.schema.json](site-file.schema.json) is the JSON schema, for editors; the first line of a site file may "
        "name it: `#:schema site-file.schema.json`.",
    ]
    options = read_options(SiteOptions)
    parts += ["## Options", *(describe_site_option(option) for option in options)]
    return join(parts)


def tenant_file_page() -> str:
    parts = [
        "# The operator's file about a tenant",
        MADE,
        "With `--tenants DIR`, each `NAME.toml` in that folder is a tenant, and says where the tenant's own site files are and "
        "what they may set. A tenant's name is 1 to 32 small letters, digits, `-` and `_`. The folder and its files belong to "
        "root. "
        "A change takes effect within a second, and what is not allowed any more ends at once.",
        UNITS,
        "## Options",
        *(describe_site_option(option) for option in read_options(TenantOptions)),
    ]
    return join(parts)


def describe_site_option(option: Option) -> str:
    title = f"### `[{option.key}]`" if option.kind in ("section", "table") else f"### `{option.key}`"
    if option.kind == "section":
        return f"{title}\n\n{option.sentence}"
    example = write_entry(option.key, option.example, option.kind)
    facts = [kind_of(option), f"default: `{option.default_text}`" if option.default_text else "no default"]
    return f"{title}\n\n{option.sentence}\n\n{'; '.join(facts)}.\n\n```toml\n{example}\n```"


def kind_of(option: Option) -> str:
    text = f"{KINDS[option.kind]}, {option.range_text}" if option.range_text else KINDS[option.kind]
    return text[0].upper() + text[1:]


def write_entry(key: str, value: Any, kind: str) -> str:
    """An option with a value, as lines of a site file."""
    table, _, name = key.rpartition(".")
    if kind == "table":
        return "\n".join([f"[{key}]", *(f"{write_key(one)} = {json.dumps(value[one])}" for one in value)])
    line = f"{name} = {write(value, kind)}"
    return f"[{table}]\n{line}" if table else line


def write_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def server_options_page() -> str:
    parts = [
        "# The server's options",
        MADE,
        "They are flags of [`hostel serve`](commands.md#hostel-serve). Each can be given by an environment variable as well: "
        f"`--state-dir` is `{variable_of('state_dir')}`.",
        UNITS.replace('`"', "`").replace('"`', "`"),
        table_of(
            ("flag", "type", "default", "meaning", "example"),
            (
                (
                    f"`{flag_of(option)}`",
                    kind_of(option).lower(),
                    ", ".join(f"`{value}`" for value in texts_of(option.default, option)) or "-",
                    option.sentence,
                    " ".join(f"`{flag_of(option)}{value}`" for value in arguments_of(option)),
                )
                for option in read_options(ServerOptions)
            ),
        ),
    ]
    return join(parts)


def texts_of(value: Any, option: Option) -> list[str]:
    """A value as it is typed on a command line."""
    if value is None or value is False or value == "":
        return []
    return list(value) if isinstance(value, list) else [write(value, option.kind).strip('"')]


def arguments_of(option: Option) -> list[str]:
    return [""] if option.kind == "flag" else [f" {text}" for text in texts_of(option.example, option)]


def sample() -> str:
    """A site file with every option at its default; what has none is a comment with an example."""
    lines = [
        "# A site file with every option at its default. Copy what you need: a site needs its app, and no more.",
        "# The file's name is the site's name.",
    ]
    for option in read_options(SiteOptions):
        lines += ["", *(f"# {line}" for line in wrap(option.sentence, 100))]
        example = (
            write_entry(option.key, option.example, option.kind).splitlines() if option.example is not None else []
        )
        name = option.key.rpartition(".")[2]
        if option.kind == "section":
            lines.append(f"[{option.key}]")
        elif option.kind == "table":
            lines += [example[0], *(f"# {line}" for line in example[1:])]
        elif option.default_text:
            lines.append(f"{name} = {option.default_text}")
        else:
            lines.append(example[-1] if option.key == "app" else f"# {example[-1]}")
    return "\n".join(lines) + "\n"


def site_file_schema() -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema(), "title": "Hostel site file"}


# Commands, errors


def commands_page() -> str:
    parts = ["# Commands", MADE]
    for command, context in every_command():
        lines = [line.rstrip() for line in command.get_help(context).splitlines()]
        parts += [f"## {context.command_path}", "\n".join(["```", *lines, "```"])]
    return join(parts)


def every_command() -> Iterator[tuple[click.Command, click.Context]]:
    """The group and its commands, each with what its help needs to know."""
    group = click.Context(commands, info_name="hostel", **commands.context_settings, terminal_width=WIDTH)
    yield from _with_commands(commands, group)


def _with_commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all below it, if it is a group."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _with_commands(below, click.Context(below, context, info_name=name))


def errors_page() -> str:
    tree = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HostelError)]
    tree.sort(key=lambda kind: (kind.exit_code, len(kind.__mro__)))
    parts = [
        "# Errors and exit statuses",
        MADE,
        'An error is one sentence of the form "cannot X: why", and a hint that says what to do now. Its kind says whose '
        "fault it is. With `--json` a command prints it as the object `error` (see [JSON](json.md#errorview)).",
        table_of(
            ("kind", "exit status", "meaning"),
            ((f"`{kind.kind}`", str(kind.exit_code), sentence_of(kind)) for kind in tree if kind is not HostelError),
        ),
        "A command that did what it was asked exits with 0, one that was ended with Ctrl-C with 130. A command that was "
        "asked about sites of which one has a problem exits with 1, too.",
        "## What visitors see",
        "When a site cannot answer, the front does: with a small page, or with problem details (RFC 9457) for a client that "
        "asks for JSON before HTML. `type` is `urn:hostel:` and the kind, `retry` is seconds (`Retry-After` may know better), "
        "`id` is what the owner of a site that does not start finds in its log. `[errors]` in the "
        "[site file](site-file.md) puts the site's own pages in their place.",
        table_of(
            ("kind", "status", "what it says"),
            ((f"`{page.kind}`", str(page.status), f"{page.title}. {page.text}") for page in PAGES),
        ),
    ]
    return join(parts)


def sentence_of(thing: Any) -> str:
    """A docstring in one line."""
    return " ".join((inspect.getdoc(thing) or "").split())


# JSON


def json_page() -> str:
    printed = ((f"`{command}`", link_to(view)) for command, view in PRINTED.items())
    calls = (
        (f"`{call.name}`", call.text, "<br>".join(arguments_in(call.arguments)), link_to(call.answer))
        for call in CALLS.values()
    )
    parts = [
        "# JSON",
        MADE,
        "Each command prints JSON for programs with `--json`. A field keeps its name and its meaning; new ones may come. "
        'Times are seconds. A command that fails prints `{"error": …}` with an [ErrorView](#errorview).',
        table_of(("command", "prints"), printed),
        *(view_part(view) for view in all_views()),
        "## The control socket",
        "The command line is a client of `control.sock` in the server's run directory, and so can other programs be, if "
        "they run as root or as the user who started the server. A message is a JSON object, preceded by its length in "
        'four bytes, the highest first. A client connects, sends one message `{"call": NAME, …arguments}` of at most '
        '1 MiB, and reads messages until one is `{"end": true}` or has an `error`. A long answer comes in parts: the '
        "lists of later messages continue those of the first.",
        table_of(("call", "does", "arguments", "answer"), calls),
    ]
    return join(parts)


def all_views() -> list[type]:
    """The views in an order in which each stands before those inside it."""
    found: list[type] = []

    def visit(view: type) -> None:
        if view not in found:
            found.append(view)
            for hint in typing.get_type_hints(view).values():
                for inner in (hint, *typing.get_args(hint)):
                    if is_dataclass(inner) and isinstance(inner, type):
                        visit(inner)

    for view in (*PRINTED.values(), *(call.answer for call in CALLS.values()), views.ErrorView):
        visit(view)
    return found


def view_part(view: Any) -> str:
    hints = typing.get_type_hints(view, include_extras=True)
    rows = [(f"`{field.name}`", *typing.get_args(hints[field.name])) for field in fields(view)]
    table = table_of(("field", "type", "meaning"), ((name, type_text(kind), text) for name, kind, text in rows))
    return f"## {view.__name__}\n\n{sentence_of(view)}\n\n{table}"


def type_text(kind: Any) -> str:
    """A type as JSON knows it."""
    if typing.get_origin(kind) is Mapping:
        return "table of text"
    if typing.get_origin(kind) is not None:
        (inner,) = typing.get_args(kind)
        return "list" if inner is Any else f"list of {type_text(inner)}"
    if is_dataclass(kind):
        return link_to(kind)
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[kind]


def link_to(view: Any) -> str:
    return f"[{view.__name__}](#{view.__name__.lower()})"


def arguments_in(kind: type) -> Iterator[str]:
    schema = TypeAdapter(kind).json_schema()
    for name, said in schema["properties"].items():
        default = f", default {json.dumps(said['default'])}" if "default" in said else ""
        kind = {"string": "text", "array": "list of text", "boolean": "true or false"}.get(said["type"], said["type"])
        yield f"`{name}` ({kind}{default}): {said['description']}"


# Pages


def join(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


def table_of(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main() -> None:
    """Write all pages into the folder that is named."""
    (folder,) = sys.argv[1:]
    for name, text in pages().items():
        (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main()
