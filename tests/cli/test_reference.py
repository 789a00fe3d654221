"""The reference pages are what the code declares, and what they say is true."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hostel import reference
from hostel.cli import commands
from hostel.errors import HostelError
from hostel.options.declaration import Option, read_options, write, write_amount
from hostel.options.fields import UNITS_OF_SIZE, UNITS_OF_TIME, parse_duration, parse_size
from hostel.options.server import ServerOptions, make_server_options
from hostel.options.site import SiteOptions, read_site

DOCS = Path(__file__).parent.parent.parent / "docs" / "reference"
SITE_OPTIONS = read_options(SiteOptions)
SERVER_OPTIONS = read_options(ServerOptions)


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == reference.pages()[name], "write it anew: make docs"


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_links_lead_somewhere(name: str) -> None:
    text = reference.pages()[name]
    for target in re.findall(r"\]\(([^)]+)\)", text) if name.endswith(".md") else ():
        page, _, place = target.partition("#")
        there = reference.pages()[page or name]
        titles = [
            re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
            for line in there.splitlines()
            if line[:1] == "#"
        ]
        assert not place or place in titles, target


@pytest.mark.parametrize("option", [*SITE_OPTIONS, *SERVER_OPTIONS], ids=lambda option: option.key)
def test_every_option_says_all(option: Option) -> None:
    assert option.sentence.endswith(".")
    assert option.sentence[0].isupper()
    if option.kind != "section":
        assert option.example is not None
        assert option.example != option.default


def test_the_sample_is_a_site_file_with_every_option_at_its_default() -> None:
    text = reference.sample()
    sample, problems = read_site("sample", "/srv/sample.toml", text.encode())
    assert (problems, sample is not None) == ([], True)
    least, _ = read_site("sample", "/srv/sample.toml", b'app = "mysite.wsgi:application"\n')
    assert sample == least
    table = tomllib.loads(text)
    for option in SITE_OPTIONS:
        first, _, second = option.key.partition(".")
        is_there = first in table and (not second or second in table[first])
        assert is_there or f"\n# {second or first} = " in text, option.key


def test_the_sample_is_a_site_file_with_its_examples_too() -> None:
    is_option = re.compile(r'^# (?=(?!python = )["a-z_/.A-Z]+"? = )')  # it excludes environment
    text = "\n".join(is_option.sub("", line) for line in reference.sample().splitlines())
    site, problems = read_site("sample", "/srv/sample.toml", text.encode())
    assert problems == []
    assert site is not None
    assert (site.user, site.environment, len(site.static), len(site.env)) == ("blog", "/srv/blog/.venv", 2, 1)


# Options that have no meaning without another one of their table.
NEEDED = {"tls.certificate": 'key = "x"\n', "tls.key": 'certificate = "x"\n', "tls.hsts_subdomains": 'hsts = "1d"\n'}


@pytest.mark.parametrize("option", SITE_OPTIONS, ids=lambda option: option.key)
def test_every_example_is_right(option: Option) -> None:
    if option.kind != "section":
        entry = reference.write_entry(option.key, option.example, option.kind) + "\n" + NEEDED.get(option.key, "")
        app = "" if option.key == "app" else 'app = "a:b"\n'
        assert read_site("x", "/srv/x.toml", (app + entry).encode())[1] == []


def test_examples_of_the_server_are_right() -> None:
    table: dict[str, Any] = {option.key: option.example for option in SERVER_OPTIONS}
    options = make_server_options(table)
    assert (options.listen, options.log_size, options.reload) == (("0.0.0.0:80", "[::]:80"), 100 * 2**20, True)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.25, 1, 1.5, 30, 90, 600, 3600, 5400, 86400, 366 * 86400])
def test_durations_are_written_as_they_are_read(seconds: float) -> None:
    assert parse_duration(write_amount(seconds, UNITS_OF_TIME)) == seconds
    assert json.loads(write(seconds, "time")) == write_amount(seconds, UNITS_OF_TIME)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1536, 2**20, 128 * 2**20, 3 * 2**30, 2**40])
def test_sizes_are_written_as_they_are_read(size: int) -> None:
    assert parse_size(write_amount(size, UNITS_OF_SIZE)) == size


def test_every_error_has_its_own_kind_and_stands_in_the_page() -> None:
    kinds: list[type[HostelError]] = []
    rest: list[type[HostelError]] = [HostelError]
    while rest:
        one = rest.pop()
        rest += [kind for kind in one.__subclasses__() if kind.__module__ == "hostel.errors"]
        kinds.append(one)
    kinds.remove(HostelError)
    assert len({kind.kind for kind in kinds}) == len(kinds) == 6
    page = reference.errors_page()
    assert all(f"| `{kind.kind}` | {kind.exit_code} |" in page for kind in kinds)


def test_every_command_stands_in_the_page() -> None:
    page = reference.commands_page()
    for name, command in commands.commands.items():
        assert (f"## hostel {name}\n" in page) is not command.hidden


# The JSON schema


def is_valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value is what a schema says, for the words that ours uses."""
    known = {"$schema", "$defs", "$ref", "title", "description", "default", "examples", "unit", "type", "properties",
             "additionalProperties", "anyOf", "enum", "items", "minimum", "maximum", "maxItems",
             "pattern", "exclusiveMinimum"}  # fmt: skip
    assert schema.keys() <= known, schema.keys() - known
    if "$ref" in schema:
        return is_valid(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    kinds: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "object": dict,
        "array": list,
        "null": type(None),
        "boolean": bool,
    }
    wanted = schema.get("type", list(kinds))
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if isinstance(value, bool):
        wanted = [kind for kind in wanted if kind == "boolean"]  # to Python it is a number as well
    if not any(isinstance(value, kinds[kind]) for kind in wanted):
        return False
    if "anyOf" in schema and not any(is_valid(value, one, root) for one in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        inner = {key: properties.get(key, more) for key in value}
        return all(one is not False and (one is True or is_valid(value[key], one, root)) for key, one in inner.items())
    return not isinstance(value, list) or all(is_valid(one, schema["items"], root) for one in value)


def test_the_schema_accepts_the_sample_and_all_examples() -> None:
    schema = reference.site_file_schema()
    assert is_valid(tomllib.loads(reference.sample()), schema, schema)
    for option in SITE_OPTIONS:
        if option.kind != "section":
            table = tomllib.loads(reference.write_entry(option.key, option.example, option.kind))
            assert is_valid(table, schema, schema), table


@pytest.mark.parametrize(
    "text",
    ["app = 3", "ap = 'a:b'", "interface = 'cgi'", "domains = 'a.b'", "[workers]\nmin = -1", "[workers]\nmax = 1000",
     "[workers]\nidle = '5 minutes'", "[limits]\nqueue = true", "[workers]\nmore = 1", "static = 'x'", "[static]\n'/' = 1"],
)  # fmt: skip
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    schema = reference.site_file_schema()
    assert not is_valid(tomllib.loads(text), schema, schema)
    app = "" if text.startswith("app") else 'app = "a:b"\n'
    assert read_site("x", "/srv/x.toml", (app + text).encode())[1] != []
