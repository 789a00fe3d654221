"""A worker that has become a virtualenv after the fork is compared with an interpreter that was started in there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import make_folder
from tests.worker.test_interpreters import interpreters, number
from tests.zygote.process import HELLO, StartZygote

# What an interpreter says of itself. What is no data is told by its type, as its place in memory differs.
DESCRIBE = """
    import json, os, site, subprocess, sys, sysconfig

    DATA = (str, bytes, int, float, bool, type(None))
    # The command line, the streams, what has been imported, and the site's directory, which is added to the path, differ.
    OTHERS = ("argv", "orig_argv", "modules", "path_importer_cache", "stdin", "stdout", "stderr", "path")

    def told(value):
        if isinstance(value, DATA):
            return repr(value)
        if isinstance(value, (list, tuple)):
            return [told(one) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted(map(repr, value))
        if isinstance(value, dict):
            return {repr(key): told(one) for key, one in value.items()}
        return f"{type(value).__name__} {getattr(value, '__qualname__', '')}"

    def describe(before):
        import multiprocessing.spawn
        import pip._internal.locations
        from pip._internal.utils.virtualenv import running_under_virtualenv
        import inner, extra
        found = {f"sys.{name}": told(getattr(sys, name)) for name in dir(sys) if name not in OTHERS}
        found["sys.orig_argv"] = getattr(sys, "orig_argv", [""])[0]
        found["sys.path"] = [path for path in sys.path if path != before]
        found.update({f"site.{name}": told(value) for name, value in vars(site).items() if not name.startswith("__")})
        found["getsitepackages"] = site.getsitepackages()
        found["getusersitepackages"] = site.getusersitepackages()
        found["sysconfig paths"] = sysconfig.get_paths()
        found["sysconfig schemes"] = {name: sysconfig.get_paths(name) for name in sysconfig.get_scheme_names()}
        found["sysconfig variables"] = told(sysconfig.get_config_vars())
        scheme = pip._internal.locations.get_scheme("package")
        found["pip"] = [running_under_virtualenv(), scheme.purelib, scheme.scripts, scheme.data]
        found["multiprocessing"] = os.fsdecode(multiprocessing.spawn.get_executable())
        found["flags of children"] = subprocess._args_from_interpreter_flags()
        found["a child"] = subprocess.check_output(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-c",
             "import inner, sys; print(sys.prefix, sys.base_prefix, sys.executable, sys.path, inner.__file__)"]
        ).decode()
        found["packages"] = [inner.__file__, extra.__file__, inner.__spec__.origin]
        found["at the start"] = told(getattr(sys, "said", None))
        return json.dumps(found)
"""
APP = """
    print(describe(sys.path[0]))
    stale = os.environ["STALE"]
    print(json.dumps([f"{name}.{key}" for name, module in list(sys.modules.items())
                      for key, value in list(getattr(module, "__dict__", {}).items())
                      if isinstance(value, str) and value.startswith(stale)]), flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = make_folder()
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


def make_virtualenv(path: Path, python: str) -> Path:
    """A virtualenv with packages and path configuration files; its folder of packages."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(path)], check=True)
    (packages,) = path.glob("lib/python3*/site-packages")
    (packages / "inner.py").write_text("")
    (packages / "sitecustomize.py").write_text("import sys\nsys.customized = True\n")
    more = path / "more"
    more.mkdir()
    (more / "extra.py").write_text("")
    (packages / "a.pth").write_text(f"{more}\n")
    (packages / "b.pth").write_text("import sys; sys.said = [sys.prefix, sys.executable, list(sys.path)]\n")
    import pip

    (more / "pip").symlink_to(Path(pip.__file__).parent)
    return packages


def start(start_zygote: StartZygote, version: str) -> Any:
    return start_zygote(interpreters()[version], is_bare=True)


@pytest.mark.parametrize("version", sorted({"3.9", "3.11", "3.13"} & interpreters().keys(), key=number))
@pytest.mark.parametrize("has_system", [False, True])
def test_it_is_as_if_it_had_been_started_in_there(
    start_zygote: StartZygote, folder: Path, version: str, has_system: bool
) -> None:
    zygote = start(start_zygote, version)
    answer = zygote.preload("sysconfig", "multiprocessing.spawn", "colorsys")
    assert "sysconfig" in answer.refused, "which remembers where its interpreter lies"
    path = folder / "environment"
    make_virtualenv(path, interpreters()[version])
    if has_system:
        configuration = (path / "pyvenv.cfg").read_text()
        (path / "pyvenv.cfg").write_text(configuration.replace("packages = false", "packages = true"))
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/", "STALE": str(zygote.folder) + "/"}
    worker = zygote.fork(
        textwrap.dedent(DESCRIBE) + textwrap.dedent(APP) + textwrap.dedent(HELLO),
        virtualenv=str(path),
        environment=variables,
    ).wait_ready()
    said, stale = worker.log.splitlines()[-2:]
    script = folder / "describe.py"
    script.write_text(textwrap.dedent(DESCRIBE) + "print(describe(''))\n")
    fresh = subprocess.run(
        [path / "bin" / "python", "-I", "-X", "utf8", str(script)],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found, expected = json.loads(said), json.loads(fresh.stdout.splitlines()[-1])
    keys = found.keys() | expected.keys()
    different = {key: (found.get(key), expected.get(key)) for key in keys if found.get(key) != expected.get(key)}
    assert not different, json.dumps(different, indent=1)
    assert [name for name in json.loads(stale) if not name.startswith(("__main__.", "hostel.", "app."))] == []
    worker.drain()
    assert zygote.wait_ended(worker) == 0


def test_many_virtualenvs_one_after_the_other(start_zygote: StartZygote, folder: Path) -> None:
    zygote = start(start_zygote, "{}.{}".format(*sys.version_info))
    base = os.path.realpath(sys.executable)
    for name in ("one", "two", "three"):
        packages = make_virtualenv(folder / name, base)
        (packages / "which.py").write_text(f"NAME = {name!r}\n")
        worker = zygote.fork(
            "import which, sys\nprint(which.NAME, sys.prefix, sys.said[0])\n" + textwrap.dedent(HELLO),
            virtualenv=str(folder / name),
        ).wait_ready()
        assert worker.log.split() == [name, str(folder / name), str(folder / name)]
        worker.drain()
        assert zygote.wait_ended(worker) == 0


def test_one_that_was_made_of_another_python_is_refused(start_zygote: StartZygote, folder: Path) -> None:
    zygote = start(start_zygote, "{}.{}".format(*sys.version_info))
    make_virtualenv(folder / "other", os.path.realpath(sys.executable))
    (folder / "other" / "pyvenv.cfg").write_text("home = /opt/bin\n")
    worker = zygote.fork(HELLO, virtualenv=str(folder / "other"))
    assert zygote.wait_ended(worker) == 100
    assert "was made of the Python in /opt/bin" in worker.log
