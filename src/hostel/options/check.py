"""What the machine says about a site: does its user exist, and can that user reach what the site needs?

Used before every start, and by ``hostel check``. It looks and changes nothing.
"""

from __future__ import annotations

import glob
import os
import sys

from hostel.errors import SiteError
from hostel.options.python import is_interpreter, library_of, prefix_of, settle_python
from hostel.options.server import ServerOptions
from hostel.options.site import OWN_USER, Problem, Site
from hostel.sandbox import identity as identities
from hostel.sandbox.identity import Identity
from hostel.sandbox.users import find_uid, used_up


def identity_of(site: Site, options: ServerOptions) -> Identity:
    """Whom the site's workers become. Raises ``SiteError``."""
    own = identities.own_identity()
    if site.user is not None and site.user.startswith(OWN_USER):
        return _own_user(site.user.removeprefix(OWN_USER), options)
    if own is None:
        return identities.find_identity(site.user or options.default_user, options.least_uid)
    if site.user not in (None, own.name):
        raise SiteError(
            f"it wants to run as user {site.user!r}, and Hostel runs as {own.name!r}",
            "start Hostel as root, or remove user from the site file",
        )
    return own


def _own_user(name: str, options: ServerOptions) -> Identity:
    """The user that a site has to itself. HOME is the folder that it may write to."""
    uid = find_uid(options.state_dir, name)
    if uid is None:
        raise SiteError(*used_up(options.uid_range))
    return Identity(uid, uid, (uid,), f"site-{name}", os.path.join(options.state_dir, "sites", name))


def find_obstacles(site: Site, identity: Identity) -> list[Problem]:
    """Everything that keeps the site's user from what its workers need."""
    if site.app is None:
        return []
    problems: list[Problem] = []
    who = f"user {identity.name}"

    def look(where: str, what: str, path: str, remedy: str) -> bool:
        reason = identities.obstacle(path, identity)
        if reason:
            now = remedy if os.path.exists(path) else "make it, or correct the path"
            problems.append(Problem(site.name, site.file, where, f"its {what} cannot be used: {reason}", now))
        return not reason

    remedy = f"give {who} the right to read it, or set user to one that has it"
    if look("directory", "directory", site.directory, remedy) and not os.path.isdir(site.directory):
        reason = f"its directory cannot be used: {site.directory} is not a folder"
        problems.append(Problem(site.name, site.file, "directory", reason, "name the folder of the application"))
    remedy = f"give the site an environment that {who} can read, as one made in its folder by /usr/bin/python3 -m venv"
    if site.environment and is_interpreter(site.environment):
        places = [("Python", site.environment), ("Python", library_of(site.environment))]
        places += [("Python", path) for path in packages_of(site.environment)]
    elif site.environment:
        places = [("environment", site.environment), ("Python", os.path.join(site.environment, "bin", "python"))]
        places += [("environment", path) for path in packages_of(site.environment)]
    else:
        places = [("Python", os.path.dirname(os.__file__)), ("Python", sys.executable)]
        places += [("Python", path) for path in packages_of(sys.prefix)]
    for what, path in places:
        if not look("environment", what, path, remedy):
            break  # the others have the same reason
    hostel = os.path.dirname(os.path.dirname(__file__))
    look("", "copy of Hostel", hostel, f"install Hostel where {who} can read it, as in /opt/hostel")
    return problems


def check_site(site: Site, options: ServerOptions) -> list[Problem]:
    """Everything that ``hostel check`` can find out about a site without starting it."""
    problems = []
    where = "user"
    try:
        identity = identity_of(site, options)
        where = "python"
        site = settle_python(site, identity, options)
        problems += find_obstacles(site, identity)
    except SiteError as error:
        problems.append(Problem(site.name, site.file, where, str(error), error.hint))
    collect = "make it (Django: python manage.py collectstatic), or correct the path"
    for key, mappings, remedy in (
        ("static", site.static, collect),
        ("private", site.private, "make it, or correct the path"),
    ):
        for prefix, path in mappings:
            if not os.path.exists(path):
                reason = f"{path} does not exist"
                problems.append(Problem(site.name, site.file, f"{key}.{prefix}/", reason, remedy, is_fatal=False))
    for status, path in site.errors:
        if not os.path.isfile(path):
            reason, remedy = (
                f"there is no file {path}",
                "write it, or correct the path; until then visitors see Hostel's",
            )
            problems.append(Problem(site.name, site.file, f"errors.{status}", reason, remedy, is_fatal=False))
    if site.app is not None and os.path.isdir(site.directory):
        problems += _find_module(site)
    return problems


def _find_module(site: Site) -> list[Problem]:
    """Whether the application's module is anywhere to be seen; code may still make it up at run time."""
    assert site.app is not None
    module = site.app.partition(":")[0]
    places = [site.directory, *dict(site.env).get("PYTHONPATH", "").split(os.pathsep)]
    for packages in packages_of(site.environment or sys.prefix):
        places.append(packages)
        for name in glob.glob("*.pth", root_dir=packages):  # path configuration files, see module site
            lines = _read_text(os.path.join(packages, name)).splitlines()
            if any(line.startswith("import ") and "__editable__" in line for line in lines):
                return []  # code that finds more
            places += [os.path.join(packages, line.strip()) for line in lines if not line.startswith("import ")]
    missing = [_missing_part(place, module.split(".")) for place in places if place]
    if "" in missing or module.partition(".")[0] in sys.stdlib_module_names:
        return []
    reason = f"there is no module {max(missing, key=len)!r} in {site.directory} or in the environment"
    return [Problem(site.name, site.file, "app", reason, "check app and directory", is_fatal=False)]


def _read_text(path: str) -> str:
    """The beginning of a file that somebody else may have put there; empty when it cannot be read, or is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _missing_part(place: str, parts: list[str]) -> str:
    """The first of a dotted name's packages and modules that is not in a folder; empty when all are."""
    for index, part in enumerate(parts):
        try:
            names = os.listdir(place)
        except OSError:
            names = []
        if part in names and os.path.isdir(os.path.join(place, part)):
            place = os.path.join(place, part)
        elif any(name.startswith(f"{part}.") for name in names):
            return ""  # a file; what it has inside is not seen from here
        else:
            return ".".join(parts[: index + 1])
    return ""


def packages_of(environment: str) -> list[str]:
    """The site-packages folders of an environment."""
    if is_interpreter(environment):
        library = library_of(environment)
        if prefix_of(environment) != "/usr":
            return [os.path.join(library, "site-packages")]
        local = os.path.join("/usr/local/lib", os.path.basename(library), "dist-packages")  # as Debian has it
        return [path for path in (local, "/usr/lib/python3/dist-packages") if os.path.isdir(path)]
    lib = os.path.join(environment, "lib")
    try:
        return [os.path.join(lib, name, "site-packages") for name in os.listdir(lib) if name.startswith("python3")]
    except OSError:
        return []
