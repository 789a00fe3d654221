"""Importing what sites share, so that each worker finds it there: the difference between 300 ms and 40 ms.

The hard part: some modules do more than define things when they are imported; they start threads, open files, handle
signals, want settings. A zygote that has done so cannot fork safely. So all modules are imported in a forked trial first,
which looks at its process after each of them. A trial ends with the first that fails and leaves something behind, be it
half of what it imports: the next would find that, and seem harmless. What has passed is imported here, and the next trial
begins behind the culprit.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import time
from typing import Any, Dict, Iterable, List, Sequence, Set

from hostel.wire import Preloaded
from hostel.zygote.descriptors import close_from, open_descriptors

TRIAL_SECONDS = 60  # for all trials together
MODULE_SECONDS = 10
NOBODY = 65534
VERDICTS = 3  # the descriptor on which a trial tells its verdicts
REASON_BYTES = 200
END = b"."  # instead of a verdict: the trial ends with the one before
CHANGES = "its import changes what a fork copies: "
REFUSED = 100  # whose reasons are told: a message has room for so many


def preload(modules: Sequence[str], place: str = "") -> Preloaded:
    """Import those of ``modules`` that pass the trial, in the given order.

    ``place``: where this interpreter lies, when its workers will lie elsewhere; what remembers it is not imported.
    """
    begin = time.monotonic()
    imported: List[str] = []
    refused: Dict[str, str] = {}
    rest = [name for name in dict.fromkeys(modules) if name not in sys.modules]
    while rest:
        for name, verdict in zip(tuple(rest), try_modules(rest, refused, begin + TRIAL_SECONDS, place)):
            rest.remove(name)
            reason = verdict or as_line(import_module(name)).decode()
            if not reason:
                imported.append(name)
                continue
            refused[name] = reason
            if not verdict:
                break  # the process is not as it was in the trial
    return Preloaded(tuple(imported), dict(list(refused.items())[:REFUSED]), time.monotonic() - begin)


def import_module(name: str) -> str:
    """Import a module; the reason why that cannot be, or nothing."""
    try:
        importlib.import_module(name)
    except BaseException as error:
        try:
            return f"{type(error).__name__}: {error}"
        except BaseException:  # it cannot even be told
            return type(error).__name__
    return ""


def as_line(reason: str) -> bytes:
    """A reason in one line of bounded size."""
    return ascii(reason)[1:-1].encode()[:REASON_BYTES]


def try_modules(modules: Sequence[str], refused: Iterable[str], deadline: float, place: str = "") -> List[str]:
    """Import the first of ``modules`` in a child, as many as one trial can; for each the reason against it, or nothing.

    What lies in a package that has been ``refused`` is not tried.
    """
    if time.monotonic() > deadline:
        return ["there was no time left to try it"] * len(modules)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _run_trial(modules, set(refused), writer, place)
        finally:
            os._exit(0)
    os.close(writer)
    reasons: List[str] = []
    data = b""
    ready = select.poll()
    ready.register(reader, select.POLLIN)
    is_over = False
    while len(reasons) < len(modules) and not is_over:
        patience = min(MODULE_SECONDS, deadline - time.monotonic())
        if patience <= 0 or not ready.poll(patience * 1000):
            reasons.append("its import takes too long")
            break
        more = os.read(reader, 65536)
        if not more:
            reasons.append("its import ends the process")
            break
        *lines, data = (data + more).split(b"\n")
        is_over = END in lines
        reasons += [line.decode("ascii", "replace") for line in lines if line != END]
    os.close(reader)
    for kill in (os.killpg, os.kill):  # with all that it has started
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os.waitpid(pid, 0)
    return reasons


def _run_trial(modules: Sequence[str], refused: Set[str], writer: int, place: str) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (null, 1), (null, 2), (writer, VERDICTS)):
        os.dup2(source, target)
    close_from(VERDICTS + 1)
    if os.geteuid() == 0:  # the names of the modules come from tenants: what they do first, they do as nobody
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    before = _what_a_fork_copies()
    pid = os.getpid()
    for name in modules:
        parts = name.split(".")
        packages = [".".join(parts[:count]) for count in range(1, len(parts))]
        culprit = next((package for package in packages if package in refused), "")
        modules_before = set(sys.modules)
        reason = f"its package {culprit} is refused" if culprit else import_module(name)
        if os.getpid() != pid:
            return  # it has forked, and this is the copy
        after = _what_a_fork_copies()
        changed = [what for what in before if before[what] != after[what]]
        if changed:
            reason = CHANGES + ", ".join(changed)
        elif not reason and _has_orphans(sys.modules.keys() - modules_before):
            reason = "its import passes over one that failed and has left half of a package behind"
        elif not reason and place and _remembers(place, sys.modules.keys() - modules_before):
            reason = "it remembers where its interpreter lies"
        if reason:
            refused.add(name)
        os.write(VERDICTS, as_line(reason) + b"\n")
        if changed or (reason and set(sys.modules) != modules_before):
            os.write(VERDICTS, END + b"\n")
            return


def _has_orphans(modules: Iterable[str]) -> bool:
    """Whether one of these modules lacks its package, which was removed when the rest of its import failed."""
    return any("." in name and name.rpartition(".")[0] not in sys.modules for name in modules)


def _remembers(place: str, modules: Iterable[str]) -> bool:
    """Whether one of these modules has a path below ``place`` among its variables, as sysconfig has."""
    values = [value for name in modules for value in list(getattr(sys.modules[name], "__dict__", {}).values())]
    texts = [os.fsdecode(value) for value in values if type(value) in (str, bytes)]
    return any(text == place or text.startswith(place + os.sep) for text in texts)


def _what_a_fork_copies() -> Dict[str, Any]:
    """What a zygote must keep as it is, for its own sake or for that of its workers."""
    return {
        "threads": os.listdir("/proc/self/task"),
        "open files": open_descriptors(),
        "child processes": _has_children(),
        "signal handlers": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "environment variables": dict(os.environ),
    }


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
