"""Real worker processes and applications that behave badly: whatever they do, nobody waits for ever."""

from __future__ import annotations

import json
import os
import signal

import pytest

from hostel.wire import Imported, InterfaceFound, Ready, Step
from tests.support.server import wait_for
from tests.worker.process import StartProcess
from tests.worker.running import stamp

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""


# --- a worker's life ----------------------------------------------------------------------------------------------------


def test_a_life(start_process: StartProcess) -> None:
    worker = start_process(HELLO).wait_ready()
    assert [message.name for message in worker.messages if isinstance(message, Step)] == ["become", "import"]
    assert InterfaceFound("wsgi") in worker.messages
    assert isinstance(worker.messages[-1], Ready)
    assert worker.ask().body == b"hello"
    wait_for(lambda: worker.reading[:2] == (0, 1))
    worker.drain()
    assert worker.wait_end() == 0
    assert worker.log == ""


def test_what_a_site_finds(start_process: StartProcess) -> None:
    """The process around the application is that of a fresh interpreter, with the order's environment."""
    worker = start_process(
        """
        import os, sys, signal, threading, json
        found = {
            "argv": sys.argv, "path": sys.path[0], "environ": dict(os.environ), "threads": threading.active_count(),
            "stdin": sys.stdin.read(), "terminal": sys.stdout.isatty(), "encoding": sys.stdout.encoding,
            "main": __name__, "pipe": signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN,
            "name": open("/proc/self/comm").read(),
            "descriptors": {
                name: os.readlink(f"/proc/self/fd/{name}")
                for name in os.listdir("/proc/self/fd")
                if os.path.lexists(f"/proc/self/fd/{name}")
            },
            "asyncio": "asyncio" in sys.modules,
        }
        def application(environ, start_response):
            start_response("200 OK", [])
            return [json.dumps(found).encode()]
        """,
        environment={"COLOUR": "blue", "PYTHONPATH": "/nowhere"},
    ).wait_ready()
    found = json.loads(worker.ask().body)
    assert found["argv"] == ["app:application"]
    assert os.path.samefile(found["path"], worker.log_path.parent)
    assert found["environ"] == {"COLOUR": "blue", "PYTHONPATH": "/nowhere"}
    assert (found["threads"], found["stdin"], found["terminal"]) == (1, "", False)
    assert (found["encoding"], found["main"], found["pipe"]) == ("utf-8", "app", True)
    assert found["name"] == "site:1.1\n"
    # Nothing but its own; the mapping of the scoreboard keeps a copy of its descriptor (up to Python 3.12).
    others = {name: target for name, target in found["descriptors"].items() if "hostel-scoreboard" not in target}
    assert sorted(others) == ["0", "1", "2", "3", "4"]
    assert not found["asyncio"]


def test_what_it_prints_goes_to_its_log_line_by_line(start_process: StartProcess) -> None:
    worker = start_process(
        """
        import sys, logging
        print("at import")
        def application(environ, start_response):
            print("to stdout")
            print("to stderr", file=sys.stderr)
            environ["wsgi.errors"].write("to wsgi.errors\\n")
            logging.warning("logged \\ud800 and \\u00e9")
            start_response("200 OK", [])
            return []
        """
    ).wait_ready()
    worker.ask()
    assert worker.log.splitlines() == [
        "at import", "to stdout", "to stderr", "to wsgi.errors", "WARNING:root:logged \\ud800 and \u00e9",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "reason", "step"),
    [
        ("import nothing_like_it", "no module named 'nothing_like_it'", "import"),
        ("import sys; sys.exit(3)", "module 'app' exits when it is imported (status 3)", "import"),
        ("raise RuntimeError('at import')", "RuntimeError: at import", "import"),
        ("def other(): pass", "module 'app' has no 'application'", "import"),
    ],
)
def test_a_failed_start_is_told_with_its_step(start_process: StartProcess, code: str, reason: str, step: str) -> None:
    worker = start_process(code)
    failure = worker.wait_failed()
    assert (failure.reason, failure.step) == (reason, step)
    assert failure.hint
    assert worker.wait_end() == 100
    assert worker.log.startswith(f"cannot start: {reason}\n")
    if "has no" not in reason:
        assert str(worker.log_path.parent / "app.py") in failure.sources


def test_an_operation_that_fails_is_a_failed_start(start_process: StartProcess) -> None:
    worker = start_process(HELLO, operations=[["enter_directory", "/nowhere/at/all"]])
    failure = worker.wait_failed()
    assert (failure.step, "/nowhere/at/all" in failure.reason) == ("become", True)
    assert worker.wait_end() == 100


# --- bad applications ---------------------------------------------------------------------------------------------------

ROUTES = """
    import ctypes, gc, os, signal, sys, threading, time
    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/close-own":
            for name in os.listdir("/proc/self/fd"):
                if int(name) > 4 and "socket" in os.readlink(f"/proc/self/fd/{name}"):
                    os.close(int(name))
        if path == "/close-0-to-9":
            os.closerange(0, 10)
        if path == "/close-all":
            os.closerange(0, 300)
        if path == "/close-listener":
            os.close(3)
        if path == "/replace-listener":
            os.dup2(os.open("/dev/null", os.O_RDWR), 3)
        if path == "/close-control":
            os.close(4)
        if path == "/shut-down-listener":
            import socket
            socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)
        if path == "/leak":
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (5, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        if path == "/close-streams":
            sys.stdout.close()
            sys.stderr.close()
            raise RuntimeError
        if path == "/exit":
            sys.exit(3)
        if path == "/os-exit":
            os._exit(3)
        if path == "/crash":
            ctypes.string_at(0)
        if path == "/abort":
            os.abort()
        if path == "/interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
        if path == "/recursion":
            return application(environ, start_response) + []
        if path == "/deep-error":
            error = None
            for number in range(5000):
                error, before = RuntimeError(number), error
                error.__cause__ = before
            raise error
        if path == "/strange-error":
            class Strange(Exception):
                def __str__(self):
                    raise RuntimeError
                __repr__ = __str__
            raise Strange
        if path == "/fork":
            if not os.fork():
                os._exit(0)
            os.wait()
        if path == "/thread":
            threading.Thread(target=lambda: 1 / 0).start()
        if path == "/alarm":
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        if path == "/nonblocking-listener":
            os.set_blocking(3, False)
        if path == "/default-timeout":
            import socket
            socket.setdefaulttimeout(0.01)
        if path == "/no-gc":
            gc.disable()
        if path == "/strange-close":
            start_response("200 OK", [])
            class Result(list):
                @property
                def close(self):
                    raise RuntimeError("no close for you")
            return Result([b"strange"])
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
"""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "path",
    ["/close-0-to-9", "/close-all", "/close-listener", "/replace-listener", "/shut-down-listener", "/leak"],
)  # fmt: skip
def test_a_worker_that_cannot_accept_any_more_leaves(start_process: StartProcess, path: str, threads: int) -> None:
    """Or those who wait would wait for it; another worker takes its place."""
    worker = start_process(ROUTES, threads=threads).wait_ready()
    connection = worker.request(PATH_INFO=path)
    if path not in ("/close-0-to-9", "/close-all"):
        assert connection.answer().body == str(worker.pid).encode()
    else:
        assert connection.rest() == b"" or path == "/close-0-to-9"  # the request's own connection may be the tenth
    waiting = worker.request() if path == "/leak" else None
    worker.wait_end()
    if path != "/shut-down-listener":
        following = start_process(share=worker)
        following.wait_ready()
        assert worker.ask().body == str(following.pid).encode()
        if waiting is not None:  # when it was woken for this one, it took it: nobody else would know of it
            assert waiting.answer().body.decode() in (str(worker.pid), str(following.pid))
            assert threads > 1 or "used up its worker's descriptors" in worker.log  # some may not have begun to accept


def test_a_worker_that_cannot_be_told_to_leave_leaves(start_process: StartProcess) -> None:
    worker = start_process(ROUTES).wait_ready()
    assert worker.ask(PATH_INFO="/close-control").code == 200
    assert worker.wait_end() == 0
    assert "the application has closed descriptors of its worker" in worker.log


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/close-own", 0), ("/close-streams", 500), ("/exit", 500), ("/interrupt", 500), ("/recursion", 500),
        ("/deep-error", 500), ("/strange-error", 500), ("/strange-close", 200), ("/fork", 200), ("/thread", 200),
        ("/alarm", 200), ("/nonblocking-listener", 200), ("/default-timeout", 200), ("/no-gc", 200),
    ],
)  # fmt: skip
def test_a_worker_goes_on_after(start_process: StartProcess, path: str, code: int, threads: int) -> None:
    if path in ("/interrupt", "/alarm", "/close-own") and threads > 1:
        pytest.skip("signals are for the main thread; a descriptor closed by one thread is another's at once")
    worker = start_process(ROUTES, threads=threads).wait_ready()
    if code:
        assert worker.ask(PATH_INFO=path).code == code
    else:
        assert worker.request(PATH_INFO=path).rest() == b""
    for _ in range(2 * threads):
        assert worker.ask().body == str(worker.pid).encode()
    wait_for(lambda: worker.reading[:2] == (0, 1 + 2 * threads))
    worker.drain()
    assert worker.wait_end() in (0, 120)  # 120: the interpreter could not flush the streams it had closed


@pytest.mark.parametrize(
    ("path", "status"), [("/os-exit", 3), ("/crash", -signal.SIGSEGV), ("/abort", -signal.SIGABRT)]
)
def test_a_worker_that_dies_loses_its_own_request_only(start_process: StartProcess, path: str, status: int) -> None:
    worker = start_process(ROUTES).wait_ready()
    dying = worker.request(PATH_INFO=path)
    waiting = worker.request()
    assert dying.rest() == b""
    assert worker.wait_end() == status
    if status < 0:
        assert "Current thread" in worker.log  # the stack, for the owner
    following = start_process(share=worker).wait_ready()
    assert waiting.answer().body == str(following.pid).encode()


# --- several workers on one socket --------------------------------------------------------------------------------------


def test_a_slow_request_holds_no_other_back(start_process: StartProcess) -> None:
    code = """
        import os, time
        def application(environ, start_response):
            if environ["PATH_INFO"] == "/slow":
                time.sleep(60)
            start_response("200 OK", [])
            return [str(os.getpid()).encode()]
    """
    one = start_process(code).wait_ready()
    two = start_process(share=one).wait_ready()
    one.request(PATH_INFO="/slow")
    wait_for(lambda: one.reading.busy + two.reading.busy == 1)
    free = two if one.reading.busy else one
    assert {one.ask().body for _ in range(50)} == {str(free.pid).encode()}
    for worker in (one, two):
        worker.process.kill()


def test_no_request_is_lost_when_one_of_two_idle_workers_is_told_to_leave(start_process: StartProcess) -> None:
    """The kernel wakes one of them for a request. If that one leaves, the other would never hear of it.

    All run on one processor and the leaver is a batch process, so it finds both the request and the order when it wakes.
    """
    one_processor = {min(os.sched_getaffinity(0))}
    before = os.sched_getaffinity(0)
    for _ in range(3):
        workers = [start_process(HELLO).wait_ready()]
        workers.append(start_process(share=workers[0]).wait_ready())
        for worker in workers:
            worker.wait_idle()
            os.sched_setaffinity(worker.pid, one_processor)
        os.sched_setaffinity(0, one_processor)
        try:
            connection = workers[0].connect()
            workers[0].drain()
            connection.sock.settimeout(10)
            assert connection.request().answer().body == b"hello"
        finally:
            os.sched_setaffinity(0, before)
        assert workers[0].wait_end() == 0
        for worker in workers:
            worker.close()


def test_a_request_that_waited_for_the_start_is_served(start_process: StartProcess) -> None:
    worker = start_process("import time; time.sleep(1.2)\n" + HELLO.replace("\n    ", "\n"), queue=0.5)
    connection = worker.request(HTTP_X_REQUEST_START=stamp())
    assert connection.answer().body == b"hello"


def test_what_requests_have_imported_is_told_at_the_end(start_process: StartProcess) -> None:
    """So that the next worker finds it imported."""
    worker = start_process(
        """
        import colorsys
        def application(environ, start_response):
            import sched, wave
            start_response("200 OK", [])
            return [b"found"]
        """
    ).wait_ready()
    assert "colorsys" in worker.messages[-1].modules
    worker.ask()
    worker.drain()
    imported = worker.listen()
    assert isinstance(imported, Imported)
    assert {"sched", "wave"} <= set(imported.modules)
    assert not {"colorsys", "app"} & set(imported.modules)
    assert worker.wait_end() == 0
