"""Importing what sites share, so that each worker finds it there: the difference between 300 ms and 40 ms.

The hard part: some modules do more than define things when they are imported; they start threads, open files, want
settings. A zygote that has done so cannot fork safely. So all modules are imported in a forked trial first, which sees
after each of them whether a thread or a descriptor is left; only those that pass are imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
from typing import Dict, List, Optional, Sequence, Tuple

from hostel.wire import Preloaded

TRIAL_SECONDS = 60
MODULE_SECONDS = 10
NOBODY = 65534
REFUSED = 100  # whose reasons are told: a message has room for so many


def preload(modules: Sequence[str]) -> Preloaded:
    """Import those of ``modules`` that pass the trial, in the given order."""
    begin = time.monotonic()
    wanted = [name for name in modules if name not in sys.modules]
    verdicts = try_modules(wanted)
    imported: List[str] = []
    refused: Dict[str, str] = {}
    for name in wanted:
        reason = verdicts.get(name, "the trial ended before it")
        if not reason:
            try:
                importlib.import_module(name)
            except BaseException as error:
                reason = describe(error)
        if reason:
            refused[name] = reason
        else:
            imported.append(name)
    return Preloaded(tuple(imported), dict(list(refused.items())[:REFUSED]), time.monotonic() - begin)


def try_modules(modules: Sequence[str]) -> Dict[str, str]:
    """Import all in a child; for each module the reason against it, empty when there is none.

    When the child dies or hangs, the module it was at is refused and another child goes on behind it.
    """
    verdicts: Dict[str, str] = {}
    deadline = time.monotonic() + TRIAL_SECONDS
    rest = list(modules)
    while rest and time.monotonic() < deadline:
        done, culprit = _try_in_child(rest, verdicts, deadline)
        if culprit is not None:
            verdicts[culprit] = "its import hangs or ends the process"
            done += 1
        rest = rest[done:]
    return verdicts


def _try_in_child(modules: Sequence[str], verdicts: Dict[str, str], deadline: float) -> Tuple[int, Optional[str]]:
    """How many modules a child got through, and the one that stopped it, if one did."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            signal.set_wakeup_fd(-1)
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            if os.geteuid() == 0:  # the names of the modules come from tenants: what they do first, they do as nobody
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            _run_trial(modules, writer)
        finally:
            os._exit(0)
    os.close(writer)
    done = 0
    data = b""
    ready = select.poll()
    ready.register(reader, select.POLLIN)
    while done < len(modules):
        patience = min(MODULE_SECONDS, deadline - time.monotonic())
        if patience <= 0 or not ready.poll(patience * 1000):
            break
        more = os.read(reader, 65536)
        if not more:
            break
        *lines, data = (data + more).split(b"\n")
        for line in lines:
            name, reason = json.loads(line)
            verdicts[name] = reason
            done += 1
    os.close(reader)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    return done, modules[done] if done < len(modules) else None


def _run_trial(modules: Sequence[str], writer: int) -> None:
    before = _leftovers()
    for name in modules:
        reason = ""
        try:
            importlib.import_module(name)
        except BaseException as error:
            reason = describe(error)
        after = _leftovers()
        if after != before and not reason:
            reason = "its import leaves threads or open files behind"
        before = after
        os.write(writer, json.dumps([name, reason]).encode() + b"\n")


def _leftovers() -> Tuple[int, int]:
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def describe(error: BaseException) -> str:
    """One line about an exception."""
    return f"{type(error).__name__}: {error}"[:200]
