"""From what the sources say to what should be: which sites, with which domains. Pure.

The hard part is who gets a domain that two files name: the site that had it keeps it, a newcomer loses it with a
problem to show, and gets it at once when the owner lets go; only the operator's own sites take one from a tenant's. A site
whose file is broken keeps its last good version, a tenant's as long as it would still be allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hostel import mounts
from hostel.options.fields import OF_TENANT
from hostel.options.site import Problem, Site
from hostel.options.tenant import Tenant, objections


@dataclass(frozen=True, slots=True)
class SiteFile:
    """What a source says about one site: the site, or every problem of its description.

    ``tenant``: whose it is; None for the operator's.
    """

    name: str
    file: str
    site: Site | None
    problems: tuple[Problem, ...] = ()
    tenant: Tenant | None = None


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
        elif name in current.sites and _may_go_on(current.sites[name], file):
            wanted[name] = current.sites[name]
    operators = {domain for name, site in wanted.items() if OF_TENANT not in name for domain in site.domains}
    owners = {
        domain: owner
        for domain, owner in current.owners.items()
        if owner in wanted and domain in wanted[owner].domains and (OF_TENANT not in owner or domain not in operators)
    }
    for name, site in sorted(wanted.items(), key=lambda one: OF_TENANT in one[0]):
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


def _may_go_on(site: Site, file: SiteFile) -> bool:
    """Whether the last good version of a site may serve: a tenant's only if it would still be allowed."""
    if file.tenant is None:
        return OF_TENANT not in site.name
    return next(objections(site, file.tenant), None) is None


def difference(old: Plan, new: Plan) -> Changes:
    """What has to change to get from one plan to the other."""
    return Changes(
        removed=tuple(name for name in old.sites if name not in new.sites),
        changed=tuple(site for name, site in new.sites.items() if old.sites.get(name) != site),
    )
