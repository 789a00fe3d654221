"""From site files to what should be: who gets which domain, what a broken file means, what changes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hostel.options.site import Problem, Site
from hostel.plan import Changes, Plan, SiteFile, difference, make_plan
from tests.playbook.story import make_site


def site(name: str, *domains: str, app: str = "app:application") -> Site:
    return replace(make_site(app=app, domains=domains), name=name, file=f"/sites/{name}.toml")


def file(wanted: Site) -> SiteFile:
    return SiteFile(wanted.name, wanted.file, wanted)


def broken(name: str) -> SiteFile:
    path = f"/sites/{name}.toml"
    return SiteFile(name, path, None, (Problem(name, path, "line 1", "not TOML"),))


def plan(current: Plan, *files: SiteFile) -> Plan:
    return make_plan({file.name: file for file in files}, current)


def test_sites_get_the_domains_they_name() -> None:
    result = plan(Plan(), file(site("a", "a.example", "www.a.example")), file(site("b", "b.example")))
    assert result.owners == {"a.example": "a", "www.a.example": "a", "b.example": "b"}
    assert result.sites["a"].domains == ("a.example", "www.a.example")
    assert result.problems == {}


def test_the_first_owner_keeps_a_domain_and_the_other_is_told() -> None:
    first = plan(Plan(), file(site("zoo", "shop.example")))
    both = plan(first, file(site("zoo", "shop.example")), file(site("ant", "ant.example", "shop.example")))
    assert both.owners["shop.example"] == "zoo"
    assert both.sites["ant"].domains == ("ant.example",)
    (problem,) = both.problems["ant"]
    assert "shop.example belongs to site zoo" in problem.reason
    assert not problem.is_fatal
    assert "zoo" not in both.problems


def test_a_domain_goes_to_the_other_when_its_owner_lets_go() -> None:
    ant = file(site("ant", "ant.example", "shop.example"))
    both = plan(plan(Plan(), file(site("zoo", "shop.example"))), file(site("zoo", "shop.example")), ant)
    after_change = plan(both, file(site("zoo", "zoo.example")), ant)
    assert after_change.owners["shop.example"] == "ant"
    assert after_change.sites["ant"].domains == ("ant.example", "shop.example")
    assert after_change.problems == {}
    after_removal = plan(both, ant)
    assert after_removal.owners == {"ant.example": "ant", "shop.example": "ant"}


def test_of_two_newcomers_the_first_by_name_gets_the_domain() -> None:
    files = [file(site("b", "x.example")), file(site("a", "x.example"))]
    assert plan(Plan(), *files).owners == plan(Plan(), *reversed(files)).owners == {"x.example": "a"}


def test_a_broken_file_leaves_the_last_good_version() -> None:
    good = plan(Plan(), file(site("a", "a.example")))
    result = plan(good, broken("a"))
    assert result.sites == good.sites
    assert result.owners == good.owners
    assert [problem.reason for problem in result.problems["a"]] == ["not TOML"]
    assert plan(result, broken("a")).sites == good.sites
    assert plan(result).sites == {}, "a file that is gone is not broken"


def test_a_file_that_was_never_good_is_no_site() -> None:
    result = plan(Plan(), broken("a"))
    assert result.sites == {}
    assert set(result.problems) == {"a"}


def test_a_site_may_have_problems_and_run() -> None:
    warning = Problem("a", "/sites/a.toml", "domains", "a warning", is_fatal=False)
    wanted = site("a", "a.example")
    result = plan(Plan(), replace(file(wanted), problems=(warning,)))
    assert result.sites == {"a": wanted}
    assert result.problems == {"a": (warning,)}


def test_a_site_that_loses_all_its_domains_is_still_there() -> None:
    first = plan(Plan(), file(site("a", "x.example")))
    both = plan(first, file(site("a", "x.example")), file(site("b", "x.example")))
    assert both.sites["b"].domains == ()


def test_the_difference_names_what_goes_and_what_is_new_or_differs() -> None:
    a, b, c = site("a", "a.example"), site("b", "b.example"), site("c", "c.example")
    old = plan(Plan(), file(a), file(b))
    changed = site("b", "b.example", app="other:application")
    new = plan(old, file(changed), file(c))
    assert difference(old, new) == Changes(removed=("a",), changed=(changed, c))
    assert difference(new, new) == Changes((), ())


def test_who_gets_a_domain_changes_both_sites() -> None:
    old = plan(Plan(), file(site("a", "x.example")), file(site("b", "b.example", "x.example")))
    new = plan(old, file(site("a", "a.example")), file(site("b", "b.example", "x.example")))
    assert {changed.name for changed in difference(old, new).changed} == {"a", "b"}


NAMES = st.sampled_from("abcd")
DOMAINS = st.lists(st.sampled_from(["p.example", "q.example", "r.example", "*"]), unique=True, max_size=4).map(tuple)
FILES = st.dictionaries(NAMES, st.none() | DOMAINS)  # None: the file is broken


@given(st.lists(FILES, max_size=6))
def test_through_any_history_owners_are_unique_and_nobody_loses_what_he_has_and_wants(
    history: list[dict[str, tuple[str, ...] | None]],
) -> None:
    current = Plan()
    for state in history:
        files = [broken(name) if domains is None else file(site(name, *domains)) for name, domains in state.items()]
        result = plan(current, *files)
        # The owners are exactly what the sites have, so no domain is had twice.
        assert sum(len(one.domains) for one in result.sites.values()) == len(result.owners)
        assert {domain: one.name for one in result.sites.values() for domain in one.domains} == result.owners
        for domain, owner in current.owners.items():
            domains = state.get(owner, ())
            if domains is None or domain in domains:
                assert result.owners[domain] == owner
        for name, domains in state.items():
            for domain in domains or ():
                assert domain in result.owners, "somebody who wants a domain has it"
                if result.owners[domain] != name:
                    assert any(domain in problem.reason for problem in result.problems[name])
            if domains is None:
                assert (name in result.sites) is (name in current.sites)
                assert result.problems[name]
        # Nothing new is known: nothing changes.
        again = plan(result, *files)
        assert difference(result, again) == Changes((), ())
        assert again == result
        current = result


def test_the_minima_of_sites_with_an_application_add_up() -> None:
    sites = {"a": make_site(min=2), "b": make_site(min=3), "c": make_site(app=None, min=4)}
    assert Plan(sites=sites).minimum == 5
