"""The table of calls: checked arguments, and a handler for each."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from hostel.api import views
from hostel.api.calls import CALLS, OrderArguments, StatusArguments
from hostel.api.views import make_urls
from hostel.errors import PeerError
from hostel.manager.control import HANDLERS


def test_each_call_has_its_handler() -> None:
    assert HANDLERS.keys() == CALLS.keys()


def test_arguments_have_defaults() -> None:
    assert CALLS["status"].read({}) == StatusArguments([])
    assert CALLS["reload"].read({"sites": ["a"]}) == OrderArguments(["a"], False, True, 120.0)


@pytest.mark.parametrize(
    ("call", "table"),
    [
        ("status", {"sites": "blog"}),
        ("status", {"sites": [1]}),
        ("status", {"sites": [["a"]]}),
        ("status", {"sites": {"a": 1}}),
        ("status", {"site": ["a"]}),
        ("start", {"sites": ["a"], "seconds": "soon"}),
        ("start", {"seconds": -1}),
        ("start", {"seconds": float("nan")}),
        ("start", {"seconds": float("inf")}),
        ("start", {"wait": []}),
        ("logs", {}),
        ("logs", {"site": None}),
        ("add", {"name": "x"}),
        ("add", {"name": "x", "text": 3}),
        ("purge", {"sites": None}),
        ("purge", {"all": []}),
        ("remove", {}),
        ("remove", {"sites": ["a"], "\n" * 500: 1}),
    ],
)
def test_arguments_are_checked(call: str, table: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match=f"^cannot answer {call}: ") as caught:
        CALLS[call].read(table)
    assert len(str(caught.value)) < 300


def test_every_field_of_a_view_has_a_type_and_a_sentence() -> None:
    kinds = [kind for kind in vars(views).values() if isinstance(kind, type) and kind.__module__ == views.__name__]
    assert len(kinds) >= 8
    for kind in kinds:
        assert is_dataclass(kind)
        assert kind.__doc__
        hints = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            _, text = get_args(hints[field.name])
            assert isinstance(text, str) and text, f"{kind.__name__}.{field.name}"


@pytest.mark.parametrize(
    ("domain", "listen", "url"),
    [
        ("blog.localhost", "127.0.0.1:8000", "http://blog.localhost:8000/"),
        ("blog.example.com", "0.0.0.0:80", "http://blog.example.com/"),
        ("*.example.com", "127.0.0.1:80", "http://any.example.com/"),
        ("*", "127.0.0.1:8000", "http://localhost:8000/"),
        ("*", "[::]:8000", "http://localhost:8000/"),
        ("*", "192.0.2.1:8000", "http://192.0.2.1:8000/"),
    ],
)
def test_urls(domain: str, listen: str, url: str) -> None:
    assert make_urls([domain], [listen, "127.0.0.1:1"]) == [url]
    assert make_urls([domain], []) == []
