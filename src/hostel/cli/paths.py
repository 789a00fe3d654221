"""What a PATH on the command line is: a folder of site files, one site file, or a project; and whether it can be run."""

from __future__ import annotations

import os
from collections.abc import Collection

from hostel.cli.output import say
from hostel.errors import UsageError
from hostel.options.check import check_site, identity_of
from hostel.options.detect import Detected, detect, is_project
from hostel.options.server import ServerOptions
from hostel.options.site import Site
from hostel.plan import SiteFile
from hostel.sandbox.identity import obstacle
from hostel.source.folder import SUFFIX, FolderSource, is_site_file
from hostel.source.project import ProjectSource, site_name


def is_folder_of_sites(path: str) -> bool:
    """Whether a path is a folder of site files: it has some, or is empty; a project is not, whatever else it has.

    Raises ``UsageError`` when it cannot be looked at.
    """
    if not os.path.isdir(path):
        return False
    try:
        names = [name for name in os.listdir(path) if not name.startswith(".")]
    except OSError as error:
        raise UsageError(f"cannot look into {path}: {error.strerror}", "see who may read it") from None
    if not any(map(is_site_file, names)):
        return not names
    return any(file.site for file in FolderSource(path).read().values()) or not is_project(path)


def read_project(path: str, domains: list[str], variables: dict[str, str], name: str = "") -> tuple[Detected, SiteFile]:
    """What a project is, and the site that serves it. Raises ``UsageError`` when there is none to be seen."""
    found = detect(path, variables)
    options = {**found.options, "env": {**found.options.get("env", {}), **variables}}
    (file,) = ProjectSource(path, options, domains, name).read().values()
    return Detected(found.kind, options, found.notes), file


def read_files(path: str, taken: Collection[str] = ()) -> list[SiteFile]:
    """The site files at a path, problems included: those of a folder, or the one; or the project as a site.

    The project's site gets a name that is not ``taken``. Raises ``UsageError`` when the path is none of these.
    """
    path = os.path.abspath(path)
    if path.endswith(SUFFIX) and not os.path.isdir(path):
        if not os.path.lexists(path):
            raise UsageError(f"cannot look at {path}: there is no such file", "check the path")
        if found := FolderSource(os.path.dirname(path)).refresh([path]):
            return list(found.values())
        raise UsageError(
            f"cannot look at {path}: that is no name of a site file", f"a site file is called NAME{SUFFIX}"
        )
    if is_folder_of_sites(path):
        return list(FolderSource(path).read().values())
    return [read_project(path, [], {}, unused_name(site_name(path), taken))[1]]


def look_at(site: Site, options: ServerOptions) -> None:
    """Say what will keep a site from working as its user, before anybody visits it."""
    problems = check_site(site, options)
    for problem in problems:
        say(f"  problem: {problem.reason}", fg="red" if problem.is_fatal else "yellow")
        if problem.remedy:
            say(f"    -> {problem.remedy}")
    if os.geteuid() != 0 or site.app is None or any(problem.is_fatal for problem in problems):
        return
    identity = identity_of(site, options)
    if obstacle(site.directory, identity, want=os.W_OK | os.X_OK):
        say(f"  note: it runs as user {identity.name}, who may not write into {site.directory} (SQLite files, uploads)")


def unused_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number if another site has it."""
    number = 1
    while (unused := name if number == 1 else f"{name[:44]}-{number}") in taken:
        number += 1
    return unused
