"""The measurement of imports, under every Python that is found here: what it sees, and that it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from tests.worker.process import PACKAGE
from tests.worker.test_interpreters import each_python, run

RECORD = """
import importlib, importlib.util, json, os, sys, threading, time
spec = importlib.util.spec_from_file_location("recorder", sys.argv[1] + "/worker/imports.py")
recorder_module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recorder_module)
sys.path.insert(0, sys.argv[2])
system = sys.modules["_frozen_importlib"]
before = system._find_and_load
recorder = recorder_module.Recorder()
born = time.monotonic()
recorder.start()
import outer
importlib.import_module("pack.inner.leaf")
thread = threading.Thread(target=__import__, args=("elsewhere",))
thread.start()
thread.join()
errors = []
for name in ("missing.sub", "broken", "broken"):
    try:
        importlib.import_module(name)
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")
recorder.stop()
import after
rows = recorder.rows(born, sys.argv[2])
print(json.dumps([rows, errors, system._find_and_load is before, sys.modules["pack"].inner.leaf.__name__]))
"""


@each_python
def test_what_was_imported_by_whom_and_how_long_it_took(version: str, tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text("import time\nimport slow\nimport slow\nfrom pack import inner\n")
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.05)\n")
    (tmp_path / "broken.py").write_text("import harmless\n1 / 0\n")
    for name in ("after", "elsewhere", "harmless"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "inner" / "__init__.py").touch()
    (tmp_path / "pack" / "inner" / "leaf.py").touch()
    rows, errors, is_restored, leaf = json.loads(run(version, RECORD, PACKAGE, str(tmp_path)))
    names = [row[0] for row in rows]
    importers = {name: rows[row[1]][0] if row[1] >= 0 else "" for name, row in zip(names, rows, strict=True)}
    expected = {
        "outer": "", "slow": "outer", "pack": "outer", "pack.inner": "outer", "pack.inner.leaf": "", "broken": "",
        "harmless": "broken", "missing": "",
    }  # fmt: skip
    assert {name: importers[name] for name in expected} == expected
    assert names.count("slow") == names.count("pack") == 1
    assert names.count("broken") == 2  # it is tried twice, for the first time has failed
    assert not {"after", "elsewhere", "missing.sub"} & set(names)
    time_of = {row[0]: row[3] for row in rows}
    assert time_of["outer"] >= time_of["slow"] >= 50_000 > time_of["pack.inner.leaf"] >= 0
    begin_of = {row[0]: row[2] for row in rows}
    assert begin_of["outer"] <= begin_of["slow"] < begin_of["pack.inner.leaf"]
    assert {row[4] for row in rows if row[0] in ("outer", "slow", "pack.inner.leaf")} == {0}  # the site's own
    assert errors == ["ModuleNotFoundError: No module named 'missing'", *["ZeroDivisionError: division by zero"] * 2]
    assert is_restored
    assert leaf == "pack.inner.leaf"
