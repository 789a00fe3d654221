"""The folders are the architecture: who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "hostel").rglob("*.py"))
}
VALUES = (
    "hostel.errors",
    "hostel.options.guard",
    "hostel.options.site",
    "hostel.options.tables",
    "hostel.options.tenant",
    "hostel.options.fields",
    "hostel.options.declaration",
)
# What computes and does not act: no file, no process, no clock.
PURE = {
    "hostel.machine": ("hostel.machine", *VALUES),
    "hostel.certificates.pair": (),
    "hostel.mounts": VALUES,
    "hostel.plan": (*VALUES, "hostel.mounts"),
    "hostel.protocol": ("hostel.protocol", "hostel.errors"),
    "hostel.front.connection": (),
    "hostel.front.nginx": (
        "hostel.front.connection",
        "hostel.front.pages",
        "hostel.front.values",
        "hostel.front.cache",
        "hostel.front.store",
        *VALUES,
    ),
    "hostel.front.store": (),
    "hostel.front.cache": ("hostel.front.values", "hostel.front.store", *VALUES),
    "hostel.front.values": ("hostel.front.store", *VALUES),
    "hostel.front.pages": (),
    "hostel.options.site": VALUES,
    "hostel.options.tables": VALUES,
    "hostel.options.fields": VALUES,
    "hostel.options.declaration": VALUES,
    "hostel.options.server": VALUES,
    "hostel.errors": (),
}
ACTING = {
    "asyncio", "contextvars", "ctypes", "fcntl", "glob", "io", "logging", "mmap", "multiprocessing", "pathlib", "resource",
    "select", "selectors", "shutil", "socket", "subprocess", "sys", "tempfile", "threading", "time",
}  # fmt: skip
# What runs as root, or inside the interpreters of sites: the standard library and each other.
SMALL = ("hostel.errors", "hostel.wire", "hostel.protocol", "hostel.worker", "hostel.zygote", "hostel.supervisor",
         "hostel.sandbox.cgroups", "hostel.sandbox.files", "hostel.sandbox.landlock", "hostel.sandbox.operations",
         "hostel.sandbox.seccomp",
         "hostel.sandbox.syscalls", "hostel.sandbox.warden")  # fmt: skip
INSIDE_SITES = tuple(name for name in SMALL if name not in ("hostel.supervisor", "hostel.sandbox.cgroups"))
FROM_THE_SITE = {"uvicorn", "uvicorn.server"}  # of the site's environment, when its application is ASGI


def is_below(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def imports(name: str) -> Iterator[str]:
    """The full names of all modules that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and not node.level, f"{name}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def modules_below(*places: str) -> list[str]:
    found = [name for name in MODULES if is_below(name, *places)]
    assert found, places
    return found


def check(names: list[str], allowed: tuple[str, ...]) -> None:
    """That of Hostel these modules import ``allowed`` only, and the packages above it."""
    packages = {".".join(place.split(".")[:depth]) for place in allowed for depth in range(1, place.count(".") + 1)}
    wrong = [
        f"{name} imports {other}"
        for name in names
        for other in imports(name)
        if is_below(other, "hostel") and not is_below(other, *allowed) and other not in packages
    ]
    assert not wrong


@pytest.mark.parametrize("place", PURE)
def test_what_is_pure_imports_values_and_errors_only(place: str) -> None:
    names = modules_below(place)
    check(names, PURE[place])
    wrong = [f"{name} imports {other}" for name in names for other in imports(name) if other.split(".")[0] in ACTING]
    assert not wrong


def test_the_machine_knows_no_clock_no_chance_and_no_system() -> None:
    outer = {
        other.split(".")[0]
        for name in modules_below("hostel.machine")
        for other in imports(name)
        if not is_below(other, "hostel")
    }
    assert outer <= {"__future__", "collections", "dataclasses", "enum", "math", "signal", "typing"}


def test_the_command_line_and_the_views_know_nothing_of_the_managers_insides() -> None:
    for name in modules_below("hostel.cli", "hostel.api.client", "hostel.api.views", "hostel.api.framing"):
        wrong = [other for other in imports(name) if is_below(other, "hostel.manager", "hostel.machine", "hostel.wire")]
        assert not wrong, name


def test_only_the_manager_imports_the_manager() -> None:
    for name in MODULES:
        if not is_below(name, "hostel.manager"):
            assert not any(is_below(other, "hostel.manager") for other in imports(name)), name


@pytest.mark.parametrize("place", SMALL)
def test_what_multiplies_by_thousands_imports_the_standard_library_and_each_other(place: str) -> None:
    names = modules_below(place)
    check(names, SMALL)
    for name in names:
        foreign = {
            other
            for other in imports(name)
            if not is_below(other, "hostel") and other.split(".")[0] not in sys.stdlib_module_names
        }
        assert foreign <= (FROM_THE_SITE if name == "hostel.worker.asgi" else set()), name


@pytest.mark.parametrize("name", modules_below(*INSIDE_SITES))
def test_what_runs_inside_sites_is_written_in_python_3_9(name: str) -> None:
    text = MODULES[name].read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body):
        assert "from __future__ import annotations" in text
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.Match, ast.TryStar)), name
        if isinstance(node, ast.Call):
            keywords = {keyword.arg for keyword in node.keywords}
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert not (called == "dataclass" and keywords & {"slots", "kw_only"}), f"{name}: {called}"
            assert not (called == "zip" and "strict" in keywords), f"{name}: {called}"


def test_only_the_manager_the_front_and_the_control_socket_use_asyncio() -> None:
    places = (
        "hostel.manager",
        "hostel.api.framing",
        "hostel.worker.asgi",
        "hostel.worker.counted",
        "hostel.worker.running",
        "hostel.worker.gauge",
    )
    users = {name for name in MODULES if "asyncio" in set(imports(name))}
    wrong = {name for name in users if not is_below(name, *places)}
    assert not wrong


def test_nothing_is_imported_in_a_circle() -> None:
    graph = {name: {other for other in imports(name) if other in MODULES} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in graph[name] - {".".join(name.split(".")[:-1])}:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_zygote_has_no_more_in_memory_than_it_needs() -> None:
    """What it imports, every worker of every site pays for."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import hostel.zygote.loop; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(SOURCE)], capture_output=True, text=True, check=True
    )
    modules = set(result.stdout.split())
    heavy = {
        "asyncio", "concurrent", "dataclasses", "datetime", "email", "hashlib", "http", "importlib.metadata",
        "inspect", "logging", "pathlib", "pydantic", "random", "ssl", "subprocess", "tempfile", "typing_extensions", "urllib",
    }  # fmt: skip
    assert not modules & heavy
    ours = {name for name in modules if is_below(name, "hostel")}
    assert ours <= set(modules_below("hostel")) and all(
        is_below(name, "hostel.sandbox", *SMALL) for name in ours - {"hostel"}
    )
    assert len(modules) < 125
