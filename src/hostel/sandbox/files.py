"""The files that a site sees: the system to be read, its own folders, and nothing of other tenants.

The hard part is the order. What is to stay visible is copied aside first, by descriptors that were opened without following
any link (a tenant may exchange what lies below its folders at any moment); then everything becomes read-only; then covers
of empty memory are laid over what is shared or belongs to others; and then the copies are attached again, at places that
are made in the covers with the rights of the originals. Run as root in a mount namespace of its own, before any code of a
site, so nobody else can change a cover meanwhile. Standard library only, Python 3.9.
"""

from __future__ import annotations

import os
import stat
from typing import Dict, List, Sequence, Tuple

from hostel.sandbox import syscalls

SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # each a site's own, for everybody in there to write to
_PLAIN = syscalls.MS_NOSUID | syscalls.MS_NODEV


def make_private() -> None:
    """Changes of mounts made here stay here; those that the machine's administrator makes arrive."""
    syscalls.mount("", "/", syscalls.MS_REC | syscalls.MS_SLAVE)


def mount_proc() -> None:
    """A ``/proc`` of this namespace's processes, in which each user sees only its own; proc(5)."""
    syscalls.mount("proc", "/proc", _PLAIN | syscalls.MS_NOEXEC, "hidepid=invisible")


def arrange(own: Sequence[str], shared: Sequence[str], covered: Sequence[str], scratch_bytes: int) -> None:
    """Make the whole tree read-only but for ``own``; of what lies in ``covered`` only ``own`` and ``shared`` are left.

    Raises ``OSError``. What is not there is left out.
    """
    writable = _outermost(own)
    readable = [path for path in _outermost(shared) if _is_inside(path, [*SCRATCH, *covered])]
    readable = [path for path in readable if not _is_inside(path, writable)]
    trees = [_open_tree(path, is_writable=False) for path in readable]
    trees += [_open_tree(path, is_writable=True) for path in writable]  # later: they may lie in the others
    modes: Dict[str, os.stat_result] = {}
    for path in (*readable, *writable):
        _remember_modes(path, modes)
    syscalls.set_mount_attributes(
        syscalls.AT_FDCWD, "/", syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID, is_recursive=True
    )
    covers: List[str] = []
    for path in SCRATCH:
        if os.path.isdir(path):
            syscalls.mount("tmpfs", path, _PLAIN, "mode=1777,size=%d" % scratch_bytes)
            covers.append(path)
    for path in _outermost(covered):
        if os.path.isdir(path) and not _is_inside(path, covers):
            syscalls.mount("tmpfs", path, _PLAIN | syscalls.MS_NOEXEC, "mode=755,size=1m")
            covers.append(path)
    for path, (descriptor, is_folder) in zip([*readable, *writable], trees):
        if descriptor >= 0:
            _make_place(path, is_folder, modes)
            place = syscalls.open_plain(path)
            syscalls.attach_tree(descriptor, place)
            os.close(place)
            os.close(descriptor)
    for path in covers:
        if path not in SCRATCH:
            syscalls.set_mount_attributes(syscalls.AT_FDCWD, path, syscalls.MOUNT_ATTR_RDONLY, is_recursive=False)


def _open_tree(path: str, *, is_writable: bool) -> Tuple[int, bool]:
    """The mounts from a path down, attached nowhere, and whether it is a folder; -1 when it is not there."""
    try:
        descriptor = syscalls.open_plain(path)
    except FileNotFoundError:
        return -1, False
    try:
        tree = syscalls.clone_tree(descriptor)
        attributes = syscalls.MOUNT_ATTR_NOSUID | (0 if is_writable else syscalls.MOUNT_ATTR_RDONLY)
        syscalls.set_mount_attributes(tree, "", attributes, is_recursive=True)
        return tree, stat.S_ISDIR(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _remember_modes(path: str, modes: Dict[str, os.stat_result]) -> None:
    """Who may enter the folders above a path: their places in a cover are to say the same."""
    while path != "/":
        path = os.path.dirname(path)
        if path in modes:
            return
        try:
            modes[path] = os.lstat(path)
        except FileNotFoundError:
            pass


def _make_place(path: str, is_folder: bool, modes: Dict[str, os.stat_result]) -> None:
    """A place to attach something to, and the folders above it, where a cover has hidden them."""
    if os.path.lexists(path):
        return
    above = os.path.dirname(path)
    _make_place(above, True, modes)
    if is_folder:
        os.mkdir(path, 0o700)
        if path in modes:
            os.chown(path, modes[path].st_uid, modes[path].st_gid)
            os.chmod(path, stat.S_IMODE(modes[path].st_mode))
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _outermost(paths: Sequence[str]) -> List[str]:
    """The paths that do not lie in another one of them."""
    found: List[str] = []
    for path in sorted(set(paths), key=len):
        if not _is_inside(path, found):
            found.append(path)
    return found


def _is_inside(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(os.path.join(place, "")) for place in places)
