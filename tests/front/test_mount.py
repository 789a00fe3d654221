"""Other sites under paths of one: who answers, what it is told of where it is, and what is its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hostel.options.fields import MOUNT_PARTS
from tests.front.applications import ECHO, ECHO_ASGI, wait_routed, within_a_second
from tests.support.server import Server, wait_for

FILES = {"/static/": "files", "/": "root"}


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    """A portal with a shop that has an administration of its own, an ASGI site, and files alone."""
    for name in ("portal", "shop", "pages"):
        for folder in ("files", "root/folder", "root/shop"):
            (front_server.projects / name / folder).mkdir(parents=True, exist_ok=True)
        front_server.write(f"{name}/files/name.txt", name)
        front_server.write(f"{name}/root/folder/index.html", f"index of {name}")
        front_server.write(f"{name}/root/shop/hidden.txt", f"hidden by {name}")
    mount = {"/shop": "shop", "/shop/live/now": "live", "/café au lait": "shop", "/pages": "pages", "/+x": "live"}
    front_server.site("portal", ECHO, env={"SITE": "portal"}, static=FILES, mount=mount)
    front_server.site("shop", ECHO, env={"SITE": "shop"}, static=FILES, mount={"/admin": "admin", "/live": "admin"})
    front_server.site("admin", ECHO, env={"SITE": "admin"})
    front_server.site("live", ECHO_ASGI, env={"SITE": "live"})
    front_server.site("pages", static={"/": "root", "/static": "files"})
    wait_routed(front_server, "portal", "shop", "admin", "live", "pages")
    wait_for(lambda: (front_server.run_dir / "sites/portal/paths/mount/shop/admin/+").exists(), "the mounts")
    return front_server


def ask(server: Server, target: str, *lines: str, host: str = "portal.localhost") -> dict[str, Any]:
    head = "\r\n".join((f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines, "", ""))
    head, _, body = server.raw(head.encode()).decode().partition("\r\n\r\n")
    if "application/json" not in head:
        return {"status": int(head.split()[1]), "text": body, "head": head}
    return json.loads(body)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("target", "site", "script_name", "path_info"),
    [
        ("/", "portal", "", "/"),
        ("/shopping", "portal", "", "/shopping"),
        ("/shop.html", "portal", "", "/shop.html"),
        ("/other/shop/x", "portal", "", "/other/shop/x"),
        ("//shop/x", "portal", "", "//shop/x"),
        ("/Shop/x", "portal", "", "/Shop/x"),
        ("/shop", "shop", "/shop", ""),
        ("/shop?a=/b", "shop", "/shop", ""),
        ("/shop/", "shop", "/shop", "/"),
        ("/shop/a/b", "shop", "/shop", "/a/b"),
        ("/shop//a//b/", "shop", "/shop", "//a//b/"),
        ("/sh%6fp/%61%20b", "shop", "/shop", "/a b"),
        ("/shop%2Fa", "shop", "/shop", "/a"),
        ("/shop/%0a//shop/x", "shop", "/shop", "/\n//shop/x"),
        ("/x/../shop/./a", "shop", "/shop", "/a"),
        ("/shop/../x", "portal", "", "/x"),
        ("/shop/..%2fx", "portal", "", "/x"),
        ("/caf%C3%A9%20au%20lait/x", "shop", "/caf\xc3\xa9 au lait", "/x"),
        ("/shop/admin", "admin", "/shop/admin", ""),
        ("/shop/admin/x", "admin", "/shop/admin", "/x"),
        ("/shop/administer", "shop", "/shop", "/administer"),
        ("/shop/live", "admin", "/shop/live", ""),
        ("/shop/live/later", "admin", "/shop/live", "/later"),
        ("/shop/+/x", "shop", "/shop", "/+/x"),
        ("/+/x", "portal", "", "/+/x"),
        ("/shop/+/mount/admin/+/x", "shop", "/shop", "/+/mount/admin/+/x"),
        ("/shop/paths/mount/x", "shop", "/shop", "/paths/mount/x"),
    ],
)
def test_the_longest_path_counts(server: Server, target: str, site: str, script_name: str, path_info: str) -> None:
    seen = ask(server, target)
    assert (seen["SITE"], seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (site, script_name, path_info)
    assert (seen["REQUEST_URI"], seen["HTTP_HOST"]) == (target, "portal.localhost")
    assert seen["QUERY_STRING"] == target.partition("?")[2]


@pytest.mark.parametrize(
    ("target", "root_path", "path"),
    [
        ("/shop/live/now", "/shop/live/now", "/shop/live/now"),
        ("/shop/live/now/%61%20b?c", "/shop/live/now", "/shop/live/now/a b"),
        ("/%2Bx/y", "/+x", "/+x/y"),
    ],
)
def test_an_asgi_site_is_told_its_root_path(server: Server, target: str, root_path: str, path: str) -> None:
    for _ in range(2):  # by the way of the first request, and by that of the others
        seen = ask(server, target, "X-Hostel-Mount: /from-the-client")
        assert (seen["SITE"], seen["root_path"], seen["path"]) == ("live", root_path, path)
        assert "x-hostel-mount" not in dict(seen["headers"])
    seen = ask(server, "/x", "X-Hostel-Mount: /x", host="live.localhost")
    assert (seen["root_path"], seen["path"]) == ("", "/x")


def test_a_mounted_site_has_its_own_names_too(server: Server) -> None:
    assert ask(server, "/shop/x", host="shop.localhost")["PATH_INFO"] == "/shop/x"
    seen = ask(server, "/admin/x", host="shop.localhost")
    assert (seen["SITE"], seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("admin", "/admin", "/x")


def test_nobody_is_told_of_a_mount_by_a_client(server: Server) -> None:
    for target, mounted in (("/", ""), ("/shop/", "/shop")):
        seen = ask(server, target, "X-Hostel-Mount: /x", "Script-Name: /x", "X-Script-Name: /x")
        assert (seen["SCRIPT_NAME"], "HTTP_X_HOSTEL_MOUNT" in seen) == (mounted, False)


def test_files_of_a_mounted_site(server: Server) -> None:
    assert ask(server, "/static/name.txt")["text"].strip() == "portal"
    assert ask(server, "/shop/static/name.txt")["text"].strip() == "shop"
    assert ask(server, "/shop/folder/")["text"].strip() == "index of shop"
    assert ask(server, "/pages/static/name.txt")["text"].strip() == "pages"
    for target, there in (("/pages", "/pages/"), ("/pages/folder?a", "/pages/folder/?a")):
        if target == "/pages":
            server.write("pages/root/index.html", "pages")
        found = ask(server, target)
        assert (found["status"], f"Location: {there}\r\n" in found["head"] + "\r\n") == (301, True)
    assert ask(server, "/pages/none")["status"] == 404
    # What the portal has in a folder of that name belongs to nobody now.
    assert ask(server, "/shop/hidden.txt")["SITE"] == "shop"


def test_a_mounted_site_has_its_own_log_and_its_own_closed_door(server: Server) -> None:
    ask(server, "/shop/told-in-the-log")
    wait_for(lambda: "told-in-the-log" in server.log("shop", "access.log"), "the line")
    assert "told-in-the-log" not in server.log("portal", "access.log")
    server.run("stop", "shop")
    try:
        assert ask(server, "/shop/")["status"] == 503
        assert ask(server, "/shop/admin/")["SITE"] == "admin"
        assert ask(server, "/")["SITE"] == "portal"
    finally:
        server.run("start", "shop")
    server.site("admin", ECHO, env={"SITE": "admin"}, workers={"idle": "100ms"})
    server.wait_state("admin", "cold")
    assert ask(server, "/shop/admin/x")["PATH_INFO"] == "/x"  # it was woken


def test_mounts_come_change_and_go(server: Server) -> None:
    def site_at(target: str) -> Any:
        return ask(server, target, host="changing.localhost").get("SITE")

    server.site("changing", ECHO, env={"SITE": "changing"})
    within_a_second(lambda: site_at("/a/x") == "changing", "the site")
    server.site("changing", ECHO, env={"SITE": "changing"}, mount={"/a": "admin"})
    within_a_second(lambda: site_at("/a/x") == "admin", "the mount")
    server.site(
        "changing",
        ECHO,
        env={"SITE": "changing"},
        mount={"/a/b": "shop"},
        domains=["changing.localhost", "*.ch.example"],
    )
    within_a_second(lambda: site_at("/a/b/x") == "shop" and site_at("/a/x") == "changing", "another mount")
    within_a_second(lambda: ask(server, "/a/b", host="any.ch.example").get("SITE") == "shop", "its other name")
    server.site("changing", mount={"/a": "admin"})  # nothing but others
    within_a_second(lambda: site_at("/a/x") == "admin" and site_at("/") is None, "a site of mounts alone")
    server.site("changing", ECHO, env={"SITE": "changing"}, mount={"/a": "away", "/b": "changing"})
    within_a_second(lambda: site_at("/a/x") == "changing", "the mount to go")
    assert not (server.run_dir / "sites/changing/paths").is_symlink()
    problems = {problem["where"]: problem["reason"] for problem in server.view("changing")["problems"]}
    assert problems == {
        "mount./a": "there is no site away", "mount./b": "a site cannot be mounted in itself",
    }  # fmt: skip
    server.site("away", ECHO, env={"SITE": "away"})
    within_a_second(lambda: site_at("/a/x") == "away", "the site that was missing")
    (server.sites / "away.toml").unlink()
    within_a_second(lambda: site_at("/a/x") == "changing", "the site to be gone again")


def test_the_front_tries_as_many_parts_as_the_option_allows(server: Server) -> None:
    deepest = "/p" * MOUNT_PARTS
    server.site("deep", ECHO, env={"SITE": "deep"}, mount={deepest: "admin"})
    within_a_second(lambda: ask(server, f"{deepest}/x", host="deep.localhost").get("SITE") == "admin", "the mount")


@pytest.mark.parametrize(
    ("name", "code", "path"), [("heavy", ECHO, "environ['PATH_INFO']"), ("heavy-async", ECHO_ASGI, "scope['path']")]
)
def test_the_longest_way_through_the_front(server: Server, name: str, code: str, path: str) -> None:
    """nginx goes from place to place ten times at most for one request: a mounted site with limits and a cache, not started."""
    code = code.replace(
        "        seen =", f"        if {path}.endswith('/die'):\n            os._exit(1)\n        seen =", 1
    )
    server.site(
        name, code, env={"SITE": name}, limits={"rate": 100, "body": "1M", "connections": 10}, cache={"on": True},
        static={"/static/": "."},
    )  # fmt: skip
    server.site("outer", mount={"/a/b/c/d": name}, domains=["*.outer.example", "outer.localhost"])
    host = "x.y.outer.example"
    within_a_second(lambda: ask(server, "/a/b/c/d/x", host=host).get("SITE") == name, "the first answer")
    for _ in range(2):
        assert ask(server, "/a/b/c/d/x", host=host)["SITE"] == name
    assert ask(server, "/a/b/c/d/static/app.py", host=host)["status"] == 200
    assert ask(server, "/a/b/c/d/die", host=host)["status"] == 502
    server.wait_state(name, "serving", "cold")
    server.run("stop", name)
    assert ask(server, "/a/b/c/d/x", host=host)["status"] == 503
    assert ask(server, "/elsewhere", host=host)["status"] == 404
    server.run("start", name)
    (server.sites / f"{name}.toml").unlink()
