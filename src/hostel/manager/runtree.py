"""The run tree: the folder of sockets and links that is the routing table of the front.

    sites/<site>/app.sock            the listening socket
    sites/<site>/log -> ...          the folder of the site's logs
    sites/<site>/www -> files.<n>    mappings, a link for each: usual/<path> when all paths have one part, as /static/;
                                     whole when the only one is "/"; else more, and <parts>/<path> by the number of parts;
                                     private/<parts>/<path>, errors/<status>.html
    sites/<site>/plain -> .          there is nothing of the following, nor mappings around others: the front need not look
    sites/<site>/asgi                the site takes HTTP, at sites/<site>/http.sock
    sites/<site>/static              the site has no application
    sites/<site>/values -> spelled/* values that the front has to know, spelled in the name of a folder (front.values)
    sites/<site>/closed.html         the front answers 503 with it, or for programs with closed.json
    sites/<site>/stopped             that is not for a failure: nothing is to be shown from the cache either
    sites/<site>/paths -> paths.<n>  other sites are mounted: mount/+ is the site itself, mount/<path>/+ another
    sites/<site>/redirect -> redirect.<n>  it is for HTTPS only
    sites/<site>/tls -> .            where requests by HTTPS come in, also in paths/ and redirect/
    sites/<site>/hsts -> hsts-for/*  for how many seconds browsers are to come by HTTPS; "+": by all names below, too
    hosts/<domain> -> ../sites/<site>[/paths or /redirect], wild/<domain> (for *.<domain>), default
    tls/                             certificates: see manager.tlstree
    acme/                            proofs for who gives out certificates

Every change is one rename of a link, or one name that appears or vanishes, so the front sees the old or the new and
nothing between. All paths are relative: the manager works in the run directory, as the front does.

The hard part is who owns what. Only the front and root may enter a site's folder, which is what keeps one tenant from
another's socket; tenants can neither list nor change anything here. And a static mapping is a link to a place that a tenant
may exchange for a link to somebody else's files: see ``owner_of_way``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hostel.front.pages import BY_KIND, PAUSES, Document
from hostel.front.store import UNKEPT

FOLDERS = ("sites", "hosts", "wild", "acme")
WRITABLE = ("tmp", UNKEPT)  # for the front
UNUSUAL = ("asgi", "static", "values", "closed.html", "www/whole", "www/more")
LONE_LAYERS = {1: "usual", 0: "whole"}  # for a site whose paths in URLs have all so many parts
MOST_STEPS = 1000  # of a path: links may lead in circles


@dataclass(frozen=True, slots=True)
class Entry:
    """How requests for a site come in, if not straight: other sites under its paths, HTTPS only, and ``hsts`` as spelled."""

    paths: Sequence[tuple[str, str]] = ()
    is_redirected: bool = False
    hsts: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """What of the file system the front serves for a site: by path in URLs, and by status."""

    static: tuple[tuple[str, str], ...] = ()
    private: tuple[tuple[str, str], ...] = ()
    errors: tuple[tuple[str, str], ...] = ()


NO_FILES = Files()


class RunTree:
    """Owns the content of the current working directory. ``front_group`` is the gid of the front, None unprivileged."""

    def __init__(self, front_group: int | None) -> None:
        self.front_group = front_group
        self.owners: Mapping[str, str] = {}  # which site is to have which domain
        self._entries: dict[str, str] = {}  # where in their folders requests for sites come in, if not at the top
        self._count = 0

    def prepare(self) -> None:
        """Make the folders that have to be there."""
        for name in FOLDERS:
            os.makedirs(name, mode=0o711, exist_ok=True)
        for name in WRITABLE:
            os.makedirs(name, mode=0o770, exist_ok=True)
        if self.front_group is not None:
            for name in WRITABLE:
                os.chown(name, 0, self.front_group)
                os.chmod(name, 0o770)
            os.chown("sites", 0, self.front_group)
            os.chmod("sites", 0o2711)  # what is made in it has the front's group

    def known_sites(self) -> list[str]:
        """The sites that an earlier manager left in the tree."""
        return os.listdir("sites")

    def open_site(self, name: str) -> bool:
        """Make a site's folder; nothing is routed to it yet. Whether it was not there."""
        try:
            os.mkdir(f"sites/{name}", 0o750)
        except FileExistsError:
            return False
        os.symlink(".", f"sites/{name}/plain")
        os.symlink(".", f"sites/{name}/tls")
        return True

    def mend_site(self, name: str) -> None:
        """Make a site's folder, or what is missing of it."""
        self.open_site(name)
        with contextlib.suppress(FileExistsError):
            os.symlink(".", f"sites/{name}/tls")
        self._settle(name)

    def link_log(self, name: str, folder: str) -> None:
        """Tell the front where a site's logs are."""
        self._link(folder, f"sites/{name}/log")

    # --- static files -----------------------------------------------------------------------------------------------

    def publish_files(self, name: str, files: Files) -> None:
        """Map paths in URLs, and statuses, to paths of the file system, all at once."""
        folder = f"sites/{name}"
        if files == NO_FILES and not self._remove(f"{folder}/www"):
            return
        old = [entry for entry in os.listdir(folder) if entry.startswith("files.")]
        if files != NO_FILES:
            new = self._unused("files")
            depths = {prefix.count("/") for prefix, _ in files.static}
            lone = LONE_LAYERS.get(depths.pop(), "") if len(depths) == 1 else ""
            if files.static and lone != "usual":
                self._remove(f"{folder}/plain")
            if files.static and not lone:
                os.makedirs(f"{folder}/{new}/more")
            for prefix, path in files.static:
                self._map(
                    path, f"{folder}/{new}/{lone or prefix.count('/')}{prefix}"
                )  # a mapping of "/" is the layer itself
            for prefix, path in files.private:
                self._map(path, f"{folder}/{new}/private/{prefix.count('/')}{prefix}")
            for status, path in files.errors:
                self._map(path, f"{folder}/{new}/errors/{status}.html")
            self._link(new, f"{folder}/www")
        self._settle(name)
        for entry in old:
            shutil.rmtree(f"{folder}/{entry}", ignore_errors=True)

    def _map(self, path: str, link: str) -> None:
        os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
        os.symlink(path, link)
        if self.front_group is not None:
            os.lchown(link, owner_of_way(path), self.front_group)

    # --- values -----------------------------------------------------------------------------------------------------

    def publish_values(self, name: str, spelled: str) -> None:
        """Tell the front a site's values, all at once; an empty text when there are none."""
        folder = f"sites/{name}/spelled"
        old = self.values(name)
        if spelled == old:
            return
        if not spelled:
            self.unmark(name, "values")
        else:
            os.makedirs(f"{folder}/{spelled}", mode=0o750, exist_ok=True)
            self._link(f"spelled/{spelled}", f"sites/{name}/values")
            self._remove(f"sites/{name}/plain")
        with contextlib.suppress(FileNotFoundError):
            for entry in set(os.listdir(folder)) - {spelled, old}:  # the front may still be on its way to the last one
                os.rmdir(f"{folder}/{entry}")

    def values(self, name: str) -> str:
        """What has been spelled for the front; empty when nothing has."""
        try:
            return os.path.basename(os.readlink(f"sites/{name}/values"))
        except FileNotFoundError:
            return ""

    # --- routes -----------------------------------------------------------------------------------------------------

    def publish_entry(self, name: str, entry: Entry, domains: Sequence[str]) -> None:
        """Have requests for a site that has these domains already come in by ``entry``, all at once."""
        folder = f"sites/{name}"
        old = [one for one in os.listdir(folder) if one.startswith(("paths.", "redirect."))]
        with contextlib.suppress(FileExistsError):
            os.symlink(".", f"{folder}/tls")
        if entry.hsts:
            os.makedirs(f"{folder}/hsts-for/{entry.hsts}", mode=0o750, exist_ok=True)
            self._link(f"hsts-for/{entry.hsts}", f"{folder}/hsts")
        where = ""
        if entry.paths:
            where = "/paths"
            new = self._unused("paths")
            for path, other in [("", name), *entry.paths]:
                above = f"{folder}/{new}/mount{path}"
                os.makedirs(above, mode=0o755, exist_ok=True)
                os.symlink(f"{'../' * (above.count('/') + 1)}sites/{other}", f"{above}/+")
            os.symlink(".", f"{folder}/{new}/tls")
            os.symlink("../hsts", f"{folder}/{new}/hsts")
            self._link(new, f"{folder}/paths")
        if entry.is_redirected:
            new = self._unused("redirect")
            os.makedirs(f"{folder}/{new}/mount", mode=0o755)
            self._write(f"{folder}/{new}/https", "")
            os.symlink("../log", f"{folder}/{new}/log")
            os.symlink(f"..{where}", f"{folder}/{new}/tls")
            self._link(new, f"{folder}/redirect")
            where = "/redirect"
        self._entries[name] = where
        for domain in domains:
            self.route(domain, name)
        for link, is_used in (("paths", entry.paths), ("redirect", entry.is_redirected), ("hsts", entry.hsts)):
            if not is_used:
                self._remove(f"{folder}/{link}")
        for one in old:
            shutil.rmtree(f"{folder}/{one}", ignore_errors=True)

    def route(self, domain: str, name: str) -> None:
        """Send requests for a domain to a site, whoever had it before."""
        path, back = place_of(domain)
        target = f"{back}sites/{name}{self._entries.get(name, '')}"
        with contextlib.suppress(OSError):
            if os.readlink(path) == target:  # an earlier manager's work
                return
        self._link(target, path)

    def unroute(self, domain: str, name: str) -> None:
        """Take a domain from a site, if it still has it; one that is to have another site is about to be routed there."""
        if self.owners.get(domain, name) != name:
            return
        path, _ = place_of(domain)
        with contextlib.suppress(OSError):
            if site_of(os.readlink(path)) == name:
                os.unlink(path)

    def routes(self) -> dict[str, str]:
        """All domains with their sites, as the tree has them."""
        found = {}
        for folder, prefix in (("hosts", ""), ("wild", "*.")):
            for domain in os.listdir(folder):
                with contextlib.suppress(OSError):
                    found[prefix + domain] = site_of(os.readlink(f"{folder}/{domain}"))
        with contextlib.suppress(OSError):
            found["*"] = site_of(os.readlink("default"))
        return found

    def has(self, name: str, entries: Sequence[str], domains: Sequence[str]) -> bool:
        """Whether a site's folder has these entries, and its domains lead there, those that no other site is to have."""
        if not all(os.path.lexists(f"sites/{name}/{entry}") for entry in entries):
            return False
        for domain in domains:
            if self.owners.get(domain, name) == name:
                try:
                    if site_of(os.readlink(place_of(domain)[0])) != name:
                        return False
                except OSError:
                    return False
        return True

    # --- marks ------------------------------------------------------------------------------------------------------

    def expect_late(self, name: str) -> None:
        """A connection to the site that ends without an answer has waited for too long: the front says so."""
        self._write(f"sites/{name}/late", "")

    def expect_nothing(self, name: str) -> None:
        """Such a connection is the application's failure, as usual."""
        self._remove(f"sites/{name}/late")

    def close_door(self, name: str, page: Document, pause: float = 0.0, *, is_stopped: bool = False) -> None:
        """Let the front answer 503 with ``page`` for everything that is not a static file.

        ``pause``: seconds after which it is worth asking again. The front knows some, by a mark for each. Of a site that has
        not been stopped, what the front has kept of its answers is shown.
        """
        for each in PAUSES:
            self._remove(f"sites/{name}/pause.{each}")
        if pause > BY_KIND["closed"].retry:
            self._write(f"sites/{name}/pause.{next((each for each in PAUSES if each >= pause), PAUSES[-1])}", "")
        if is_stopped:
            self._write(f"sites/{name}/stopped", "")
        else:
            self._remove(f"sites/{name}/stopped")
        self._write(f"sites/{name}/closed.json", page.json)
        self.mark(name, "closed.html", page.html)

    def is_door_closed(self, name: str) -> bool:
        return os.path.lexists(f"sites/{name}/closed.html")

    def open_door(self, name: str) -> None:
        self.unmark(name, "closed.html")
        self._remove(f"sites/{name}/stopped")

    def mark(self, name: str, mark: str, content: str = "") -> None:
        """Tell the front that a site is not the usual one: ``asgi``, ``static`` or ``closed.html``."""
        self._write(f"sites/{name}/{mark}", content)
        self._remove(f"sites/{name}/plain")

    def unmark(self, name: str, mark: str) -> None:
        """The site is usual again, in this respect."""
        if self._remove(f"sites/{name}/{mark}"):
            self._settle(name)

    def _settle(self, name: str) -> None:
        """A site with nothing unusual is plain."""
        if not any(os.path.lexists(f"sites/{name}/{entry}") for entry in UNUSUAL):
            with contextlib.suppress(FileExistsError):
                os.symlink(".", f"sites/{name}/plain")

    # --- the end ----------------------------------------------------------------------------------------------------

    def discard_site(self, name: str) -> None:
        self._entries.pop(name, None)
        shutil.rmtree(f"sites/{name}", ignore_errors=True)

    def _unused(self, name: str) -> str:
        """A name for a folder that takes the place of another."""
        self._count += 1
        return f"{name}.{os.getpid()}.{self._count}"

    def _write(self, path: str, content: str) -> None:
        """Make ``path`` a file with this content by one rename."""
        with open(f"{path}.new", "w") as file:
            file.write(content)
        os.rename(f"{path}.new", path)

    def _link(self, target: str, path: str) -> None:
        """Make ``path`` a link to ``target`` by one rename."""
        try:
            os.symlink(target, path)  # the common case: nothing is there
        except FileExistsError:
            self._remove("new")
            os.symlink(target, "new")
            os.rename("new", path)

    def _remove(self, path: str) -> bool:
        """Whether there was such a name to remove."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True


def owner_of_way(path: str) -> int:
    """The uid of the first user but root who has a say in where an absolute path leads; root's when nobody has.

    Judged by the owners of the folders and links on the way, and at last of what is there, if anything is. The front
    follows a link of the run tree only to what belongs to the link's owner (disable_symlinks), so a tenant who exchanges
    a mapped folder, or one above it, for a link gets nothing served but what is his own.
    """
    here, rest = "/", path.split("/")
    for _ in range(MOST_STEPS):
        if not rest:
            break
        there = os.path.normpath(os.path.join(here, rest.pop(0)))
        try:
            status = os.lstat(there)
            if status.st_uid:
                return status.st_uid
            if stat.S_ISLNK(status.st_mode):
                rest[:0] = os.readlink(there).split("/")
                here = "/" if not rest[0] else here
            else:
                here = there
        except OSError:
            break
    return 0


def site_of(link: str) -> str:
    """The site that a domain's link leads to."""
    return link.partition("sites/")[2].partition("/")[0]


def place_of(domain: str) -> tuple[str, str]:
    """Where a domain's link lies, and the way back from there to the run directory."""
    if domain == "*":
        return "default", ""
    if domain.startswith("*."):
        return f"wild/{domain[2:]}", "../"
    return f"hosts/{domain}", "../"
