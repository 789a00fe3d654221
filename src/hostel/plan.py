"""From what the sources say to what should be: which sites, with which domains. Pure.

The hard part is who gets a domain that two files name: the site that had it keeps it, a newcomer loses it with a
problem to show, and gets it at once when the owner lets go. A site whose file is broken keeps its last good version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hostel import mounts
from hostel.options.site import Problem, Site


@dataclass(frozen=True, slots=True)
class SiteFile:
    """What a source says about one site: the site, or every problem of its description."""

    name: str
    file: str
    site: Site | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be: sites by name (their domains are those that they really get), and what is wrong."""

    sites: Mapping[str, Site] = field(default_factory=dict)
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)  # domain -> site

    @property
    def minimum(self) -> int:
        """How many workers run always: what ``workers.min`` of all sites adds up to."""
        return sum(site.workers.min for site in self.sites.values() if site.app is not None)


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between two plans: names of sites that go, and sites that are new or differ."""

    removed: tuple[str, ...]
    changed: tuple[Site, ...]


def make_plan(files: Mapping[str, SiteFile], current: Plan) -> Plan:
    """The plan for these files, given the plan that holds now."""
    wanted: dict[str, Site] = {}
    problems: dict[str, tuple[Problem, ...]] = {}
    for name, file in sorted(files.items()):
        if file.problems:
            problems[name] = file.problems
        if file.site is not None:
            wanted[name] = file.site
        elif name in current.sites:
            wanted[name] = current.sites[name]
    owners = {
        domain: owner for domain, owner in current.owners.items() if owner in wanted and domain in wanted[owner].domains
    }
    for name, site in wanted.items():
        for domain in site.domains:
            owners.setdefault(domain, name)
    paths, complaints = mounts.resolve(wanted)
    for name, found in complaints.items():
        problems[name] = (*problems.get(name, ()), *found)
    sites: dict[str, Site] = {}
    for name, site in wanted.items():
        if paths.get(name, ()) != site.paths:
            site = replace(site, paths=paths.get(name, ()))
        lost = [domain for domain in site.domains if owners[domain] != name]
        if lost:
            problems[name] = problems.get(name, ()) + tuple(
                Problem(name, site.file, "domains", f"{domain} belongs to site {owners[domain]}",
                        "remove it from one of the two files", is_fatal=False)
                for domain in lost
            )  # fmt: skip
            site = replace(site, domains=tuple(domain for domain in site.domains if owners[domain] == name))
        sites[name] = site
    return Plan(sites, problems, owners)


def difference(old: Plan, new: Plan) -> Changes:
    """What has to change to get from one plan to the other."""
    return Changes(
        removed=tuple(name for name in old.sites if name not in new.sites),
        changed=tuple(site for name, site in new.sites.items() if old.sites.get(name) != site),
    )
