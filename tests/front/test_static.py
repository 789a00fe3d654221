"""Files that the front serves by itself: which, how, and above all which not."""

from __future__ import annotations

import gzip
import os
import pwd
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.front.applications import ECHO, ECHO_ASGI, says, wait_routed, within_a_second
from tests.support.server import Server, make_folder, wait_for

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="guards between users exist only for root")

FILES = {
    "index.html": "the front page",
    "a.txt": "0123456789",
    "app": "no extension",
    "assets/site.css": "a { }",
    "assets/site.js": "1",
    "assets/icon.svg": "<svg/>",
    "assets/photo.jpg": "jpeg",
    "assets/font.woff2": "font",
    "assets/module.mjs": "1",
    "assets/data.json": "{}",
    "assets/code.wasm": "wasm",
    "assets/page.HTML": "upper",
    "assets/what.unknown": "?",
    "docs/index.html": "the docs",
    "docs/a b/index.html": "a space",
    "docs/wide?open/index.html": "a question",
    "docs/50%/index.html": "percent",
    "docs/a+b&c=d#e.txt": "signs",
    "docs/\xe4\u20ac/\U0001f600.txt": "smile",
    "docs/nothing/here.txt": "no index",
    "aindex.html": "a trap",
    "admin/admin.css": "from the inner mapping",
    "robots.txt": "the single file",
}


def write_files(folder: Path) -> None:
    for name, text in FILES.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    """``app`` and ``async`` sleep behind their files, ``pages`` is files only."""
    for name in ("app", "async", "pages"):
        write_files(front_server.projects / name / "public")
        front_server.write(f"{name}/theme/admin.css", "from the middle")
        front_server.write(f"{name}/theme/theme.css", "the theme")
    nested = {"/static/": "public/assets", "/": "public", "/static/theme/": "theme", "/robots.txt": "public/robots.txt"}
    front_server.site("pages", static=nested, domains=["pages.localhost", "*.pages.example"])
    front_server.site(
        "app", ECHO, static={"/static/": "public", "/static/admin/": "public/admin", "/favicon.ico": "public/a.txt"}
    )
    front_server.site("async", ECHO_ASGI, static={"/static/": "public"}, interface="asgi")
    wait_routed(front_server, "app", "async", "pages")
    return front_server


# --- what is served -----------------------------------------------------------------------------------------------------


def test_files_are_served_while_the_site_sleeps(server: Server) -> None:
    for name in ("app", "async"):
        assert server.get(name, "/static/a.txt").text == "0123456789"
        assert server.get(name, "/static/docs/").text == "the docs"
        assert server.state(name) == "cold"
    assert server.get("app", "/favicon.ico").text == "0123456789"
    assert server.state("app") == "cold"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "the front page"),
        ("/?a=b", "the front page"),
        ("/index.html", "the front page"),
        ("/docs/", "the docs"),
        ("/docs/a%20b/", "a space"),
        ("/docs/wide%3Fopen/", "a question"),
        ("/docs/wide%3Fopen/?really", "a question"),
        ("/docs/50%25/", "percent"),
        ("/docs/a+b&c=d%23e.txt", "signs"),
        ("/docs/%C3%A4%E2%82%AC/%F0%9F%98%80.txt", "smile"),
        ("/%64ocs/", "the docs"),
        ("/docs%2Findex.html", "the docs"),
        ("/docs/./", "the docs"),
        ("/docs/x/../", "the docs"),
        ("/robots.txt", "the single file"),
        ("/static/site.css", "a { }"),
        ("/static/theme/theme.css", "the theme"),
        ("/static/theme/../site.css", "a { }"),
        ("/aindex.html", "a trap"),
    ],
)
def test_names_and_layers(server: Server, path: str, text: str) -> None:
    for host in ("pages", "www.pages.example"):
        answer = server.get(host, path)
        assert (answer.status, answer.text) == (200, text)


def test_the_innermost_mapping_wins_and_the_others_fill_in(server: Server) -> None:
    assert server.get("app", "/static/admin/admin.css").text == "from the inner mapping"
    assert server.get("app", "/static/aindex.html").text == "a trap"
    assert server.get("app", "/static/admin/none.css").json()["PATH_INFO"] == "/static/admin/none.css"
    assert server.get("pages", "/static/theme/admin.css").text == "from the middle"
    assert server.get("pages", "/admin/admin.css").text == "from the inner mapping"


@pytest.mark.parametrize("path", ["/static/docs", "/static/docs/nothing/", "/static/a", "/static/none", "/static", "/"])
def test_what_is_no_file_is_the_applications(server: Server, path: str) -> None:
    assert server.get("app", path).json()["PATH_INFO"] == path
    assert server.get("async", path).json()["path"] == path


def test_an_index_is_not_found_under_half_a_name(server: Server) -> None:
    """``/static/a`` and ``index.html`` make ``/static/aindex.html``, which is something else."""
    assert server.get("pages", "/a").status == 404
    assert server.get("app", "/static/a").json()["PATH_INFO"] == "/static/a"


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("index.html", "text/html"),
        ("a.txt", "text/plain"),
        ("app", "application/octet-stream"),
        ("assets/site.css", "text/css"),
        ("assets/site.js", "text/javascript"),
        ("assets/module.mjs", "text/javascript"),
        ("assets/icon.svg", "image/svg+xml"),
        ("assets/photo.jpg", "image/jpeg"),
        ("assets/font.woff2", "font/woff2"),
        ("assets/data.json", "application/json"),
        ("assets/code.wasm", "application/wasm"),
        ("assets/page.HTML", "text/html"),
        ("assets/what.unknown", "application/octet-stream"),
        ("", "text/html"),
    ],
)
def test_types(server: Server, name: str, type_: str) -> None:
    full = f"{type_}; charset=utf-8" if type_.startswith("text/") else type_
    assert server.get("pages", f"/{name}").headers["content-type"] == full
    assert server.get("app", f"/static/{name}").headers["content-type"] == full


def test_ranges_and_conditions(server: Server) -> None:
    whole = server.get("app", "/static/a.txt")
    assert whole.headers["content-length"] == "10"
    assert whole.headers["accept-ranges"] == "bytes"
    part = server.get("app", "/static/a.txt", headers={"Range": "bytes=2-4"})
    assert (part.status, part.text, part.headers["content-range"]) == (206, "234", "bytes 2-4/10")
    assert server.get("app", "/static/a.txt", headers={"Range": "bytes=-3"}).text == "789"
    assert server.get("app", "/static/a.txt", headers={"Range": "bytes=20-"}).status == 416
    assert server.get("app", "/static/a.txt", headers={"If-None-Match": whole.headers["etag"]}).status == 304
    assert server.get("app", "/static/a.txt", headers={"If-None-Match": '"other"'}).status == 200
    since = {"If-Modified-Since": whole.headers["last-modified"]}
    assert server.get("app", "/static/a.txt", headers=since).status == 304


def test_a_packed_file_beside_the_file(server: Server) -> None:
    """It is sent to those who take it, as what the file itself is; nobody has to ask for it, in any nginx."""
    public = server.projects / "app/public"
    packed = {"": b"a { } /* long */", ".gz": gzip.compress(b"a { } /* long */"), ".br": b"as if it were brotli"}
    for ending, data in packed.items():
        (public / f"packed.css{ending}").write_bytes(data)
    (public / "one.js").write_text("1")
    (public / "one.js.gz").write_bytes(gzip.compress(b"1"))
    for accepted, ending in (
        ("", ""), ("identity", ""), ("gzip", ".gz"), ("deflate, gzip;q=0.8", ".gz"), ("gzip, deflate, br, zstd", ".br"),
        ("br", ".br"), ("gzip;q=0", ""), ("br;q=0, gzip", ".gz"), ("GZIP", ".gz"), ("xgzip", ""), ("gzip; q=0.0", ""),
    ):  # fmt: skip
        answer = server.get("app", "/static/packed.css", headers={"Accept-Encoding": accepted})
        assert answer.body == packed[ending], accepted
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert answer.headers.get("content-encoding") == {"": None, ".gz": "gzip", ".br": "br"}[ending]
        assert answer.headers.get("vary") == ("Accept-Encoding" if ending else None)
    answer = server.get("app", "/static/one.js", headers={"Accept-Encoding": "br, gzip"})
    assert (gzip.decompress(answer.body), answer.headers["content-encoding"]) == (b"1", "gzip")
    headers = {"Accept-Encoding": "gzip", "If-None-Match": answer.headers["etag"]}
    assert server.get("app", "/static/one.js", headers=headers).status == 304
    assert server.get("app", "/static/one.js").headers["etag"] != answer.headers["etag"]
    assert server.get("app", "/static/one.js.gz").headers.get("content-encoding") is None


def test_a_packed_file_that_leads_elsewhere_is_not_sent(server: Server) -> None:
    public = server.projects / "app/public"
    (public / "trap.js").write_text("harmless")
    (public / "trap.js.gz").symlink_to("../app.py")
    assert server.get("app", "/static/trap.js", headers={"Accept-Encoding": "gzip"}).text == "harmless"


HASHED = (
    "base.5af66c1b1797.css", "js/main.1a2b3c4d.chunk.js", "0123abcd4567.js", "assets/index-BxV3k9_a.js",
    "assets/logo-C8RrLf0p.svg", "chunk-KQ2VX7TB.js", "font.0a1b2c3d4e5f60718293a4b5c6d7e8f9.woff2", "app.5af66c1b1797.js.map",
)  # fmt: skip
NOT_HASHED = (
    "base.css", "report-20240101.pdf", "photo.20240101.jpg", "my-document.pdf", "jquery-3.7.1.min.js", "a.decade.css",
    "site.min.js", "some-facade.css", "bootstrap.bundle.js", "my-Vacation.jpg", "5af66c1b1797/base.css",
)  # fmt: skip


def test_how_long_browsers_keep_a_file(server: Server) -> None:
    for site, options in (
        ("keeps", {"hashed": True, "age": "1h"}), ("hashes", {"hashed": True}), ("ages", {"age": 60}), ("neither", {}),
    ):  # fmt: skip
        for name in (*HASHED, *NOT_HASHED):
            server.write(f"{site}/public/{name}", name)
        server.site(site, ECHO, static={"/s/": "public"}, static_cache=options)
    wait_routed(server, "keeps", "hashes", "ages", "neither")

    def kept(site: str, name: str) -> str:
        answer = server.get(site, f"/s/{name}")
        assert (answer.status, answer.text) == (200, name)
        return answer.headers.get("cache-control", "")

    for name in HASHED:
        assert [kept("keeps", name), kept("hashes", name)] == ["public, max-age=31536000, immutable"] * 2, name
        assert [kept("ages", name), kept("neither", name)] == ["public, max-age=60", ""]
    for name in NOT_HASHED:
        assert [kept("keeps", name), kept("hashes", name)] == ["public, max-age=3600", ""], name
    assert "cache-control" not in server.get("keeps", "/s/none.5af66c1b1797.css").headers
    server.site("ages", ECHO, static={"/s/": "public"}, static_cache={"age": "2m"})
    wait_for(lambda: kept("ages", "base.css") == "public, max-age=120", "the new age")


def test_methods(server: Server) -> None:
    head = server.get("app", "/static/a.txt", method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert server.get("app", "/static/a.txt", method=method, body=b"x").status == 405
        assert server.get("app", "/static/docs/", method=method, body=b"x").status == 405
        assert server.get("app", "/static/none", method=method, body=b"x").json()["REQUEST_METHOD"] == method


def test_a_new_mapping_is_effective_at_once(server: Server) -> None:
    server.write("change/one/file.txt", "one")
    server.write("change/two/file.txt", "two")
    server.site("change", says("change"), static={"/s/": "one"})
    within_a_second(lambda: server.get("change", "/s/file.txt").text == "one", "the first mapping")
    server.site("change", says("change"), static={"/s/": "two"})
    within_a_second(lambda: server.get("change", "/s/file.txt").text == "two", "the second mapping")
    server.site("change", says("change"), static={"/t/": "one", "/": "two"})
    within_a_second(lambda: server.get("change", "/t/file.txt").text == "one", "two mappings")
    assert server.get("change", "/file.txt").text == "two"
    assert server.get("change", "/s/file.txt").text.startswith("change")
    server.site("change", says("change"))
    within_a_second(lambda: server.get("change", "/t/file.txt").text.startswith("change"), "no mapping")
    (generation,) = {server.view("change")["generation"]}
    assert generation == 1  # none of this needs new workers


def test_an_application_can_send_its_own_static_files_only(server: Server) -> None:
    """X-Accel-Redirect is looked up as if the client had asked this site for it."""
    code = """
        def application(environ, start_response):
            target = environ["QUERY_STRING"]
            headers = [("Content-Type", "text/plain"), ("X-Accel-Redirect", target)] if target else []
            start_response("200 OK", headers)
            return [b"the application"]
    """
    write_files(server.projects / "accel" / "public")
    server.site("accel", code, static={"/private/": "public"})
    wait_routed(server, "accel")
    assert server.get("accel", "/?/private/a.txt").text == "0123456789"
    assert server.get("accel", "/?/private/docs/").text == "the docs"
    assert server.get("accel", "/?/private/none").status == 404
    for target in (
        "/etc/passwd", "/../../../../etc/passwd", "/private/../../../../../etc/passwd", "@files", "@find", "@site", "@static",
        "@none", "/.hostel/closed", "/hosts/pages.localhost/www/whole/a.txt", "/sites/pages/www/whole/a.txt",
    ):  # fmt: skip
        answer = server.get("accel", f"/?{target}")
        assert "root:" not in answer.text
        assert answer.text == "the application" or answer.status >= 400


# --- what is not --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/static/../../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt",
        "/.%2e/secret.txt", "/docs/../../secret.txt", "/docs/%2e%2e/%2e%2e/secret.txt", "/..\\secret.txt", "/..%5csecret.txt",
        "/%252e%252e/secret.txt", "/..%c0%afsecret.txt", "/..%c0%2fsecret.txt", "/%c0%ae%c0%ae/secret.txt", "/..;/secret.txt",
        "/./../secret.txt", "//../secret.txt", "/docs//../../secret.txt", "/docs/..%00/secret.txt", "/...../secret.txt",
        "/static../secret.txt", "/static%2e%2e/secret.txt", "/static/..", "/docs/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/secret.txt%00.html", "/%uff0e%uff0e/secret.txt", "/\u2025/secret.txt",
    ],
)  # fmt: skip
def test_nothing_outside_of_a_mapped_folder_is_served(server: Server, path: str) -> None:
    for name in ("app", "pages"):
        secret = server.write(f"{name}/secret.txt", "a secret")
        assert secret.exists()
        for prefix in ("", "/static"):
            request = f"GET {prefix}{path} HTTP/1.1\r\nHost: {name}.localhost\r\nConnection: close\r\n\r\n"
            answer = server.raw(request.encode())
            assert b"a secret" not in answer
            assert b"root:" not in answer
            assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 200 OK\r\nServer: nginx\r\n"))


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/docs", "/docs/"),
        ("/docs?a=b&c", "/docs/?a=b&c"),
        ("/docs/a%20b", "/docs/a%20b/"),
        ("/static/../docs", "/static/../docs/"),
    ],
)
def test_a_missing_slash_is_added_for_sites_of_files(server: Server, path: str, location: str) -> None:
    answer = server.get("pages", path)
    assert (answer.status, answer.headers["location"]) == (301, location)


@pytest.mark.parametrize(
    "path",
    [
        "//docs", "//evil.example", "///evil.example/..", "/\\evil.example", "/\\/evil.example", "/%5cevil.example",
        "/%2fevil.example", "/%2f%2fevil.example/%2e%2e/docs", "//evil.example/%2e%2e/docs", "/docs%0d%0aSet-Cookie:a=b",
        "/docs%0aX: y", "//evil.example/..//docs", "/\\evil.example/../docs", "/.//evil.example", "/docs\r",
    ],
)  # fmt: skip
def test_no_redirect_leads_elsewhere(server: Server, path: str) -> None:
    for folder in ("evil.example", "evil.example/docs"):
        server.write(f"pages/public/{folder}/index.html", "evil")
    request = f"GET {path} HTTP/1.1\r\nHost: pages.localhost\r\nConnection: close\r\n\r\n"
    head = server.raw(request.encode()).partition(b"\r\n\r\n")[0].decode()
    location = re.search(r"^location: *(.*)$", head, re.IGNORECASE | re.MULTILINE)
    if location:
        assert re.match(r"/([^/\\]|\r?$)", location[1])
    assert "et-Cookie" not in head.partition("\r\n")[2].replace("%0d%0aSet-Cookie", "")


def test_a_missing_page_of_a_site_of_files(server: Server) -> None:
    for method in ("GET", "POST", "HEAD"):
        answer = server.get("pages", "/none", method=method)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "nginx" not in server.get("pages", "/none").text


def test_special_files_are_not_served(server: Server) -> None:
    """A FIFO would hold up the front, a folder says what is in it."""
    public = server.projects / "pages/public"
    if not (public / "fifo").exists():
        os.mkfifo(public / "fifo")
        (public / "loop").symlink_to("loop")
        (public / "dangling").symlink_to("nowhere")
    for name in ("fifo", "loop", "dangling", "docs/nothing/", "docs/nothing"):
        assert server.get("pages", f"/{name}").status == 404


# --- users: what root's front must not be made to serve ------------------------------------------------------------------


def give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


@pytest.fixture(scope="module")
def tenant(server: Server) -> Iterator[Path]:
    """The public folder of a site whose files are a tenant's, beside a folder of another one's."""
    if os.geteuid() != 0:
        pytest.skip("guards between users exist only for root")
    folder = make_folder()
    try:
        for path, user, text in (
            ("public/own.txt", "daemon", "the tenant's"),
            ("elsewhere/own.txt", "daemon", "the tenant's, elsewhere"),
            ("theirs/theirs.txt", "bin", "another's"),
        ):
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            give(file.parent, user)
            give(file, user)
        give(folder, "daemon")
        server.site(
            "tenant", directory=str(folder), static={"/": "public", "/sub/": "public", "/file": "public/own.txt"}
        )
        wait_routed(server, "tenant")
        yield folder / "public"
        (server.sites / "tenant.toml").unlink()
        wait_for(lambda: not server.state("tenant"), "the tenant to go")
    finally:
        shutil.rmtree(folder)


def texts(server: Server, *paths: str) -> list[str]:
    return [
        answer.text if answer.status == 200 else str(answer.status)
        for answer in (server.get("tenant", path) for path in paths)
    ]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/etc/passwd", "link"),
        ("/etc", "link/passwd"),
        ("/", "link/etc/passwd"),
        ("../theirs/theirs.txt", "link"),
        ("../theirs", "link/theirs.txt"),
        ("/proc/self/root", "link/etc/passwd"),
        ("/proc/self/environ", "link"),
        ("{run}/sites/app/www", "link/1/static/a.txt"),
        ("{log}/app/access.log", "link"),
        ("{log}", "link/app/access.log"),
    ],
)
def test_a_tenants_link_to_what_is_not_his_is_not_served(server: Server, tenant: Path, target: str, path: str) -> None:
    server.get("app", "/static/a.txt")
    link = tenant / "link"
    link.symlink_to(target.format(run=server.run_dir, log=server.log_dir))
    give(link, "daemon")
    try:
        assert texts(server, f"/{path}", f"/sub/{path}") == ["404", "404"]
    finally:
        link.unlink()


def test_a_tenants_link_to_his_own_works(server: Server, tenant: Path) -> None:
    links = {"inside": "own.txt", "outside": "../elsewhere/own.txt", "folder": "../elsewhere"}
    for name, target in links.items():
        (tenant / name).symlink_to(target)
        give(tenant / name, "daemon")
    try:
        assert texts(server, "/own.txt", "/sub/own.txt", "/file", "/inside", "/sub/inside") == ["the tenant's"] * 5
        assert texts(server, "/outside", "/folder/own.txt") == ["404"] * 2  # it is his, and not in what he shows
    finally:
        for name in links:
            (tenant / name).unlink()


@pytest.mark.parametrize("target", ["/etc", "{theirs}"])
def test_a_mapped_folder_that_becomes_a_link_is_not_followed(server: Server, tenant: Path, target: str) -> None:
    """The tenant owns the folder above: he can put a link in the place of the folder that is mapped."""
    theirs = tenant.parent / "theirs"
    file = "hostname" if target == "/etc" else "theirs.txt"
    tenant.rename(tenant.with_name("aside"))
    try:
        tenant.symlink_to(target.format(theirs=theirs))
        give(tenant, "daemon")
        assert texts(server, f"/{file}", f"/sub/{file}") == ["404", "404"]
        # Nor when the mapping is published anew, which is when the front's own links are made.
        for mapping in (
            {"/": "public", "/new/": "public"},
            {"/": "public", "/sub/": "public", "/file": "public/own.txt"},
        ):
            server.site("tenant", directory=str(tenant.parent), static=mapping)
            link = server.run_dir / f"sites/tenant/www/1/{'new' if '/new/' in mapping else 'sub'}"
            wait_for(lambda link=link: os.path.lexists(link), "the new mapping")  # type: ignore[misc]
            assert texts(server, f"/{file}", f"/sub/{file}", f"/new/{file}") == ["404"] * 3
    finally:
        tenant.unlink()
        tenant.with_name("aside").rename(tenant)
    assert texts(server, "/own.txt", "/sub/own.txt", "/file") == ["the tenant's"] * 3


@pytest.mark.parametrize("user_", ["daemon", ""])
def test_only_links_that_stay_inside_are_followed(server: Server, tmp_path: Path, user_: str) -> None:
    """Whoever owns what: a file beside the mapped folder, as a site's settings, is not served through a link."""
    folder = make_folder()
    try:
        for path in ("public/css/a.css", "public/releases/2/b.txt", "secret.txt", "publicity/c.txt"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(path)
        links = {
            "up": "..", "secret": "../secret.txt", "css/deep": "../../secret.txt", "absolute": f"{folder}/secret.txt",
            "beside": "../publicity", "chain": "secret", "current": "releases/2", "style.css": "css/a.css",
            "round": f"{folder}/public/css", "css/back": "../releases/2/b.txt", "twice": "current",
        }  # fmt: skip
        for name, target in links.items():
            (folder / "public" / name).symlink_to(target)
        if user_ and os.geteuid() == 0:
            for owned in (folder, *folder.rglob("*")):
                give(owned, user_)
        for site, mapping in (("inner", {"/s/": "public"}), ("whole", {"/": "public"}), ("deep", {"/a/b/": "public"})):
            server.site(site, static=mapping, directory=str(folder))
            wait_routed(server, site)
            (prefix,) = mapping
            for name, text in {
                "current/b.txt": "public/releases/2/b.txt", "style.css": "public/css/a.css", "round/a.css": "public/css/a.css",
                "css/back": "public/releases/2/b.txt", "twice/b.txt": "public/releases/2/b.txt",
            }.items():  # fmt: skip
                assert server.get(site, prefix + name).text == text, name
            for name in ("up/secret.txt", "up/public/css/a.css/../../../secret.txt", "secret", "css/deep", "absolute",
                         "beside/c.txt", "chain", "twice/../../../secret.txt"):  # fmt: skip
                answer = server.get(site, prefix + name)
                assert answer.status in (400, 404), name
                assert "public" not in answer.text, name
            (server.sites / f"{site}.toml").unlink()
            wait_for(lambda site=site: not server.state(site), "the site to go")  # type: ignore[misc]
    finally:
        shutil.rmtree(folder)


@as_root
def test_a_link_that_is_swapped_during_requests(server: Server, tenant: Path) -> None:
    """Between his own file and somebody else's, as fast as can be: what comes is his own, or nothing."""
    link, aside = tenant / "swapped", tenant / "aside"
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for target in ("own.txt", "../theirs/theirs.txt"):
                aside.symlink_to(target)
                give(aside, "daemon")
                aside.rename(link)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        wait_for(lambda: os.path.lexists(link))
        found = {answer for _ in range(150) for answer in texts(server, "/swapped", "/sub/swapped")}
        assert found <= {"the tenant's", "404"}
    finally:
        is_over.set()
        thread.join()
        link.unlink()
        aside.unlink(missing_ok=True)


@as_root
def test_a_folder_that_is_made_later_is_served(server: Server, tenant: Path) -> None:
    server.site("later", directory=str(tenant.parent), static={"/later/": "later/deep"})
    wait_routed(server, "later")
    assert server.get("later", "/later/own.txt").status == 404
    folder = tenant.parent / "later/deep"
    folder.mkdir(parents=True)
    (folder / "own.txt").write_text("later")
    for path in (folder.parent, folder, folder / "own.txt"):
        give(path, "daemon")
    assert server.get("later", "/later/own.txt").text == "later"


@as_root
def test_roots_files_are_served_where_nobody_else_decides_what_they_are(make_server: MakeServer) -> None:
    server = make_server()
    server.write("roots/public/a.txt", "root's")
    (server.projects / "roots/link").symlink_to("public")
    server.site("roots", static={"/": "public", "/l/": "link", "/f.txt": "public/a.txt"})
    server.start()
    assert [server.get("roots", path).text for path in ("/a.txt", "/l/a.txt", "/f.txt")] == ["root's"] * 3
    (server.projects / "roots/public/passwd").symlink_to("/etc/passwd")
    assert server.get("roots", "/passwd").status == 404


@as_root
def test_a_file_that_the_front_may_not_read_is_not_there(server: Server, tenant: Path) -> None:
    (tenant / "own.txt").chmod(0o600)
    try:
        wait_for(lambda: texts(server, "/own.txt") == ["404"], "what the front knows of the file to be out of date")
    finally:
        (tenant / "own.txt").chmod(0o644)
