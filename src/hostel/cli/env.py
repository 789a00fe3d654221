"""``hostel env``: the environments that sites run in: which there are, what is known of each, and how they are made."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from typing import Any

import click

from hostel.api.views import MadeView, as_dict
from hostel.cli.output import PathType, command, connect, count, json_option, print_json, say, server_option, size
from hostel.environments.building import Recipe, build, find_source, read_recipe
from hostel.environments.looking import look_at
from hostel.errors import HostelError, HostError, NotRunning, SiteError, UsageError
from hostel.options.fields import parse_python
from hostel.options.python import find_python
from hostel.sandbox.identity import Identity, own_identity
from hostel.sandbox.trust import is_trusted


@click.group(
    "env",
    epilog="""\b
Examples:
  hostel env list
  hostel env show blog
""",
)
def env() -> None:
    """Make and look at the environments that sites run in."""


@command("list", epilog="""\b
Examples:
  hostel env list
""")  # fmt: skip
@server_option
@json_option
def list_(run_dir: str | None, as_json: bool) -> None:
    """Show the environments of all sites, with their zygotes and sizes."""
    views = environments(run_dir)
    if as_json:
        print_json({"environments": views})
        return
    for view in views:
        say(view["path"], bold=True)
        say(
            f"  Python {view['version'] or '?'}, {size(view['size'])}, {count(len(view['sites']), 'site')}: {some(view['sites'])}"
        )
        for zygote in view["zygotes"]:
            say(f"  zygote {zygote['pid']} ({zygote['user']}): {zygote['state']}, {count(zygote['workers'], 'worker')}, "
                f"{count(zygote['preloaded'], 'module')} preloaded")  # fmt: skip
        if view["problem"]:
            say(f"  {view['problem']}", fg="red")


def some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def environments(run_dir: str | None, wanted: str | None = None) -> list[dict[str, Any]]:
    """What is known of the environments in use, by the server and by looking at them."""
    known = connect(run_dir).call("environments")["environments"]
    if wanted is not None:
        path = os.path.abspath(wanted)
        known = [each for each in known if wanted in each["sites"] or each["path"] in (wanted, path)]
        if not known:
            raise UsageError(
                f"no site is called {wanted!r}, and none runs in such an environment", "see hostel env list"
            )
    return [{**each, **as_dict(look_at(each["path"]))} for each in known]


@command(
    "show",
    epilog="""\b
Examples:
  hostel env show blog               the one that this site runs in
  hostel env show /srv/blog/.venv
""",
)
@click.argument("name", metavar="SITE|PATH")
@server_option
@json_option
def show(name: str, run_dir: str | None, as_json: bool) -> None:
    """Show what an environment's zygote imports for its workers.

    That is what the sites were seen to import and what passed a trial: with the time it took; and what was refused, and why.
    """
    (view,) = environments(run_dir, name)[:1]
    if as_json:
        print_json(view)
        return
    say(view["path"], bold=True)
    say(f"  Python:   {view['version'] or '?'} ({view['python']})")
    say(f"  size:     {size(view['size'])}")
    say(f"  sites:    {some(view['sites'])}")
    if view["source"]:
        say(f"  made of:  {view['source']}")
    for zygote in view["zygotes"]:
        say(f"  zygote:   {zygote['pid']} ({zygote['user']}), {zygote['state']}, {count(zygote['workers'], 'worker')}")
    if view["problem"]:
        say(f"  problem:  {view['problem']}", fg="red")
    say(f"\nits sites were seen to import {count(len(view['learned']), 'module')}")
    if view["tried"]:
        say(
            f"of these a zygote has imported {len(view['imported'])}, in {view['seconds']:.2f} s with the trial before it"
        )
    for module, reason in sorted(view["refused"].items()):
        say(f"  refused {module}: {reason}", fg="yellow")


@command(
    "create",
    epilog="""\b
Examples:
  hostel env create .venv
  hostel env create /srv/blog/.venv --from /srv/blog/pyproject.toml
  hostel env create /srv/env/shared --from all.txt --python 3.13
""",
)
@click.argument("path", type=PathType())
@click.option(
    "--from",
    "source",
    type=PathType(),
    metavar="FILE",
    help="requirements.txt or pyproject.toml. Default: the one beside PATH.",
)
@click.option("--python", metavar="PYTHON", help="Its Python: a version, or a path. Default: the system's.")
@click.option(
    "--pythons",
    multiple=True,
    type=PathType(),
    metavar="DIR",
    help="Folder where to look for it, too; may be repeated.",
)
@click.option(
    "--option", "options", multiple=True, metavar="TEXT", help="Option for uv or pip, as --no-index; may be repeated."
)
@json_option
def create(
    path: str, source: str | None, python: str | None, pythons: tuple[str, ...], options: tuple[str, ...], as_json: bool
) -> None:
    """Make a virtualenv with what a project needs.

    It is there when it is complete. As root, in a folder of another user, that user makes it.
    """
    target = os.path.abspath(path)
    if os.path.lexists(target):
        raise UsageError(f"cannot make {target}: it exists already", f"to make it anew: hostel env sync {target}")
    source = os.path.abspath(source) if source else find_source(os.path.dirname(target))
    if not os.path.isfile(source):
        raise UsageError(f"there is no file {source}", "name requirements.txt or pyproject.toml with --from")
    make(target, Recipe(source, choose_python(python, target, pythons), options), as_json=as_json)
    if as_json:
        print_json(made_view(target, []))
    else:
        say(f"sites run in it with: environment = {target!r}".replace("'", '"'))


@command(
    "sync",
    epilog="""\b
Examples:
  hostel env sync blog               the one that this site runs in
  hostel env sync /srv/blog/.venv
""",
)
@click.argument("name", metavar="SITE|PATH")
@click.option(
    "--from",
    "source",
    type=PathType(),
    metavar="FILE",
    help="requirements.txt or pyproject.toml. Default: what it was made from.",
)
@click.option("--python", metavar="PYTHON", help="Its Python: a version, or a path. Default: as it was.")
@click.option(
    "--option", "options", multiple=True, metavar="TEXT", help="Option for uv or pip, as --no-index; may be repeated."
)
@server_option
@json_option
def sync(
    name: str, source: str | None, python: str | None, options: tuple[str, ...], run_dir: str | None, as_json: bool
) -> None:
    """Make an environment anew, and reload the sites that run in it.

    The new one is complete before it takes the place of the old. When it cannot be made, nothing has changed.
    """
    known: list[dict[str, Any]] = []
    with contextlib.suppress(NotRunning):
        known = connect(run_dir).call("environments")["environments"]
    target = next((each["path"] for each in known if name in each["sites"]), os.path.abspath(name))
    if not os.path.isfile(os.path.join(target, "pyvenv.cfg")):
        raise UsageError(f"{target} is no virtualenv", "name a site that runs in one, or its folder")
    old = read_recipe(target)
    source = os.path.abspath(source) if source else old.source if old else find_source(os.path.dirname(target))
    chosen = choose_python(python, target) if python or old is None else old.python
    make(target, Recipe(source, chosen, options or (old.options if old else ())), as_json=as_json)
    sites = sorted(
        site for each in known if os.path.realpath(each["path"]) == os.path.realpath(target) for site in each["sites"]
    )
    failed = []
    if sites:
        answer = connect(run_dir).call("reload", sites=sites)
        failed = [site["name"] for site in answer["sites"] if any(one["kind"] == "worker" for one in site["problems"])]
    if as_json:
        print_json(made_view(target, sites))
    elif sites:
        say(f"reloaded: {some(sites)}")
    if failed:
        raise SiteError(f"these sites do not start with it: {some(failed)}", f"see hostel status {failed[0]}")


def made_view(target: str, reloaded: list[str]) -> dict[str, Any]:
    look = look_at(target)
    return as_dict(MadeView(target, look.python, look.version, look.size, look.source, reloaded))


def choose_python(wanted: str | None, target: str, places: tuple[str, ...] = ()) -> str:
    """The interpreter of a new environment. Raises ``UsageError`` or ``SiteError``."""
    if wanted is None:
        for path in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable):
            if os.path.exists(path):
                return os.path.realpath(path) if path == sys.executable else path
    try:
        wanted = parse_python(wanted)
    except ValueError as error:
        raise UsageError(f"--python: {error}") from None
    return find_python(os.path.abspath(wanted) if "/" in wanted else wanted, maker_of(target), places)


def maker_of(target: str) -> Identity:
    """Who makes an environment: we, or, when we are root, the owner of the folder where it is to be."""
    own = own_identity()
    if own is not None:
        return own
    folder = os.path.dirname(os.path.realpath(target))
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    uid = os.stat(folder).st_uid
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise HostError(
            f"{folder} belongs to user {uid}, whom the system does not know", "give it to somebody"
        ) from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(uid, entry.pw_gid, groups, entry.pw_name, entry.pw_dir)


def make(target: str, recipe: Recipe, *, as_json: bool) -> None:
    """Make it as whom it concerns. What packages do while they are installed, they do as that user."""
    maker = maker_of(target)
    if maker.uid == os.geteuid():
        if os.geteuid() == 0 and not (is_trusted(recipe.source) and is_trusted(os.path.dirname(target))):
            raise UsageError(
                f"cannot install as root what {recipe.source} names: others than root may change that, or the way to {target}",
                "make the environment in a folder of the user who owns the project",
            )
        build(target, recipe, (lambda text: None) if as_json else say)
        return
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = (
        f"import sys; sys.path.append({root!r}); from hostel.cli.env import build_as_child;"
        "sys.exit(build_as_child(sys.argv[1:]))"
    )
    arguments = [target, recipe.source, recipe.python, *recipe.options]
    home = maker.home if os.path.isdir(maker.home) else "/nonexistent"
    variables = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8",
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")) or name.endswith("_proxy")},
    }  # fmt: skip
    if uv := shutil.which("uv"):
        variables["PATH"] = f"{os.path.dirname(uv)}:{variables['PATH']}"
    if not as_json:
        say(f"as user {maker.name}, who owns the folder")
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", code, *arguments], env=variables, stdin=subprocess.DEVNULL, cwd="/", umask=0o022,
        stdout=subprocess.DEVNULL if as_json else None, stderr=subprocess.PIPE, text=True,
        user=maker.uid, group=maker.gid, extra_groups=list(maker.groups),
    )  # fmt: skip
    try:
        _, said = process.communicate()
    except KeyboardInterrupt:
        process.wait()  # it has heard of it, too, and cleans up
        raise
    if process.returncode:
        lines = said.strip().splitlines() or [f"it ended with status {process.returncode}"]
        message, _, hint = lines[-1].partition("\0")
        raise HostError(message, hint)


def build_as_child(arguments: list[str]) -> int:
    """The same in a process of the maker; the error is its last line, with the hint behind a NUL."""
    target, source, python, *options = arguments
    try:
        build(target, Recipe(source, python, tuple(options)), say)
    except HostelError as error:
        print(f"{error}\0{error.hint}".replace("\n", " "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


for one in (list_, show, create, sync):
    env.add_command(one)
