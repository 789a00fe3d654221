"""Preloading: what imports cleanly in a trial is there for all workers, and nothing else has left a trace."""

from __future__ import annotations

import os

import pytest

from hostel.zygote.preload import CHANGES
from tests.support.server import is_alive, wait_for
from tests.zygote.process import HELLO, ZygoteProcess

BAD = {  # a module's code, and why it is refused
    "threads": ("import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()", f"{CHANGES}threads"),
    "files": ("kept = open('/dev/null')", f"{CHANGES}open files"),
    "sockets": ("import socket; kept = socket.socketpair()", f"{CHANGES}open files"),
    "closes": ("import os; os.close(0)", f"{CHANGES}open files"),
    "replaces": ("import os; file = open('/etc/passwd'); os.dup2(file.fileno(), 0); file.close()", f"{CHANGES}open files"),
    "closes_all": ("import os; os.closerange(0, 100)", "its import ends the process"),
    "forks": ("import os, time\nif not os.fork(): time.sleep(1000)", f"{CHANGES}child processes"),
    "goes_on_forked": ("import os; os.fork()", f"{CHANGES}child processes"),
    "runs_away": ("import os\nif os.fork(): os._exit(0)", "its import ends the process"),
    "signals": ("import signal; signal.signal(signal.SIGTERM, print)", f"{CHANGES}signal handlers"),
    "child_signals": ("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)", f"{CHANGES}signal handlers"),
    "environment": ("import os; os.environ['COLOUR'] = 'blue'", f"{CHANGES}environment variables"),
    "several": ("import os; os.environ.clear(); os.close(0)", f"{CHANGES}open files, environment variables"),
    "raises_and_changes": ("import os; os.close(0); 1 / 0", f"{CHANGES}open files"),
    "ends": ("import os; os._exit(0)", "its import ends the process"),
    "dies": ("import os; os.kill(os.getpid(), 11)", "its import ends the process"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    "fails": ("raise RuntimeError('no settings\\nh\u00e9re')", r"RuntimeError: no settings\nh\xe9re"),
    "fails_strangely": ("class Strange(Exception):\n    __str__ = None\nraise Strange", "Strange"),
    "does_not_compile": ("def", "SyntaxError: "),
    "wants_more": ("import missing", "ModuleNotFoundError: No module named 'missing'"),
}  # fmt: skip


def check_loaded(zygote: ZygoteProcess, *expected: str) -> None:
    """That of our modules workers find exactly these."""
    names = sorted(path.stem for path in zygote.packages.glob("*.py"))
    worker = zygote.fork(f"    print(*[name for name in {names} if name in sys.modules]){HELLO}").wait_ready()
    assert worker.log.split() == sorted(expected)
    worker.drain()
    assert zygote.wait_ended(worker) == 0


def test_what_would_spoil_a_fork_is_refused_and_spoils_nothing(zygote: ZygoteProcess) -> None:
    """All in one order, so none of them may spoil the trial of the next either."""
    for name, (code, _) in BAD.items():
        zygote.module(name, code)
    zygote.module("plain", "import json, threading, socket; lock = threading.Lock(); value = 5")
    answer = zygote.preload(*BAD, "plain")
    assert answer.imported == ("plain",)
    assert answer.refused.keys() == BAD.keys()
    for name, (_, reason) in BAD.items():
        assert answer.refused[name].startswith(reason), name
    check_loaded(zygote, "plain")


def test_what_imports_a_refused_module_is_refused_in_every_order(zygote: ZygoteProcess) -> None:
    zygote.module("first", "import opening")
    zygote.module("opening", "kept = open('/dev/null')")
    zygote.module("last", "import opening")
    zygote.module("harmless")
    answer = zygote.preload("first", "opening", "last", "harmless")
    assert answer.imported == ("harmless",)
    assert answer.refused == dict.fromkeys(("first", "opening", "last"), f"{CHANGES}open files")
    check_loaded(zygote, "harmless")
    assert zygote.preload("last", "opening").imported == ()
    check_loaded(zygote, "harmless")


def test_what_a_failed_import_has_half_done_is_tried_again(zygote: ZygoteProcess) -> None:
    """In its own trial it fails as well, and no worker sees what it does before it does so."""
    zygote.module("registry", "found = []")
    zygote.module("outer", "import inner\nraise RuntimeError")
    zygote.module("inner", "import registry\nregistry.found.append('inner')\nimport outer")
    answer = zygote.preload("outer", "missing", "inner", "registry")
    assert answer.imported == ("registry",)
    assert list(answer.refused) == ["outer", "missing", "inner"]
    worker = zygote.fork(f"    import registry; print(registry.found){HELLO}").wait_ready()
    assert worker.log == "[]\n"


def test_half_of_a_package_is_not_left_behind(zygote: ZygoteProcess) -> None:
    """As by an import that passes over an optional package, whose second half cannot be imported here."""
    zygote.module("optional.", "from optional import half, missing")
    zygote.module("optional.half")
    zygote.module("application", "try:\n    import optional\nexcept ImportError:\n    pass")
    answer = zygote.preload("application", "optional.half", "optional")
    assert answer.imported == ()
    worker = zygote.fork(
        f"    import sys; print([name for name in sys.modules if 'optional' in name]){HELLO}"
    ).wait_ready()
    assert worker.log == "[]\n"


@pytest.mark.slow
def test_what_lies_in_a_refused_package_is_not_tried(zygote: ZygoteProcess) -> None:
    """Each of its modules would hang as long as itself does."""
    zygote.module("hanging.", "import time; time.sleep(1000)")
    parts = [zygote.module(f"hanging.part{number}") for number in range(20)]
    zygote.module("hanging_not")
    answer = zygote.preload("hanging", *parts, "hanging_not")
    assert answer.refused.pop("hanging") == "its import takes too long"
    assert answer.refused == dict.fromkeys(parts, "its package hanging is refused")
    assert answer.imported == ("hanging_not",)
    check_loaded(zygote, "hanging_not")


def test_packages_and_what_is_there_already(zygote: ZygoteProcess) -> None:
    zygote.module("whole.", "from whole import part")
    zygote.module("whole.part")
    assert zygote.preload("os", "sys", "whole", "whole.part").imported == ("whole", "whole.part")
    assert zygote.preload("whole").imported == ()
    assert zygote.preload()[:2] == ((), {})


def test_a_trial_ends_with_all_that_it_has_started(zygote: ZygoteProcess) -> None:
    place = zygote.folder / "pid"
    place.touch()
    place.chmod(0o666)
    code = "import os, time\nif not os.fork():\n    open({!r}, 'w').write(str(os.getpid()))\n    time.sleep(1000)\n"
    zygote.module("leaving", code.format(str(place)) + f"while not os.stat({str(place)!r}).st_size: time.sleep(0.01)")
    assert zygote.preload("leaving").refused == {"leaving": f"{CHANGES}child processes"}
    wait_for(lambda: not is_alive(int(place.read_text())))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_trial_of_root_runs_as_nobody(zygote: ZygoteProcess) -> None:
    zygote.module("asking", "import os; raise RuntimeError(os.getresuid(), os.getresgid(), os.getgroups())")
    nobody = (65534, 65534, 65534)
    assert zygote.preload("asking").refused == {"asking": f"RuntimeError: {(nobody, nobody, [])}"}


def test_a_trial_has_nothing_of_the_zygote(zygote: ZygoteProcess) -> None:
    zygote.module("looking", "import os; raise RuntimeError(sorted(map(int, os.listdir('/proc/self/fd'))))")
    # Its three streams, its verdicts, and the listing.
    assert zygote.preload("looking").refused == {"looking": "RuntimeError: [0, 1, 2, 3, 4]"}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", ".json", "a/b", "a\nb", "\0", "\u00e9", "\ud800", "x" * 10_000]
)
def test_names_that_are_none_are_refused(zygote: ZygoteProcess, name: str) -> None:
    zygote.module("plain")
    answer = zygote.preload(name, "plain")
    assert (answer.imported, list(answer.refused)) == (("plain",), [name])
    check_loaded(zygote, "plain")


def test_an_answer_fits_into_a_message_whatever_is_refused(zygote: ZygoteProcess) -> None:
    """As many names, and as long, as the manager remembers, and reasons that grow on their way."""
    failing = [zygote.module(f"failing{number}", "raise RuntimeError('\\\\\\0\"' * 1000)") for number in range(100)]
    missing = [f"missing{'.part' * 20}{number}" for number in range(800)]
    answer = zygote.preload(*failing, *missing)
    assert list(answer.refused) == failing
