"""Making a virtualenv, or making one anew, so that nobody ever finds half of one.

The hard part is that an environment knows where it is: its programs begin with the path of its Python. So it is made beside its
place, under a name of the same folder; then every mention of that name in its programs and its configuration is replaced by the
final one; and then it takes its place by one rename, or, where there is one already, by one exchange (renameat2(2)): a running
site finds the old packages or the new, and at no moment none. Whatever ends the making before that leaves the old as it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tomli

from hostel.errors import HostError, UsageError

RECORD = "hostel-environment.json"  # in the environment: what it was made from
OUTPUT_LINES = 400  # of the installer's output that are kept for its error
TOLD_LINES = 12
RENAME_EXCHANGE = 2
AT_FDCWD = -100
MARK = ".hostel-new-"
REASON = r"^\s*(ERROR:|error:|cause:|×|╰─▶)\s*"  # how pip and uv begin what they have against it

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made from: the requirements' file and the Python, both absolute paths."""

    source: str
    python: str
    options: tuple[str, ...] = ()  # further ones for uv or pip, as --no-index


def find_source(folder: str) -> str:
    """The file in a project's folder that says what it needs. Raises ``UsageError``."""
    for name in ("requirements.txt", "pyproject.toml"):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise UsageError(
        f"there is neither requirements.txt nor pyproject.toml in {folder}", "name the file with --from FILE"
    )


def read_recipe(environment: str) -> Recipe | None:
    """What an environment was made from; None when Hostel has not made it."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        with open(os.path.join(environment, RECORD), encoding="utf-8") as file:
            said = json.load(file)
        return Recipe(str(said["source"]), str(said["python"]), tuple(map(str, said["options"])))
    return None


def requirements_of(source: str) -> list[str] | None:
    """The dependencies that a ``pyproject.toml`` declares (PEP 621); None for other files, which pip reads itself.

    Raises ``UsageError``.
    """
    if os.path.basename(source) != "pyproject.toml":
        return None
    try:
        with open(source, "rb") as file:
            project = tomli.load(file).get("project")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {source}: {error}") from None
    found = project.get("dependencies") if isinstance(project, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UsageError(
            f"cannot tell what {source} needs: it has no dependencies in [project]",
            "write them there, or export a requirements.txt (poetry export, uv export, pip freeze)",
        )
    return found


def build(target: str, recipe: Recipe, progress: Progress) -> None:
    """Make the environment at ``target``, in the place of the one that may be there. Raises ``HostError`` or ``UsageError``."""
    needs = requirements_of(recipe.source)
    os.umask(0o022)  # the users of sites are to read it
    target = os.path.realpath(target)
    parent, name = os.path.split(target)
    try:
        os.makedirs(parent, exist_ok=True)
        remove_leftovers(parent, name)
        work = tempfile.mkdtemp(prefix=f"{MARK}{name}.", dir=parent)
        os.chmod(work, 0o755)
    except OSError as error:
        raise HostError(f"cannot make {target}: {error.strerror}", "see who may write there") from None
    try:
        uv = shutil.which("uv")
        begin = time.monotonic()
        progress(f"making {target} with {recipe.python}")
        made = os.path.join(work, "env")
        make_bare(made, name, recipe.python, uv)
        if needs is not None:
            listed = os.path.join(work, "requirements.txt")
            with open(listed, "w", encoding="utf-8") as file:
                file.write("\n".join(needs) + "\n")
        else:
            listed = recipe.source
        install(made, listed, recipe, uv, progress)
        with open(os.path.join(made, RECORD), "w", encoding="utf-8") as file:
            record = {"source": recipe.source, "python": recipe.python, "options": recipe.options, "made": time.time()}
            json.dump(record, file, indent=2)
        move(made, target)
        put_in_place(made, target)
        progress(f"{target} is ready after {time.monotonic() - begin:.1f} s")
    except OSError as error:
        raise HostError(f"cannot make {target}: {error.strerror}", "see who may write there") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)  # with the old one, which has been exchanged into it


def make_bare(path: str, name: str, python: str, uv: str | None) -> None:
    command = [python, "-I", "-m", "venv", "--prompt", name, path]
    if uv:
        command = [uv, "venv", "--quiet", "--no-config", "--prompt", name, "--python", python, path]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        said = plain_tail((result.stdout + result.stderr).splitlines())
        hint = "install the part of Python that makes virtualenvs (apt install python3-venv), or uv"
        raise HostError(f"cannot make a virtualenv with {python}: {said}", hint)


def install(path: str, listed: str, recipe: Recipe, uv: str | None, progress: Progress) -> None:
    """Install what is listed. Raises ``HostError`` with what the installer says."""
    python = os.path.join(path, "bin", "python")
    if uv:
        command = [uv, "pip", "install", "--no-progress", "--python", python, "--compile-bytecode", "-r", listed]
    else:
        command = [python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-r", listed]
    said: list[str] = []
    for line in run_lines([*command, *recipe.options], os.path.dirname(recipe.source)):
        said = [*said[-OUTPUT_LINES:], line]
        if re.match(
            r"\s*(Collecting|Downloading|Building|Installing|Resolved|Prepared|Installed|Successfully| \+ )", line
        ):
            progress(f"  {line.strip()}")
    if said and said[-1] != "0":
        raise HostError(f"cannot install what {recipe.source} names: {reason_in(said[:-1])}", hint_for("\n".join(said)))


def run_lines(command: Sequence[str], folder: str) -> Iterator[str]:
    """The lines that a command writes, and at last its exit status. It is ended with whoever reads."""
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            yield line.rstrip("\n")
        yield str(process.wait())
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        process.stdout.close()


def reason_in(lines: Sequence[str]) -> str:
    """What pip or uv give as the reason, out of all that they write."""
    errors = [re.sub(REASON, "", line) for line in lines if re.match(REASON, line)]
    return " ".join(" ".join(dict.fromkeys(errors)).split())[:1000] or plain_tail(lines)


def plain_tail(lines: Sequence[str]) -> str:
    return " / ".join(line.strip() for line in lines[-TOLD_LINES:] if line.strip())[:1000] or "it says nothing"


HINTS = (
    (
        "Requires-Python|requires a different Python|does not satisfy Python|current Python version",
        "another --python may do, or other versions of the packages",
    ),
    (
        "No matching distribution|was not found in|no version of|No solution found",
        "see whether the names and versions in the file are right",
    ),
    (
        "gcc|Failed building wheel|Failed to build",
        "a package has to be compiled: install a compiler and what its page tells, or a version that comes as a wheel",
    ),
    (
        "ConnectionError|NewConnectionError|Temporary failure|dns error|Failed to fetch",
        "the package index cannot be reached: see the network, or PIP_INDEX_URL",
    ),
)


def hint_for(said: str) -> str:
    """What to do about the usual reasons."""
    found = (hint for pattern, hint in HINTS if re.search(pattern, said))
    return next(found, "the installer's own words are above; see what it needs")


def move(made: str, target: str) -> None:
    """Have an environment say that it lies at ``target``, where it is about to be."""
    places = [os.path.join(made, "pyvenv.cfg")]
    with os.scandir(os.path.join(made, "bin")) as entries:
        places += [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    old, new = os.fsencode(made), os.fsencode(target)
    for place in places:
        with open(place, "rb") as file:
            data = file.read()
        if old in data and b"\0" not in data:
            with open(place, "wb") as file:  # in place: its mode stays
                file.write(data.replace(old, new))


def put_in_place(made: str, target: str) -> None:
    """Rename, or exchange with what is there."""
    if not os.path.lexists(target):
        os.rename(made, target)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    old, new = os.fsencode(made), os.fsencode(target)
    try:
        failed = libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_EXCHANGE)
    except AttributeError:
        failed = -1
        ctypes.set_errno(errno.ENOSYS)
    if failed:
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.rename(target, f"{made}.old")  # a file system that cannot exchange: for a moment there is none
        os.rename(made, target)


def remove_leftovers(parent: str, name: str) -> None:
    """Remove what an earlier making has left that was killed, when that is an hour ago."""
    for entry in os.listdir(parent):
        path = os.path.join(parent, entry)
        if entry.startswith(f"{MARK}{name}.") and time.time() - os.lstat(path).st_mtime > 3600:
            shutil.rmtree(path, ignore_errors=True)
