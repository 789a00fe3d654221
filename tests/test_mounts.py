"""Which mounts are done, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace

from hostel.mounts import resolve
from hostel.options.fields import MOUNT_PARTS
from hostel.options.site import MOST_MOUNTS, Site
from hostel.plan import Plan, SiteFile, difference, make_plan
from tests.playbook.story import make_site


def site(name: str, mount: dict[str, str] | None = None, user: str | None = None, by: tuple[str, ...] = ()) -> Site:
    wishes = tuple(sorted((mount or {}).items()))
    return replace(make_site(), name=name, file=f"/sites/{name}.toml", mount=wishes, user=user, mounted_by=by)


def look(*sites: Site) -> tuple[dict[str, dict[str, str]], dict[str, list[tuple[str, str]]]]:
    found, problems = resolve({one.name: one for one in sites})
    for name, complaints in problems.items():
        assert all(problem.site == name and problem.remedy and not problem.is_fatal for problem in complaints)
    told = {name: [(problem.where, problem.reason) for problem in one] for name, one in problems.items()}
    return {name: dict(paths) for name, paths in found.items() if paths}, told


def test_what_a_mounted_site_mounts_comes_along() -> None:
    sites = site("a", {"/b": "b"}), site("b", {"/c": "c", "/d": "d"}), site("c", {"/e": "d"}), site("d")
    found, problems = look(*sites)
    assert found["a"] == {"/b": "b", "/b/c": "c", "/b/d": "d", "/b/c/e": "d"}
    assert found["b"] == {"/c": "c", "/d": "d", "/c/e": "d"}
    assert problems == {}


def test_what_a_site_says_itself_counts() -> None:
    found, _ = look(site("a", {"/b": "b", "/b/c": "d"}), site("b", {"/c": "c"}), site("c"), site("d"))
    assert found["a"] == {"/b": "b", "/b/c": "d"}


def test_missing_itself_and_in_a_circle() -> None:
    sites = (
        site("a", {"/a": "a", "/none": "none", "/b": "b", "/e": "e"}), site("b", {"/c": "c"}), site("c", {"/a": "a", "/d": "d"}),
        site("d"), site("e"), site("f", {"/a": "a"}),
    )  # fmt: skip
    found, problems = look(*sites)
    assert found == {"a": {"/e": "e"}, "c": {"/d": "d"}, "f": {"/a": "a", "/a/e": "e"}}
    assert problems == {
        "a": [
            ("mount./a", "a site cannot be mounted in itself"),
            ("mount./none", "there is no site none"),
            ("mount./b", "site b mounts this one in turn"),
        ],
        "b": [("mount./c", "site c mounts this one in turn")],
        "c": [("mount./a", "site a mounts this one in turn")],
    }


def test_a_site_of_another_user_has_to_allow_it() -> None:
    sites = (
        site("a", {"/b": "b", "/c": "c"}, "ada"), site("b", {"/d": "d"}, "bob", ("a",)), site("c", user="bob"),
        site("d", user="bob"),
    )  # fmt: skip
    found, problems = look(*sites)
    assert found == {"a": {"/b": "b"}, "b": {"/d": "d"}}
    assert problems["a"] == [
        ("mount./c", "site c belongs to another user, and does not allow it"),
        ("mount./b/d", "site b mounts it: site d belongs to another user, and does not allow it"),
    ]


def test_short_files_do_not_unfold_into_millions_of_paths() -> None:
    many = {f"/{number}": "b" for number in range(MOST_MOUNTS + 1)}
    found, problems = look(site("a", many), site("b"))
    assert len(found["a"]) == MOST_MOUNTS
    assert f"more than {MOST_MOUNTS}" in problems["a"][0][1]
    chain = [site(f"s{n}", {f"/{m}": f"s{n + 1}" for m in range(50)}) for n in range(10)]
    found, _ = look(*chain, site("s10"))
    assert all(len(paths) <= MOST_MOUNTS for paths in found.values())


def test_a_path_of_too_many_parts_is_told() -> None:
    found, problems = look(site("a", {"/x" * MOUNT_PARTS: "b"}), site("b", {"/c": "c"}), site("c"))
    assert found["a"] == {"/x" * MOUNT_PARTS: "b"}
    assert problems["a"][0][1].endswith(f"more than {MOUNT_PARTS} parts here")


def test_a_site_that_comes_changes_those_that_mount_it() -> None:
    files = {one.name: SiteFile(one.name, one.file, one) for one in (site("a", {"/b": "b"}), site("b"))}
    alone = make_plan({"a": files["a"]}, Plan())
    assert alone.sites["a"].paths == ()
    both = make_plan(files, alone)
    assert both.sites["a"].paths == (("/b", "b"),)
    assert {changed.name for changed in difference(alone, both).changed} == {"a", "b"}
    assert make_plan({"a": files["a"]}, both).sites["a"].paths == ()
    broken = make_plan({**files, "a": SiteFile("a", "/sites/a.toml", None)}, both)
    assert broken.sites["a"].paths == (("/b", "b"),)
