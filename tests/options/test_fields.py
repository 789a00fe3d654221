"""The types of option values: what is taken, what is refused, and whether the refusal tells a person what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostel.options import fields
from hostel.options.fields import DOMAIN_BYTES, SHOWN_CHARACTERS, plain, show

MESSAGE_CHARACTERS = 300
HUGE = pytest.param(10**5000, id="huge")  # str() refuses it


def refusal(parse: Callable[[Any], Any], value: Any) -> str:
    """What a parser says against a value; empty when it takes it."""
    try:
        parse(value)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["a", "blog", "my-site_2", "0", "a" * 48])
def test_a_site_name_is_short_and_plain(name: str) -> None:
    assert fields.parse_site_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Blog",
        "-a",
        "a-",
        "_a",
        "a/b",
        "../a",
        ".",
        "..",
        "a.b",
        "a b",
        "a\nb",
        "a\n",
        "ä",
        "a\0b",
        "a" * 49,
        "a" * 300,
    ],
)
def test_a_name_that_is_no_site_name_is_shown_as_it_is(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 48 small letters") as caught:
        fields.parse_site_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < MESSAGE_CHARACTERS


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0), (5, 5), (2.5, 2.5), ("250ms", 0.25), ("30s", 30), (" 30 s ", 30), ("1.5m", 90), ("2h", 7200),
        ("1d", 86400), ("366d", 366 * 86400),
    ],
)  # fmt: skip
def test_durations(value: Any, seconds: float) -> None:
    assert fields.parse_duration(value) == seconds


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("30", '"30s"'), ("s", '"30s"'), ("-1s", '"30s"'), ("1 week", '"30s"'), ("", '"30s"'), (None, '"30s"'),
        (True, '"30s"'), ([], '"30s"'), ("1e3s", '"30s"'), ("٣s", '"30s"'), (-1, "between 0 and a year"),
        ("367d", "between 0 and a year"), (10**400, "between 0 and a year"), (float("nan"), "between 0 and a year"),
        (float("inf"), "between 0 and a year"), ("9" * 5000 + "s", "between 0 and a year"),
    ],
)  # fmt: skip
def test_what_is_no_duration(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fields.parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"), [(0, 0), (4096, 4096), ("100", 100), ("64K", 65536), ("256 MiB", 256 * 2**20), ("2GB", 2**31)]
)
def test_sizes(value: Any, size: int) -> None:
    assert fields.parse_size(value) == size


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("1.5G", '"64K"'), ("2T", '"64K"'), ("-1", '"64K"'), (1.5, '"64K"'), (True, '"64K"'), (None, '"64K"'),
        ("9" * 5000, '"64K"'), (-1, "between 0 and 1024T"), ("9999999999G", "between 0 and 1024T"),
        pytest.param(10**5000, "between 0 and 1024T", id="huge"),
    ],
)  # fmt: skip
def test_what_is_no_size(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fields.parse_size(value)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("*", "*"), ("example.com", "example.com"), (" Example.COM. ", "example.com"), ("*.Example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"), ("my_site.localhost", "my_site.localhost"), ("127.0.0.1", "127.0.0.1"),
        ("Straße.example", "xn--strae-oqa.example"), ("*.例え.example", "*.xn--r8jz45g.example"),
        ("under_score.bücher.example.", "under_score.xn--bcher-kva.example"), ("ａ。ｂ", "a.b"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"), ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)  # fmt: skip
def test_domains(text: str, domain: str) -> None:
    assert fields.parse_domain(text) == domain


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "not a host name"), (".", "not a host name"), ("a.example..", "not a host name"), ("☃.example", "U\\+2603"),
        ("..", "not a host name"), ("a..b", "not a host name"),
        ("-a.example", "not a host name"), ("a-.example", "not a host name"), ("a b", "not a host name"),
        ("a\nb", "not a host name"), ("a\0", "not a host name"), ("a" * 64 + ".com", "not a host name"),
        ("http://example.com", "leave out the scheme"), ("example.com:80", "leave out the scheme"),
        ("example.com/x", "leave out the scheme"), ("../../etc", "leave out the scheme"), ("[::1]", "leave out the scheme"),
        ("\uff0e\uff0e\uff0fetc", "not a host name|leave out the scheme"), ("a\uff0fb", "leave out the scheme"),
        ("*.*.example.com", "all names below one"), ("a.*.example.com", "all names below one"), ("*.", "all names below one"),
        ("**", "all names below one"), (".".join(["label"] * 20), "has room for"), ("ä" * 300, "has room for"),
        (5, "is text"), (None, "is text"), (["a"], "is text"),
    ],
)  # fmt: skip
def test_what_is_no_domain(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fields.parse_domain(value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("xn--strae-oqa.example", "straße.example"), ("https://a.xn--r8jz45g.example:8443/xn", "https://a.例え.example:8443/xn"),
        ("plain.example", "plain.example"), ("xn--zz--.example", "xn--zz--.example"), ("*.xn--bcher-kva.x", "*.bücher.x"),
    ],
)  # fmt: skip
def test_names_as_people_read_them(name: str, shown: str) -> None:
    assert fields.to_readable(name) == shown


@given(st.text())
def test_whatever_becomes_a_domain_is_a_safe_part_of_a_path(text: str) -> None:
    if said := refusal(fields.parse_domain, text):
        assert said.isprintable()
        return
    domain = fields.parse_domain(text)
    name = domain.removeprefix("*.")
    assert name == "*" or (set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") and name.strip("."))
    assert len(name) <= DOMAIN_BYTES


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("/", ""), ("/static/", "/static"), ("/a/b", "/a/b"), ("/ä ö/", "/ä ö"), ("/.well-known", "/.well-known")],
)
def test_paths_in_urls(text: str, prefix: str) -> None:
    assert fields.parse_url_prefix(text) == prefix


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("static/", "begins with '/'"), ("", "begins with '/'"), (None, "begins with '/'"), (1, "begins with '/'"),
        ("//", "empty part"), ("/a//b", "empty part"), ("/a//", "empty part"), ("/../etc", "'..'"), ("/a/./b", "'.'"),
        ("/a\n", "unprintable"), ("/a\0", "unprintable"), ("/" + "a" * 256, "at most 255"), ("/a" * 600, "at most 1000"),
    ],
)  # fmt: skip
def test_what_is_no_path_in_urls(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fields.parse_url_prefix(value)


@pytest.mark.parametrize("text", ["app:app", "mysite.wsgi:application", "a.b.c:d.e", "m:make()", "_m:_a", "größe:app"])
def test_applications(text: str) -> None:
    assert fields.parse_application(text) == text


@pytest.mark.parametrize(
    "value",
    [
        "", "app", "app:", ":app", "app.py:app", "a b:app", "app:app(1)", "app:app()()", "app:a-b", "1a:b", "a:b:c", "../a:b",
        "a:b\n", "os;import os:x", "a" * 600 + ":b", 5, None, ["a:b"],
    ],
)  # fmt: skip
def test_what_is_no_application(value: Any) -> None:
    if value == "app.py:app":
        assert fields.parse_application(value)  # a module "py" in a package "app": who is to know?
        return
    with pytest.raises(ValueError, match=r"package\.module:object|is text"):
        fields.parse_application(value)


@pytest.mark.parametrize("value", ["", "a\nb", "a\0b", "a\x7fb", "\x1b[31m", "a" * 5000, None, 3, []])
def test_what_is_no_path(value: Any) -> None:
    with pytest.raises(ValueError, match="a path"):
        fields.parse_path(value)


@pytest.mark.parametrize("text", ["blog", "www-data", "svc.app", "pc$", "user@example.org", "jürgen", "a" * 32])
def test_users(text: str) -> None:
    assert fields.parse_user(text) == text


@pytest.mark.parametrize("value", ["", "a b", "a\nb", "a\0", "a:b", "a/b", "-a", "a;b", "{}", "a" * 300, 0, None])
def test_what_is_no_user(value: Any) -> None:
    with pytest.raises(ValueError, match=r"system user|named by text"):
        fields.parse_user(value)


@pytest.mark.parametrize(
    ("value", "text"), [("", ""), ("a=b\n", "a=b\n"), (5, "5"), (1.5, "1.5"), (-(2**63), str(-(2**63)))]
)
def test_variables(value: Any, text: str) -> None:
    assert fields.parse_variable(value) == text


@pytest.mark.parametrize("value", [True, None, [], {}, "a\0b", 2**64, HUGE])
def test_what_is_no_variable(value: Any) -> None:
    with pytest.raises(ValueError, match=r"text|NUL"):
        fields.parse_variable(value)


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A\n", "A-B", "Ä", 5])
def test_what_is_no_name_of_a_variable(name: Any) -> None:
    with pytest.raises(ValueError, match="letters, digits and '_'"):
        fields.parse_variable_name(name)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8000", "127.0.0.1:8000"), (":8000", "127.0.0.1:8000"), ("localhost:8000", "127.0.0.1:8000"), ("*:80", "0.0.0.0:80"),
        ("10.1.2.3:0080", "10.1.2.3:80"), ("[::1]:443", "[::1]:443"), ("[::]:65535", "[::]:65535"), (" 80 ", "127.0.0.1:80"),
        (80, "127.0.0.1:80"),
    ],
)  # fmt: skip
def test_addresses(text: Any, address: str) -> None:
    assert fields.parse_listen(text) == address
    assert fields.parse_listen(address) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "http", "0", "65536", "99999", "-1", "1.2.3:80", "999.1.1.1:80", "[zz]:80", "[1]:80", "::1:80", "example.com:80",
        "80;", "80 90", "1.2.3.4", "1.2.3.4:", "٨٠", None, "unix:/run/x.sock",
    ],
)  # fmt: skip
def test_what_is_no_address(text: Any) -> None:
    with pytest.raises(ValueError, match="write PORT, IPV4:PORT"):
        fields.parse_listen(text)


PARSERS: list[Callable[[Any], Any]] = [
    fields.parse_duration, fields.parse_size, fields.parse_domain, fields.parse_url_prefix, fields.parse_application,
    fields.parse_path, fields.parse_user, fields.parse_variable, fields.parse_variable_name, fields.parse_listen,
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_every_parser_answers_any_value_with_a_value_or_a_sentence(value: Any) -> None:
    for parse in PARSERS:
        said = refusal(parse, value)
        assert said.isprintable()
        assert len(said) < MESSAGE_CHARACTERS
    assert show(value).isprintable()
    assert len(show(value)) <= SHOWN_CHARACTERS


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@pytest.mark.parametrize(
    "value",
    ["x" * 100_000, "\x1b[2J\n" * 1000, 10**5000, [["x"] * 1000] * 1000],
    ids=["long", "control", "huge", "list"],
)
def test_a_refusal_is_short_and_visible_however_long_the_value(parse: Callable[[Any], Any], value: Any) -> None:
    said = refusal(parse, value)
    assert said or parse is fields.parse_variable  # which may be long, and is bounded with all others
    assert said.isprintable()
    assert len(said) < MESSAGE_CHARACTERS


def test_showing_goes_only_so_deep() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert show(deep).startswith("[[[")
    assert show(10**5000) == "a very long number"


def test_plain_text_keeps_letters_and_shows_the_rest() -> None:
    assert plain("größe") == "größe"
    assert plain("a\nb\x1b[0m\u202e\0") == r"a\nb\x1b[0m\u202e\x00"
    assert plain("\udcff") == r"\udcff"
    assert plain("x" * 50, 10) == "xxxxxxx..."


@pytest.mark.parametrize("path", ["/", "/health", "/health/", "/a b/ä"])
def test_a_path_as_an_application_sees_it(path: str) -> None:
    assert fields.parse_url_path(path) == path


@pytest.mark.parametrize("path", ["", "health", "/health?a=b", "/a\nb", "/" + "x" * 1000, 5, None])
def test_what_is_no_path_as_an_application_sees_it(path: Any) -> None:
    with pytest.raises(ValueError, match="path"):
        fields.parse_url_path(path)
