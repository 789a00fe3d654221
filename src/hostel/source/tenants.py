"""Site files of tenants, in folders that are theirs, as far as the operator's files about them allow.

The hard part is that root reads what its owner may exchange at any moment for a link, a FIFO, somebody else's file or ten
million of them. So a folder is opened once, without a link anywhere on the way; a file is opened in that folder, not by a
path; what has been opened is judged, and the very same is read; and everything is bounded, also how often it is looked at.
A site is named ``tenant+site``: no file of the operator can be called so, and nobody can take another's names. ('.' would do
for people, but in the tree of control groups ``memory.max`` is the kernel's; '@' and ':' mean something in other places.)
"""

from __future__ import annotations

import grp
import os
import stat
import time
from collections.abc import Iterable, Mapping
from itertools import islice

from hostel.errors import HostelError, SiteError
from hostel.options.fields import OF_TENANT, SITE_NAME, TENANT_NAME
from hostel.options.site import FILE_BYTES, Problem
from hostel.options.tenant import Tenant, read_tenant, read_tenant_site
from hostel.plan import SiteFile
from hostel.sandbox import syscalls
from hostel.sandbox.identity import Identity, find_identity
from hostel.source.folder import SUFFIX, is_site_file, plain_name, read_safely

Seen = dict[str, tuple[tuple[int, ...], SiteFile]]  # file name -> what it was, what it said
ENTRIES = 1000  # of a tenant's folder that are looked at
PAUSE_SECONDS = 1.0  # between two looks at one tenant's folder: whoever writes all the time costs no more than others


class TenantSource:
    """The sites of all tenants in the operator's folder of ``TENANT.toml`` files. ``least``: the smallest uid of a tenant."""

    def __init__(self, folder: str, *, least: int = 1000) -> None:
        self.folder = os.path.abspath(folder)
        self._least = least
        self._tenants: dict[str, Tenant] = {}
        self._operators: dict[str, tuple[Problem, ...]] = {}  # what is wrong with the operator's files, by tenant
        self._sites: dict[str, dict[str, SiteFile]] = {}  # by tenant
        self._seen: dict[str, tuple[Tenant, Seen]] = {}  # by tenant
        self._is_changed = False
        self._looked: dict[str, float] = {}
        self._late: set[str] = set()
        self._files: Mapping[str, SiteFile] = {}

    @property
    def folders(self) -> tuple[str, ...]:
        return ()  # nobody adds to them or removes from them but their owners

    @property
    def watched(self) -> tuple[str, ...]:
        return (self.folder,)

    @property
    def foreign(self) -> tuple[str, ...]:
        return tuple(tenant.folder for tenant in self._tenants.values())

    @property
    def again(self) -> float:
        """After how many seconds to look at what has changed too soon after the last look; 0 when nothing has."""
        return PAUSE_SECONDS if self._late else 0.0

    def read(self) -> Mapping[str, SiteFile]:
        self._read_tenants()
        self._late |= self._tenants.keys()
        self._looked.clear()
        return self._look()

    def refresh(self, paths: Iterable[str]) -> Mapping[str, SiteFile]:
        folders = {self.folder, *self.foreign}
        changed = {path if path in folders else os.path.dirname(path) for path in paths}
        if self.folder in changed:
            before = dict(self._tenants)
            self._read_tenants()
            new = {name for name, tenant in self._tenants.items() if before.get(name) != tenant}
            self._late |= new
            for name in new:
                self._looked.pop(name, None)
        self._late |= {name for name, tenant in self._tenants.items() if tenant.folder in changed}
        return self._look()

    def _read_tenants(self) -> None:
        self._is_changed = True
        try:
            names = sorted(name for name in os.listdir(self.folder) if is_site_file(name))
        except OSError as error:
            problem = Problem(
                "", self.folder, "", f"cannot read the folder: {error.strerror}", "make it, or correct --tenants"
            )
            self._operators[""] = (problem,)
            return  # what is known of them goes on
        self._operators.clear()
        tenants = {}
        for file_name in names:
            name, path = file_name.removesuffix(SUFFIX), os.path.join(self.folder, file_name)
            tenant, problems = self._read_tenant(name, path)
            if problems:
                self._operators[plain_name(name)] = tuple(problems)
                tenant = self._tenants.get(name)  # as it was
            if tenant is not None:
                tenants[name] = tenant
        self._tenants = tenants
        self._late &= tenants.keys()

    def _read_tenant(self, name: str, path: str) -> tuple[Tenant | None, list[Problem]]:
        shown = plain_name(path)
        if not TENANT_NAME.fullmatch(name):
            reason = "a tenant's name is 1 to 32 small letters, digits, '-' and '_', beginning and ending with a letter or digit"
            return None, [
                Problem(
                    f"{plain_name(name)}{OF_TENANT}", shown, "", reason, "rename the file: its name is the tenant's"
                )
            ]
        try:
            return read_tenant(name, path, read_safely(path, self.folder))
        except (OSError, SiteError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return None, [
                Problem(f"{name}{OF_TENANT}", shown, "", reason, getattr(error, "hint", "") or "mend or remove it")
            ]

    def _look(self) -> Mapping[str, SiteFile]:
        """Read the folders that may have changed and have not been looked at just now."""
        now = time.monotonic()
        for name in list(self._late):
            if now - self._looked.get(name, -PAUSE_SECONDS) >= PAUSE_SECONDS:
                self._late.discard(name)
                self._looked[name] = now
                self._sites[name] = self._read_sites(self._tenants[name], self._sites.get(name, {}))
                self._is_changed = True
        if not self._is_changed:
            return self._files
        self._is_changed = False
        for name in self._sites.keys() - self._tenants.keys():
            del self._sites[name]
            self._seen.pop(name, None)
        files = {file.name: file for some in self._sites.values() for file in some.values()}
        for name, problems in self._operators.items():
            shown = f"{name}{OF_TENANT}" if name else ""
            more = files[shown].problems if shown in files else ()
            files[shown] = SiteFile(shown, problems[0].file, None, (*problems, *more))
        if files != self._files:
            self._files = files
        return self._files

    def _read_sites(self, tenant: Tenant, before: dict[str, SiteFile]) -> dict[str, SiteFile]:
        try:
            identity = find_identity(tenant.user, self._least)
            known, seen = self._seen.get(tenant.name, (tenant, {}))
            found, seen = read_folder(tenant, identity, seen if known == tenant else {})
            self._seen[tenant.name] = tenant, seen
            return found
        except HostelError as error:
            problem = Problem(f"{tenant.name}{OF_TENANT}", tenant.file, "", str(error), error.hint)
        except FileNotFoundError:
            return before  # it has none yet, or the folder is not mounted
        except OSError as error:
            reason = f"cannot read the folder {tenant.folder}: {error.strerror}"
            remedy = "no part of its path may be a link; it is to be a folder of the tenant's"
            problem = Problem(f"{tenant.name}{OF_TENANT}", tenant.file, "folder", reason, remedy)
        return {**before, problem.site: SiteFile(problem.site, tenant.file, None, (problem,))}


def read_folder(tenant: Tenant, identity: Identity, seen: Seen) -> tuple[dict[str, SiteFile], Seen]:
    """All site files of a tenant by the full name of their site, and what they said, so that it is not asked for again.

    Raises ``OSError`` or ``SiteError`` for the folder.
    """
    place = syscalls.open_plain(tenant.folder)
    try:
        status = os.fstat(place)
        if not stat.S_ISDIR(status.st_mode):
            raise SiteError(f"{tenant.folder} is not a folder", "name the folder of the tenant's site files")
        if status.st_uid not in (0, identity.uid) or not _is_closed(status, identity):
            raise SiteError(
                f"{tenant.folder} does not belong to {identity.name} alone",
                f"chown it to {identity.name}, and chmod go-w it",
            )
        with os.scandir(f"/proc/self/fd/{place}") as entries:
            names = sorted(entry.name for entry in islice(entries, ENTRIES))
        found: dict[str, SiteFile] = {}
        now: Seen = {}
        for index, name in enumerate([name for name in names if is_site_file(name)]):
            if index >= tenant.sites:
                file = _refuse_one_more(tenant, name)
                found[file.name] = file
                break  # one is enough to say so
            signature = (identity.uid, *_signature(name, place))
            if name not in seen or seen[name][0] != signature:
                now[name] = signature, _read_file(tenant, identity, place, name)
            else:
                now[name] = seen[name]
            found[now[name][1].name] = now[name][1]
        return found, now
    finally:
        os.close(place)


def _signature(file_name: str, place: int) -> tuple[int, ...]:
    """What changes whenever a file does: nobody but the kernel sets the time of the last change of an inode."""
    try:
        status = os.stat(file_name, dir_fd=place, follow_symlinks=False)
    except OSError as error:
        return (error.errno or 0,)
    return (
        status.st_dev,
        status.st_ino,
        status.st_ctime_ns,
        status.st_size,
        status.st_mode,
        status.st_uid,
        status.st_gid,
    )


def _names(tenant: Tenant, file_name: str) -> tuple[str, str]:
    """The site's full name, and the path of its file, both fit to be shown."""
    plain = plain_name(file_name.removesuffix(SUFFIX))
    return f"{tenant.name}{OF_TENANT}{plain}", os.path.join(tenant.folder, plain_name(file_name))


def _refuse_one_more(tenant: Tenant, file_name: str) -> SiteFile:
    name, shown = _names(tenant, file_name)
    reason = f"{tenant.name} may have {tenant.sites} sites, and this is one more"
    return SiteFile(name, shown, None, (Problem(name, shown, "", reason, "remove some"),), tenant)


def _read_file(tenant: Tenant, identity: Identity, place: int, file_name: str) -> SiteFile:
    name, shown = _names(tenant, file_name)
    plain = name.partition(OF_TENANT)[2]

    def refuse(reason: str, remedy: str) -> SiteFile:
        return SiteFile(name, shown, None, (Problem(name, shown, "", reason, remedy),), tenant)

    if not SITE_NAME.fullmatch(plain):
        reason = (
            "a site's name is 1 to 48 small letters, digits, '-' and '_', beginning and ending with a letter or digit"
        )
        return refuse(reason, "rename the file: its name is the site's name")
    try:
        data = read_own(place, file_name, identity)
    except SiteError as error:
        return refuse(str(error), error.hint)
    except OSError as error:
        return refuse(f"cannot read the file: {error.strerror}", "it is to be a regular file, not a link")
    site, problems = read_tenant_site(tenant, name, shown, data)
    return SiteFile(name, shown, site, tuple(problems), tenant)


def read_own(place: int, file_name: str, identity: Identity) -> bytes:
    """The bytes of a file in an open folder that is its owner's alone. Raises ``OSError``, or ``SiteError`` with the reason."""
    descriptor = syscalls.open_plain(file_name, place)  # which opens nothing yet, be it a device or a FIFO
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SiteError("a site file is a regular file, and this is not one", "remove it, or give it another name")
        if status.st_uid != identity.uid:  # a link to a file of root's may be anybody's
            raise SiteError(f"the file does not belong to {identity.name}", f"chown it to {identity.name}")
        if not _is_closed(status, identity):
            raise SiteError(f"others than {identity.name} may write to the file", "chmod go-w it")
        if status.st_size > FILE_BYTES:
            raise SiteError(
                f"the file has {status.st_size} bytes; a site file has at most {FILE_BYTES}", "is it a site file?"
            )
        reader = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    finally:
        os.close(descriptor)
    try:
        return os.read(reader, FILE_BYTES + 1)
    finally:
        os.close(reader)


def _is_closed(status: os.stat_result, identity: Identity) -> bool:
    """Whether nobody but its owner may write to it. A group counts as the owner when it is named after him and his alone."""
    if status.st_mode & stat.S_IWOTH:
        return False
    if not status.st_mode & stat.S_IWGRP or status.st_gid == 0:
        return True
    try:
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return group.gr_name == identity.name and set(group.gr_mem) <= {identity.name}
