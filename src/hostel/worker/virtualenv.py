"""Becoming a virtualenv after the fork, in a worker whose zygote has the bare interpreter that the virtualenv was made of.

The hard part is to be no different from an interpreter that was started in there. A bare zygote runs in a virtualenv as well,
one that is empty and belongs to root, so what differs is little: where it lies, and what that has led to. The first is set by
hand here, and for the second the interpreter's own ``site`` is run once more: it reads ``pyvenv.cfg``, adds the folders of
packages, and executes what their ``.pth`` files say. All of that is the tenant's, and so is this process by now.
"""

from __future__ import annotations

import os
import site
import sys

from hostel.errors import SiteError


def enter(path: str) -> None:
    """Make this interpreter that of the virtualenv at ``path``. Raises ``SiteError`` when it was made of another one."""
    empty, home = sys.prefix, getattr(sys, "_home", None)
    old, new = sys.executable, os.path.join(path, "bin", os.path.basename(sys.executable))
    for name in ("executable", "_base_executable"):  # the second is another than the first from Python 3.11 on
        if getattr(sys, name, None) == old:
            setattr(sys, name, new)
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[0] = new
    inside = os.path.join(empty, "")
    sys.path[:] = [folder for folder in sys.path if not folder.startswith(inside)]
    for folder in [folder for folder in sys.path_importer_cache if folder.startswith(inside)]:
        del sys.path_importer_cache[folder]
    # As they are before site runs: up to Python 3.13 it is site that finds out about virtualenvs.
    before = (path, path) if sys.version_info >= (3, 14) else (sys.base_prefix, sys.base_exec_prefix)
    sys.prefix, sys.exec_prefix = before
    site.PREFIXES, site.ENABLE_USER_SITE, site.USER_SITE, site.USER_BASE = [*before], None, None, None
    site.main()
    if getattr(sys, "_home", None) != home:
        raise SiteError(
            f"{path} was made of the Python in {getattr(sys, '_home', None)}, and not of the one in {home}",
            f"make it anew (python3 -m venv {path}), then reload the site",
        )
