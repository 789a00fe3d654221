"""The Pythons of this machine: finding the one that a site names by its version, and what belongs to an interpreter.

The hard part: whoever looks may be root, and what is found may be anybody's, so nothing is executed to learn its version. A
CPython tells it by its files: the real name of the executable, and the standard library that lies beside it. The commands of
pyenv and the like, which are scripts that choose a Python, are none themselves.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hostel.errors import SiteError
from hostel.options.fields import PYTHONS
from hostel.options.server import ServerOptions
from hostel.options.site import Site
from hostel.sandbox.identity import Identity, obstacle

ELF = b"\x7fELF"
USUAL = ("/usr/local/bin", "/usr/bin")
NUMBERS = re.compile(r"\d+")
INSTALL = (
    "install it where everybody may read it (apt install python{version}, or uv python install "
    "--install-dir /opt/pythons {version})"
)
NAME_PLACE = "or name the folder where it is with --pythons of hostel serve"


def settle_python(site: Site, identity: Identity, options: ServerOptions) -> Site:
    """The site with the interpreter that its ``python`` means as its environment. Raises ``SiteError`` when there is none."""
    if site.python is None:
        return site
    return replace(site, environment=find_python(site.python, identity, options.pythons), python=None)


def find_python(wanted: str, identity: Identity, places: Sequence[str] = ()) -> str:
    """The path of a Python, wanted by its version or its path, that a user can run. Raises ``SiteError``."""
    if "/" in wanted:
        return check_python(wanted, identity)
    refused = ""
    for path in candidates(wanted, places, identity.home):
        if version_of(path) == wanted:
            reason = obstacle(os.path.dirname(os.__file__) if path == sys.executable else path, identity)
            reason = reason or obstacle(library_of(path), identity)
            if not reason:
                return path
            refused = refused or f"{path} cannot be used: {reason}"
    if refused:
        raise SiteError(f"there is a Python {wanted}, but {refused}", f"{INSTALL.format(version=wanted)}, {NAME_PLACE}")
    others = [version for version in PYTHONS if any(map(version_of, candidates(version, places, identity.home)))]
    raise SiteError(
        f"no Python {wanted} was found on this machine{', which has ' + ', '.join(others) if others else ''}",
        f"{INSTALL.format(version=wanted)}, {NAME_PLACE}",
    )


def check_python(path: str, identity: Identity) -> str:
    """A path that has to be an interpreter which a user can run. Raises ``SiteError``."""
    if os.path.exists(os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg")):
        folder = os.path.dirname(os.path.dirname(path))
        raise SiteError(f"{path} belongs to an environment", f"write environment = {folder!r} instead of python")
    if reason := obstacle(path, identity):
        raise SiteError(f"its Python cannot be used: {reason}", "name one that the site's user can run")
    version = version_of(path)
    if not version:
        raise SiteError(f"{path} is no Python that Hostel knows", "name a CPython's executable, as /usr/bin/python3")
    if version not in PYTHONS:
        raise SiteError(f"{path} is Python {version}", f"sites run on Python {PYTHONS[0]} to {PYTHONS[-1]}")
    if reason := obstacle(library_of(path), identity):
        raise SiteError(f"its Python cannot be used: {reason}", "name one whose library the site's user can read")
    return path


def candidates(version: str, places: Sequence[str], home: str = "") -> Iterator[str]:
    """The paths where a Python of this version may be, the preferred first."""
    name = f"python{version}"
    for place in places:
        yield from (os.path.join(place, name), os.path.join(place, "bin", name))
        yield from _newest(os.path.join(glob.escape(place), "*", "bin", name))
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), *USUAL):
        if os.path.isabs(folder):
            yield os.path.join(folder, name)
    homes = dict.fromkeys((os.path.expanduser("~"), home))
    pyenvs = [os.environ.get("PYENV_ROOT", ""), *(os.path.join(one, ".pyenv") for one in homes)]
    uvs = [os.environ.get("UV_PYTHON_INSTALL_DIR", ""), *(os.path.join(one, ".local/share/uv/python") for one in homes)]
    for root in (*(os.path.join(one, "versions") for one in pyenvs if os.path.isabs(one)), *filter(os.path.isabs, uvs)):
        yield from _newest(os.path.join(glob.escape(root), "*", "bin", name))


def _newest(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern), key=lambda path: [int(each) for each in NUMBERS.findall(path)], reverse=True)


def version_of(path: str) -> str:
    """The version of the CPython at a path, as ``3.13``; empty when it is none, or cannot be read."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            is_program = file.read(4) == ELF
    except OSError:
        return ""
    match = re.fullmatch(r"python(3(?:\.\d+)?)", os.path.basename(real))
    if not is_program or match is None:
        return ""
    found = [match[1]] if "." in match[1] else [os.path.basename(each)[6:] for each in libraries_of(path)]
    has_library = len(found) == 1 and os.path.isfile(os.path.join(library_of(path, found[0]), "os.py"))
    return found[0] if has_library else ""


def prefix_of(python: str) -> str:
    """Where an interpreter is installed."""
    return os.path.dirname(os.path.dirname(os.path.realpath(python)))


def libraries_of(python: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(prefix_of(python)), "lib", "python3.*"))


def library_of(python: str, version: str = "") -> str:
    """The folder of an interpreter's standard library."""
    return os.path.join(prefix_of(python), "lib", f"python{version or version_of(python)}")


def is_interpreter(environment: str) -> bool:
    """Whether what a site runs in is an interpreter itself, not a folder with one."""
    return os.path.isfile(environment)


def folder_of_programs(environment: str) -> str:
    """Where the programs of an environment lie, its Python among them."""
    return os.path.dirname(environment) if is_interpreter(environment) else os.path.join(environment, "bin")
