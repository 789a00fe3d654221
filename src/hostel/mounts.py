"""Which sites are mounted where: from what each file wishes to what is really done. Pure.

The hard part is that a mounted site brings along what it mounts itself. So the wishes are the arrows of a graph: those that
lead nowhere, to somebody who has not agreed, or in a circle are taken away, each with a problem for the site that wished
it, and what is left is unfolded into one flat list of paths for each site. Everything is bounded: a tenant writes the
wishes, and a few short files could unfold into millions of paths.
"""

from __future__ import annotations

from collections.abc import Mapping

from hostel.options.fields import MOUNT_PARTS
from hostel.options.site import MOST_MOUNTS, Problem, Site

Paths = tuple[tuple[str, str], ...]  # (path in URLs without the last slash, site)


def resolve(sites: Mapping[str, Site]) -> tuple[dict[str, Paths], dict[str, list[Problem]]]:
    """What is mounted in each site that mounts any, and what is wrong with their wishes."""
    problems: dict[str, list[Problem]] = {}

    def refuse(name: str, path: str, reason: str, remedy: str) -> None:
        problem = Problem(name, sites[name].file, f"mount.{path}", reason, remedy, is_fatal=False)
        problems.setdefault(name, []).append(problem)

    arrows: dict[str, Paths] = {}
    for name, site in sites.items():
        if site.mount:
            good = []
            for path, other in site.mount:
                if complaint := _objection(site, other, sites):
                    refuse(name, path, *complaint)
                else:
                    good.append((path, other))
            arrows[name] = tuple(good)
    circles = _circles(arrows)
    for name in circles:
        for path, other in arrows[name]:
            if other in circles:
                refuse(name, path, f"site {other} mounts this one in turn", "remove one of the two")
        arrows[name] = tuple((path, other) for path, other in arrows[name] if other not in circles)
    found: dict[str, Paths] = {}
    for name in arrows:
        found[name], complaints = _unfold(sites[name], arrows, sites)
        for path, reason, remedy in complaints:
            refuse(name, path, reason, remedy)
    return found, problems


def _objection(site: Site, other: str, sites: Mapping[str, Site]) -> tuple[str, str] | None:
    """Why a site cannot mount another, and what to do; None when it can."""
    if other == site.name:
        return "a site cannot be mounted in itself", "name another site"
    if other not in sites:
        return f"there is no site {other}", "make it, correct the name, or remove this line"
    if sites[other].user != site.user and site.name not in sites[other].mounted_by:
        remedy = f'if its owner agrees, its file says: mounted_by = ["{site.name}"]'
        return f"site {other} belongs to another user, and does not allow it", remedy
    return None


def _circles(arrows: Mapping[str, Paths]) -> set[str]:
    """The sites that lie on a circle of mounts, or between two of them."""
    left = set(arrows)
    while True:
        reached = {other for name in left for _, other in arrows[name]}
        inside = {name for name in left & reached if any(other in left for _, other in arrows[name])}
        if inside == left:
            return left
        left = inside


def _unfold(
    site: Site, arrows: Mapping[str, Paths], sites: Mapping[str, Site]
) -> tuple[Paths, list[tuple[str, str, str]]]:
    """All paths below a site with the sites there, nearest first: what a site says itself counts."""
    found: dict[str, str] = {}
    complaints: list[tuple[str, str, str]] = []
    level = [("", site.name)]
    while level:
        deeper = []
        for above, name in level:
            for below, other in arrows.get(name, ()):
                path = above + below
                if path in found:
                    continue
                if len(found) == MOST_MOUNTS:
                    reason = f"more than {MOST_MOUNTS} sites would be mounted, with those that they mount"
                    return tuple(found.items()), [*complaints, (path, reason, "mount fewer")]
                if path.count("/") > MOUNT_PARTS:
                    reason = f"site {name} mounts {other}, whose path would have more than {MOUNT_PARTS} parts here"
                    complaints.append((path, reason, "mount it at a shorter path"))
                elif above and (objection := _objection(site, other, sites)):
                    complaints.append((path, f"site {name} mounts it: {objection[0]}", objection[1]))
                else:
                    found[path] = other
                    deeper.append((path, other))
        level = deeper
    return tuple(found.items()), complaints
