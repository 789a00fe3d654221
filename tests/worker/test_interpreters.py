"""What runs inside a site's interpreter: every Python from 3.9 on that is found here runs it, and it imports little."""

from __future__ import annotations

import functools
import glob
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.support.server import wait_for
from tests.worker.process import PACKAGE, StartProcess

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
CURRENT = "{}.{}".format(*sys.version_info)

# What a site's interpreter runs (besides the sites themselves); ASGI workers add uvicorn, and what that needs.
FILES = (
    "__init__.py", "errors.py", "wire.py", "protocol/*.py", "worker/*.py", "zygote/*.py",
    "sandbox/__init__.py", "sandbox/operations.py", "sandbox/syscalls.py",
)  # fmt: skip

# The top-level modules that a zygote may have imported beyond a bare interpreter (which differs from version to
# version): each of them is in the memory of every worker. All are of the standard library.
BUDGET = """
    __future__ _collections _collections_abc _colorize _ctypes _functools _heapq _json _locale _operator _socket _sre
    _stat _struct _suggestions _tokenize _typing _weakrefset abc array ast codeop collections contextlib copyreg ctypes
    enum errno faulthandler fcntl functools gc genericpath heapq hostel importlib io itertools json keyword linecache
    math mmap operator os posixpath re reprlib resource select selectors signal socket sre_compile sre_constants
    sre_parse stat string struct textwrap threading token tokenize traceback types typing warnings weakref
"""
MODULES = 100  # in all; 3.12 has most, with 91
TOO_HEAVY = (
    "asyncio",
    "pydantic",
    "uvicorn",
    "click",
    "rich",
    "typing_extensions",
    "logging",
    "inspect",
    "dataclasses",
)

IMPORT_LIKE_A_ZYGOTE = """
import sys
before = set(sys.modules)
import importlib.util, json
spec = importlib.util.spec_from_file_location("entry", sys.argv[1] + "/zygote/__main__.py")
entry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(entry)
entry.adopt_package()
import hostel.zygote.loop
print(json.dumps(sorted(set(sys.modules) - before)))
"""

COMPILE = """
import sys
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        compile(file.read(), name, "exec")
"""


@functools.lru_cache
def interpreters() -> dict[str, str]:
    """The Python of each version, as far as it is on this machine: on the path or made by pyenv."""
    found = {CURRENT: sys.executable}
    for version in VERSIONS:
        root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
        made = sorted(glob.glob(f"{root}/versions/{version}.*/bin/python"))  # none where the root cannot be read
        for candidate in (shutil.which(f"python{version}"), *made):
            if candidate and version not in found and works(candidate, version):
                found[version] = candidate
    return found


def number(version: object) -> int:
    """Orders versions of Python 3."""
    return int(str(version)[2:])


def works(python: str, version: str) -> bool:
    """Whether this is what its name says: the commands of pyenv are there for versions that are not chosen, too."""
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    result = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    return result.returncode == 0 and result.stdout.strip() == version


each_python = pytest.mark.parametrize("version", sorted(interpreters(), key=number))


def run(version: str, code: str, *arguments: str) -> str:
    result = subprocess.run(
        [interpreters()[version], "-I", "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@each_python
def test_every_file_compiles(version: str) -> None:
    files = [str(path) for pattern in FILES for path in Path(PACKAGE).glob(pattern)]
    assert len(files) > 20
    run(version, COMPILE, *files)


@each_python
def test_the_import_budget_of_a_zygote(version: str) -> None:
    imported = json.loads(run(version, IMPORT_LIKE_A_ZYGOTE, PACKAGE))
    assert {name.partition(".")[0] for name in imported} - set(BUDGET.split()) == set()
    assert not set(TOO_HEAVY) & set(imported)
    assert len(imported) <= MODULES
    ours = [name for name in imported if name.startswith("hostel")]
    assert {name.split(".")[1] for name in ours if "." in name} == {
        "errors", "wire", "protocol", "worker", "zygote", "sandbox",
    }  # fmt: skip


@each_python
def test_the_import_budget_of_a_worker(start_process: StartProcess, version: str) -> None:
    """Up to the site's own code, a worker imports no more than its zygote has."""
    worker = start_process(
        """
        import sys
        found = sorted(sys.modules)
        def application(environ, start_response):
            start_response("200 OK", [])
            return [repr(found + sorted(sys.modules)).encode()]
        """,
        python=interpreters()[version],
    ).wait_ready()
    bare = json.loads(run(version, "import sys, json; print(json.dumps(sorted(sys.modules)))"))
    zygote = json.loads(run(version, IMPORT_LIKE_A_ZYGOTE, PACKAGE))
    found = set(eval(worker.ask().body))
    # The rest is the work of tests/worker/child.py, and what an interpreter loads with "-X utf8".
    assert found - set(bare) - set(zygote) <= {"app", "entry", "encodings.utf_8", "encodings.ascii"}


@each_python
@pytest.mark.parametrize("threads", [1, 2])
def test_it_serves(start_process: StartProcess, version: str, threads: int) -> None:
    worker = start_process(
        """
        import gzip, io, sys, zlib
        from wsgiref.validate import validator

        @validator
        def checked(environ, start_response):
            body = environ["wsgi.input"].read(10_000_000)
            start_response("200 OK", [("Content-Type", "text/plain"), ("X-Version", sys.version.split()[0])])
            return [b"%d" % zlib.crc32(body)]

        def application(environ, start_response):
            path = environ["PATH_INFO"]
            if path == "/file":
                start_response("200 OK", [])
                return environ["wsgi.file_wrapper"](open(__file__, "rb"))
            if path == "/lines":
                start_response("200 OK", [])
                return (line.upper() for line in environ["wsgi.input"])
            if path == "/broken":
                raise ValueError
            if path == "/header":
                start_response("200 OK", [("X", "a\\r\\nb")])
            return checked(environ, start_response)
        """,
        python=interpreters()[version],
        threads=threads,
    ).wait_ready()
    answer = worker.ask()
    assert str(answer.get("x-version")).startswith(version)
    body = os.urandom(1_000_000)
    assert int(worker.ask(body, REQUEST_METHOD="POST").body) == zlib.crc32(body)
    assert worker.ask(PATH_INFO="/file").body == (worker.folder / "app.py").read_bytes()
    assert worker.ask(b"one\ntwo", PATH_INFO="/lines").body == b"ONE\nTWO"
    assert worker.ask(REQUEST_METHOD="HEAD").body == b""
    assert [worker.ask(PATH_INFO=path).code for path in ("/broken", "/header")] == [500, 500]
    assert "ValueError" in worker.log
    wait_for(lambda: worker.reading[:2] == (0, 7))
    worker.drain()
    assert worker.wait_end() == 0
    assert "Warning" not in worker.log


@each_python
def test_a_failed_start_is_told(start_process: StartProcess, version: str) -> None:
    failure = start_process("import missing_thing\n", python=interpreters()[version]).wait_failed()
    assert failure.reason == "no module named 'missing_thing'"
    assert failure.traceback.splitlines()[1].strip().startswith('File "')
    assert "app.py" in failure.traceback.splitlines()[1]
