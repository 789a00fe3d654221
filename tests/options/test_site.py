"""Site files as bytes: what becomes a site, and for everything else where the fault is, why it is one, and what to do."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hostel.options.guard import GuardOptions
from hostel.options.site import (
    ENV_BYTES,
    FILE_BYTES,
    KEY_PARTS,
    PROBLEMS,
    Problem,
    Site,
    SiteOptions,
    descriptions,
    json_schema,
    make_site,
    read_site,
)
from hostel.options.tables import CacheOptions, LimitOptions, StaticCacheOptions, TlsOptions, WorkerOptions  # fmt: skip

FILE = "/srv/sites/blog.toml"
APP = 'app = "mysite.wsgi:application"\n'


def read(text: str | bytes, name: str = "blog") -> tuple[Site | None, list[Problem]]:
    return read_site(name, FILE, text.encode() if isinstance(text, str) else text)


def good(text: str) -> Site:
    site, problems = read(text)
    assert site is not None, problems
    assert not problems
    return site


def bad(text: str | bytes) -> list[tuple[str, str]]:
    """The places and reasons of all problems; each of them is one that somebody can act upon."""
    site, problems = read(text)
    assert site is None
    assert problems
    for problem in problems:
        assert (problem.site, problem.file) == ("blog", FILE)
        assert problem.reason, problem
        assert problem.remedy, problem
        for said in (problem.where, problem.reason, problem.remedy, str(problem)):
            assert said.isprintable(), said
            assert len(said) < 600, said
        assert str(problem).startswith(f"{FILE}: ")
    return [(problem.where, problem.reason) for problem in problems]


# --- what is right -------------------------------------------------------------------------------------------------


def test_the_least_file_has_all_defaults() -> None:
    site = good(APP)
    assert site == Site(
        name="blog", file=FILE, app="mysite.wsgi:application", interface="auto", domains=("blog.localhost",),
        directory="/srv/sites", environment=None, user=None, reload_on=(), static=(),
        static_cache=StaticCacheOptions(), private=(), errors=(), env=(), workers=WorkerOptions(),
        limits=LimitOptions(),
        guard=GuardOptions(),
    )  # fmt: skip


def test_every_option_is_taken() -> None:
    site = good(
        APP
        + """
        interface = "wsgi"
        domains = ["Example.com", "*.example.com", "example.com"]
        directory = "../blog"
        environment = "venv"
        user = "blog"
        reload_on = ["mysite/wsgi.py", "/etc/motd", "./mysite/wsgi.py"]
        mounted_by = ["portal"]
        [static]
        "/static/" = "static-root"
        "/" = "/srv/files/"
        [static_cache]
        hashed = true
        age = "1h"
        [private]
        "/paid/" = "media"
        [errors]
        503 = "errors/503.html"
        404 = "/srv/404.html"
        [env]
        B = "x"
        A = 5
        [workers]
        min = 1
        max = 2
        threads = 3
        idle = "1m"
        idle_ignore = ["/health", "/ping/"]
        [limits]
        start = "2s"
        queue = 0.5
        request = "90s"
        drain = 0
        body = "1M"
        rate = 10
        connections = 50
        requests = 10000
        life = "1d"
        worker_memory = "256M"
        [tls]
        certificate = "tls/blog.pem"
        key = "/etc/blog.key"
        redirect = true
        hsts = "1d"
        hsts_subdomains = true
        [cache]
        on = true
        size = "1G"
        ignored_cookies = ["theme", "a.b-c_D"]
        [mount]
        "/shop/" = "shop"
        "/a b/c" = "other"
        """
    )
    assert site == Site(
        name="blog", file=FILE, app="mysite.wsgi:application", interface="wsgi", domains=("example.com", "*.example.com"),
        directory="/srv/blog", environment="/srv/sites/venv", user="blog", reload_on=("/srv/blog/mysite/wsgi.py", "/etc/motd"),
        static=(("", "/srv/files"), ("/static", "/srv/blog/static-root")),
        static_cache=StaticCacheOptions(True, 3600), private=(("/paid", "/srv/blog/media"),),
        errors=(("404", "/srv/404.html"), ("503", "/srv/blog/errors/503.html")), env=(("A", "5"), ("B", "x")),
        workers=WorkerOptions(1, 2, 3, 60, ("/health", "/ping/")),
        limits=LimitOptions(2, 0.5, 90, 0, 2**20, 10, 50, 10000, 86400, 2**28),
        cache=CacheOptions(True, 2**30, ("theme", "a.b-c_D")), guard=GuardOptions(),
        mount=(("/a b/c", "other"), ("/shop", "shop")), mounted_by=("portal",),
        tls=TlsOptions("/srv/sites/tls/blog.pem", "/etc/blog.key", True, 86400, True),
    )  # fmt: skip


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + APP.encode(), APP.replace("\n", "\r\n").encode(), APP.strip().encode()]
)
def test_what_editors_on_other_systems_write_is_taken(data: bytes) -> None:
    assert read(data)[0] == good(APP)


def test_a_site_of_static_files_only() -> None:
    assert good('[static]\n"/" = "."\n').app is None


def test_a_site_of_mounts_only() -> None:
    assert good('[mount]\n"/shop" = "shop"\n').mount == (("/shop", "shop"),)


def test_what_a_worker_is_made_of_decides_about_new_workers() -> None:
    site = good(APP)
    for same in (
        'domains = ["a.example"]',
        '[static]\n"/s/" = "s"',
        "[workers]\nmax = 9",
        'reload_on = ["a"]',
        '[limits]\nstart = "1s"',
        '[mount]\n"/a" = "b"',
    ):
        assert good(APP + same).digest == site.digest, same
    for other in ("[env]\nA = 1", "[workers]\nthreads = 2", 'user = "x"', 'directory = "x"', "[limits]\nqueue = 1"):
        assert good(APP + other).digest != site.digest, other


# --- what is wrong with the file as a whole ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n"])
def test_an_empty_file(text: str) -> None:
    assert bad(text) == [("", "the file says nothing")]


def test_a_file_of_ten_megabytes() -> None:
    assert bad(b"#" * 10_000_000) == [("", f"the file has 10000000 bytes; a site file has at most {FILE_BYTES}")]


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"\xff", 1), (APP.encode() + b"# gr\xfc\xdfe\n", 2), (APP.encode("utf-16"), 1), (b"\n\n\x80", 3)],
)
def test_a_file_that_is_not_utf_8(data: bytes, line: int) -> None:
    assert bad(data) == [(f"line {line}", "the file is not UTF-8 text")]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("app: mysite.wsgi:application", "line 1, column 4"),  # YAML
        ('{"app": "mysite.wsgi:application"}', "line 1, column 1"),  # JSON
        ("<site/>", "line 1, column 1"),
        ("app = mysite.wsgi:application", "line 1, column 7"),  # no quotes
        ("app = 'a:b'\napp = 'a:b'", "line 2"),
        ("app = 'a:b'\n[env]\n[env]", "line 3, column 5"),
        ("app = 'a:b'\n[env]\nA = 1\nA = 2", "line 4"),
        ("app = 'a:b'\nworkers = {}\n[workers]", "line 3, column 9"),
        ("app = 'a:b\0'", "line 1, column 11"),
        ("app = 'a:b'\0", "line 1, column 12"),
        ("\0\0\0\0", "line 1, column 1"),
        ("app = 'a:b'\nuser = 2020-13-45", "line 2, column 12"),
        ("app = 'a:b'\ruser = 'x'", "line 1, column 12"),
    ],
)
def test_what_is_no_toml_is_reported_with_its_line(text: str, where: str) -> None:
    ((found, reason),) = bad(text)
    assert reason.startswith("not TOML: ")
    assert found.startswith(where)


def test_each_beginning_of_a_file_is_a_site_or_a_problem() -> None:
    """A file that is being written is read at any moment."""
    text = APP + '[static]\n"/static/" = "static"\n[env]\nA = """\nlong\n"""\n[workers]\nmax = 2\n'
    outcomes = [read(text[:length]) for length in range(len(text))]
    assert all((site is None) == bool(problems) for site, problems in outcomes)
    assert sum(site is None for site, _ in outcomes) > 50


@pytest.mark.parametrize(
    "text",
    [
        "app = " + "[" * 100_000, "app = " + "[" * 300 + "]" * 300, "app = " + "{a=" * 50_000, "a" + ".a" * 100_000 + " = 1",
        "[" + "a." * 100_000 + "a]", "[[" + "a." * 50_000 + "a]]", "x = {" + '"a" . ' * 30_000 + "a = 1}",
        "'a'." * 20 + "a = 1",
    ],
    ids=["open lists", "lists", "tables", "key", "header", "array of tables", "inline table", "quoted"],
)  # fmt: skip
def test_deep_nesting(text: str) -> None:
    assert bad(text)


def test_keys_of_many_parts_do_not_keep_the_server_busy() -> None:
    """Such a file of 250 kB took tomli 9 seconds, and tomllib 64 GB; who writes site files need not be a friend."""
    header = "[" + "b." * 900 + "b]\n"
    text = header + "".join("a." * 900 + f"a{number} = 1\n" for number in range(140))
    assert len(text) < FILE_BYTES
    assert bad(text) == [("line 1", f"a key has more than {KEY_PARTS} parts")]
    began = time.process_time()
    for hidden in ('x = """a""""" \n', "x = '''a''''' \n", 'x = ["""\\""""", \'#\'] # "\n', 'x = "\\\\"\n'):
        assert bad(hidden + text) == [("line 2", f"a key has more than {KEY_PARTS} parts")]
    for quiet in ('"' * FILE_BYTES, "'" * FILE_BYTES, 'a"' * (FILE_BYTES // 2), "a" * FILE_BYTES, "a " * (FILE_BYTES // 2),
                  "a." * 10 + "a" * (FILE_BYTES - 20), '"""\\' * (FILE_BYTES // 4), "a\t.\t" * 9 + "\t" * 200_000):  # fmt: skip
        assert bad(quiet)
    assert time.process_time() - began < 20  # of the processor's seconds; what is quadratic takes minutes


def test_many_dots_in_a_text_are_no_long_key() -> None:
    dots = ".".join("abcdefghijklmnopqrstuvwxyz")
    site = good(APP + f'[env]\nA = "{dots}"\nB = \'{dots}\'\nC = """\n{dots}\n"""\n# {dots}\n')
    assert dict(site.env)["A"] == dots


@pytest.mark.parametrize(
    "number", ["1" + "0" * 4000, "1" + "0" * 5000, "0x1" + "0" * 40_000, "-" + "9" * 100, "1e999999"]
)
@pytest.mark.parametrize("key", ["app", "workers.max", "limits.start", "env.A", "user", "unknown", "domains"])
def test_huge_numbers(number: str, key: str) -> None:
    if (key, number) == ("env.A", "1e999999"):
        assert dict(good(f"{APP}{key} = {number}\n").env) == {"A": "inf"}
        return
    assert bad((APP if key != "app" else "") + f"{key} = {number}\n")


@given(st.binary(max_size=2000))
@example(b"\x00")
def test_any_bytes_are_a_site_or_problems(data: bytes) -> None:
    site, problems = read(data)
    assert (site is None) == bool(problems)


KEYS = [*(f.name for f in fields(SiteOptions)), "min", "max", "idle", "start", "queue", "A", "/static/", "", "\x1b[31m"]
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.times()
    | st.sampled_from(KEYS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_table_is_a_site_or_problems(table: dict[str, Any]) -> None:
    site, problems = make_site("blog", FILE, "/srv/sites", table)
    assert (site is None) == bool(problems)
    for problem in problems:
        assert problem.reason.isprintable() and problem.where.isprintable() and problem.remedy


# --- what is wrong with options ---------------------------------------------------------------------------------------


def test_all_problems_are_reported_at_once_with_their_lines() -> None:
    text = """
        app = 1
        domains = "example.com"
        workers = 3
        limits = []
        env = "A=B"
        static = ["/static/"]
        user = 0
        directory = []
        environment = ""
        interface = "fastcgi"
        """
    assert sorted(bad(text)) == [
        ("app (line 2)", "app is text, and 1 is not"),
        ("directory (line 9)", "a path is text and not empty, and [] is not"),
        ("domains (line 3)", "has to be a list, not 'example.com'"),
        ("env (line 6)", "has to be a table, not 'A=B'"),
        ("environment (line 10)", "a path is text and not empty, and '' is not"),
        ("interface (line 11)", "has to be one of 'auto', 'wsgi' or 'asgi', not 'fastcgi'"),
        ("limits (line 5)", "has to be a table, not []"),
        ("static (line 7)", "has to be a table, not ['/static/']"),
        ("user (line 8)", "a user is named by text, and 0 is not"),
        ("workers (line 4)", "has to be a table, not 3"),
    ]


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ('[workers]\nmin = "2"', "workers.min (line 3)", "has to be a whole number, not '2'"),
        ("[workers]\nmax = 2.0", "workers.max (line 3)", "has to be a whole number, not 2.0"),
        ("[workers]\nthreads = true", "workers.threads (line 3)", "has to be a whole number, not True"),
        ("[workers]\nmin = -1", "workers.min (line 3)", "has to be at least 0, not -1"),
        ("[workers]\nmax = 0", "workers.max (line 3)", "has to be at least 1, not 0"),
        ("workers.max = 1000", "workers.max (line 2)", "has to be at most 256, not 1000"),
        (
            "[limits]\nrate = 3",
            "limits.rate (line 3)",
            "has to be one of 1, 2, 5, 10, 20, 50, 100, 200, 500 or 1000, not 3",
        ),
        ("[limits]\nbody = 0", "limits.body (line 3)", "has to be more than 0, not 0"),
        ('[cache]\non = "yes"', "cache.on (line 3)", "has to be true or false, not 'yes'"),
        ('[cache]\nignored_cookies = "theme"', "cache.ignored_cookies (line 3)", "has to be a list, not 'theme'"),
        ('[cache]\nignored_cookies = ["a;b"]', "cache.ignored_cookies.0 (line 3)", "the name of a cookie is up to 100"),
        (
            '[cache]\nignored_cookies = ["*", "' + "x" * 100 + '", "' + "y" * 20 + '"]',
            "cache (line 2)",
            "the names of ignored_cookies have more than 120 bytes",
        ),
        ("[workers]\nmin = 5\nmax = 2", "workers (line 2)", "min (5) is larger than max (2)"),
        ("[workers]\nmin = 5", "workers (line 2)", "min (5) is larger than max (4)"),
        ("[limits]\nstart = 0", "limits.start (line 3)", "has to be more than 0, not 0"),
        ("[limits]\nqueue = 2020-01-01", "limits.queue (line 3)", "give a number of seconds"),
        ('[env]\n"A B" = "x"', "env.A B (line 3)", "the name of an environment variable"),
        ("[env]\nA = [1]", "env.A (line 3)", "the value of an environment variable is text"),
        ('domains = ["a.example", "b c"]', "domains.1 (line 2)", "'b c' is not a host name"),
        ('[static]\n"static/" = "x"', "static.static/ (line 3)", "a path in URLs begins with '/'"),
        ("[static]\n'/a/' = ''", "static./a/ (line 3)", "a path is text and not empty"),
        ('[mount]\n"/a" = "x"\n"/a/" = "y"', "mount (line 2)", "two entries have the same path"),
        ('[mount]\n"/" = "x"', "mount./ (line 3)", "a site is mounted at a path of 1 to 4 parts"),
        ('[mount]\n"/a/b/c/d/e" = "x"', "mount./a/b/c/d/e (line 3)", "a site is mounted at a path of 1 to 4 parts"),
        ('[mount]\n"/a/+" = "x"', "mount./a/+ (line 3)", "'/a/+': a part cannot be '+' alone"),
        ('[mount]\n"shop" = "x"', "mount.shop (line 3)", "a path in URLs begins with '/'"),
        ('[mount]\n"/a" = "../x"', "mount./a (line 3)", "a site's name"),
        ('[mount]\n"/a" = 5', "mount./a (line 3)", "a site's name"),
        ('[tls]\ncertificate = "a"', "tls (line 2)", "certificate and key go together"),
        ("[tls]\nhsts_subdomains = true", "tls (line 2)", "hsts_subdomains needs hsts"),
        ("[tls]\nredirect = 1", "tls.redirect (line 3)", "has to be true or false, not 1"),
        ('[static]\n"/a" = "x"\n"/a/" = "y"', "static (line 2)", "two entries have the same path"),
    ],
)
def test_one_wrong_option(text: str, where: str, reason: str) -> None:
    ((found, said),) = bad(APP + text)
    assert found == where
    assert said.startswith(reason)


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ('domain = ["x"]', "domain", "did you mean 'domains'?"), ("[worker]\nmax = 1", "worker", "did you mean 'workers'?"),
        ("[workers]\nmaximum = 1", "workers.maximum", "did you mean 'max'?"),
        ('[limits]\nstrat = "1s"', "limits.strat", "did you mean 'start'?"),
        ('[limits]\nswap = 2', "limits.swap", "known here: start, queue, request, drain"),
        ('"\\u001b[31mx" = 1', r"\x1b[31mx", "known here: app,"), ("x" * 1000 + " = 1", "x" * 97 + "...", "known here: app,"),
    ],
)  # fmt: skip
def test_an_unknown_option_comes_with_a_suggestion(text: str, key: str, remedy: str) -> None:
    site, (problem,) = read(APP + text)
    assert site is None
    assert problem.where.partition(" (")[0] == key
    assert problem.reason == "unknown option"
    assert problem.remedy.startswith(remedy)
    assert bad(APP + text)


def test_neither_application_nor_files() -> None:
    assert bad("user = 'blog'") == [("", "the site has neither app nor static: there is nothing to serve")]


@pytest.mark.parametrize("table", ["static", "private"])
def test_paths_of_files_with_too_many_parts(table: str) -> None:
    assert good(f'{APP}[{table}]\n"/1/2/3/4/5/6/" = "a"\n"/" = "b"\n')
    assert bad(f'{APP}[{table}]\n"/1/2/3/4/5/6/7/" = "a"\n') == [
        (f"{table}./1/2/3/4/5/6/7 (line 3)", "the path in URLs has 7 parts")
    ]


def test_more_variables_than_fit_into_a_message() -> None:
    assert good(f'{APP}[env]\nA = "{"x" * (ENV_BYTES - 20)}"\n')
    ((where, reason),) = bad(f'{APP}[env]\nA = "{"x" * ENV_BYTES}"\n')
    assert where == "env (line 2)"
    assert f"{ENV_BYTES} are allowed" in reason


def test_thousands_of_problems_are_counted_rather_than_listed() -> None:
    found = bad(APP + "".join(f"x{number} = 1\n" for number in range(20_000)))
    assert len(found) == PROBLEMS + 1
    assert found[-1] == ("", f"and {20_000 - PROBLEMS} more problems")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "a.b", "A", "a\nb", "a" * 300, "ä", "\udcff", "-x", "a\x1b[31m"]
)
def test_the_file_s_name_has_to_be_a_site_s_name(name: str) -> None:
    site, (problem,) = read(APP, name)
    assert site is None
    assert problem.reason.startswith("a site's name is 1 to 48 small letters")
    assert problem.remedy.startswith("rename the file")
    assert problem.reason.isprintable()


# --- the declaration -------------------------------------------------------------------------------------------------

TABLES = {
    "tls": TlsOptions,
    "workers": WorkerOptions,
    "limits": LimitOptions,
    "cache": CacheOptions,
    "static_cache": StaticCacheOptions,
    "guard": GuardOptions,
}


def test_every_option_has_a_sentence() -> None:
    for kind in (SiteOptions, *TABLES.values()):
        for name, sentence in descriptions(kind).items():
            assert sentence.endswith("."), f"{kind.__name__}.{name}"
            assert sentence[0].isupper()


def test_the_json_schema_is_the_declaration() -> None:
    schema = json_schema()
    kinds = {"SiteOptions": (SiteOptions, schema)} | {
        kind.__name__: (kind, schema["$defs"][kind.__name__]) for kind in TABLES.values()
    }
    assert set(schema["$defs"]) == set(kinds) - {"SiteOptions"}
    for kind, said in kinds.values():
        assert said["additionalProperties"] is False
        assert {name: value["description"] for name, value in said["properties"].items()} == descriptions(kind)
        defaults = TypeAdapter(kind).dump_python(kind(), mode="json")
        assert {name: value.get("default", {}) for name, value in said["properties"].items()} == {
            name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()
        }
    workers = schema["$defs"]["WorkerOptions"]["properties"]
    assert (workers["max"]["minimum"], workers["max"]["maximum"]) == (1, 256)
    start = schema["$defs"]["LimitOptions"]["properties"]["start"]
    assert [one["type"] for one in start["anyOf"]] == ["number", "string"]  # 30, and "30s"
    assert start["unit"] == "time"
    assert json.loads(json.dumps(schema)) == schema


def test_sites_are_values() -> None:
    """They are compared with each other to see what has changed."""
    assert good(APP) == good("# a comment\n" + APP)
    assert hash(good(APP)) == hash(good(APP))
