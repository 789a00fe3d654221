"""The declared options as a list: what the flags of ``hostel serve`` and the reference pages are made from. Pure.

It reads the JSON schema that pydantic makes of a declaration, so whatever is said there is said once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hostel.options.fields import UNITS_OF_SIZE, UNITS_OF_TIME


@dataclass(frozen=True, slots=True)
class Option:
    """One declared option. ``key`` has dots for an option inside a table; ``default`` is a JSON value, None for none."""

    key: str
    kind: str  # "text", "number", "flag", "time", "size", "list", "table" or "section" (a table of further options)
    default: Any
    sentence: str
    example: Any = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def default_text(self) -> str:
        """The default as it would be written in a site file; empty for none."""
        return "" if self.default is None else write(self.default, self.kind)

    @property
    def range_text(self) -> str:
        """What values are allowed, if not all of its kind."""
        if self.choices:
            return "one of " + ", ".join(json.dumps(choice) for choice in self.choices)
        if self.least is None or self.most is None:
            return ""
        return f"{self.least:g} to {self.most:g}"


def read_options(declaration: type) -> list[Option]:
    """All options of a declaration in its order, those of its tables behind the table."""
    schema = TypeAdapter(declaration).json_schema()
    return list(_options(schema, schema.get("$defs", {}), ""))


def _options(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Any:
    for name, said in schema["properties"].items():
        one = _plain(said, definitions)
        kind = _kind(one)
        yield Option(
            key=prefix + name,
            kind=kind,
            default=None if kind == "section" else said.get("default", {"table": {}, "list": []}.get(kind)),
            sentence=said.get("description", one.get("description", "")),
            example=next(iter(said.get("examples", ())), None),
            choices=tuple(one.get("enum", ())),
            least=one.get("minimum"),
            most=one.get("maximum"),
        )
        if kind == "section":
            yield from _options(one, definitions, f"{prefix}{name}.")


def _plain(said: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What a property's schema says, without references and without the possibility that it is left out."""
    if "$ref" in said:
        said = {**definitions[said["$ref"].rpartition("/")[2]], **said}
    choices = [choice for choice in said.get("anyOf", ()) if choice.get("type") != "null"]
    return {**said, **choices[0]} if choices else said


def _kind(one: dict[str, Any]) -> str:
    if "unit" in one:
        return str(one["unit"])
    if one.get("type") == "object":
        return "section" if "properties" in one else "table"
    return {"boolean": "flag", "integer": "number", "number": "number", "array": "list"}.get(
        one.get("type", ""), "text"
    )


def write(value: Any, kind: str) -> str:
    """A JSON value of an option as TOML writes it; times and sizes with their unit."""
    if kind in ("time", "size") and not isinstance(value, str):
        return json.dumps(write_amount(value, UNITS_OF_TIME if kind == "time" else UNITS_OF_SIZE))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {write(one, 'text')}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(write(one, "text") for one in value) + "]"
    return json.dumps(value)


def write_amount(value: float, units: dict[str, float] | dict[str, int]) -> str:
    """A number of seconds or bytes in the largest unit that leaves it whole."""
    for unit, size in sorted(units.items(), key=lambda one: -one[1]):
        if value >= size and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value:g}{'s' if 's' in units else ''}"
