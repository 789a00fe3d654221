"""Taking up a newly installed Hostel while the server runs.

The hard part is a new version that does not start: the old one is not on the disk any more, only in the memory of those who
run it. So the new one is tried beside it first (``hostel.manager trial``: it imports everything, reads the options and all
site files, has nginx test the front's configuration and starts a zygote), and the old manager makes room only when that went
well. Sites and front serve on meanwhile; they belong to nobody who ends.

Then the next manager finds zygotes and workers of the old code. Such zygotes get no orders any more, and the sites of such
workers are reloaded, a few at a time; ``CODE`` tells old from new.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Sequence

import hostel
from hostel.errors import HostError

TRIAL = "trial"  # the argument in the place of the channel's descriptor
TRIAL_SECONDS = 60.0
OF_WORKERS = ("__init__.py", "errors.py", "wire.py", "protocol", "sandbox", "worker", "zygote")


def stamp_of_code() -> str:
    """A short text that differs when other code for zygotes and workers is installed."""
    folder = os.path.dirname(hostel.__file__)
    stamps = [hostel.__version__]
    for part in OF_WORKERS:
        path = os.path.join(folder, part)
        names = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        for name in names:
            if name.endswith(".py"):
                status = os.stat(name)
                stamps.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:16]


CODE = stamp_of_code()  # as this manager found it: its zygotes run the same


async def try_new_code(arguments: Sequence[str]) -> str:
    """The version that is installed now, when a manager of it would start. Raises ``HostError`` with what it says if not.

    ``arguments``: those of this manager, without the channel.
    """
    trial = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-m", "hostel.manager", TRIAL, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            output, errors = await trial.communicate()
    except TimeoutError:
        trial.kill()
        await trial.wait()
        raise HostError("cannot upgrade: the new version hangs when it is tried", "the old one goes on") from None
    if trial.returncode:
        reason, hint = last_words(errors.decode(errors="replace"))
        raise HostError(f"cannot upgrade: the new version does not start: {reason}", f"the old one goes on; {hint}")
    return output.decode(errors="replace").strip()


def last_words(text: str) -> tuple[str, str]:
    """Reason and hint in what a trial has printed: an error of ours, or a traceback."""
    *_, before, last = ["", "it says nothing", *text.strip().splitlines()]
    if last.startswith("hint: "):
        return before.removeprefix("hostel: "), last.removeprefix("hint: ")
    return last.removeprefix("hostel: "), "mend the installation, and try again"
