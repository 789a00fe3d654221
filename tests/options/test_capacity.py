"""What the workers may take, where the options leave it open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hostel.options.capacity import LEAST_WORKERS, budget_of, memory_of_machine
from hostel.options.server import make_server_options

TOTAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MB = 2**20


def write(root: Path, **files: str) -> str:
    for path, text in files.items():
        target = root / path.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return str(root)


def test_what_is_given_is_taken() -> None:
    assert budget_of(make_server_options({"workers": 100, "memory": "1G"})) == (100, 1024 * MB)


def test_workers_follow_from_memory() -> None:
    assert budget_of(make_server_options({"memory": "640M"})) == (20, 640 * MB)
    assert budget_of(make_server_options({"memory": "1M"})) == (LEAST_WORKERS, MB)


def test_memory_follows_from_the_machine() -> None:
    workers, memory = budget_of(make_server_options({}))
    assert 0 < memory <= 0.75 * TOTAL
    assert workers >= LEAST_WORKERS


def test_without_control_groups_it_is_all(tmp_path: Path) -> None:
    assert memory_of_machine(str(tmp_path)) == TOTAL


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc__self__cgroup": "0::/a/b\n",
            "sys__fs__cgroup__a__b__memory.max": "max",
            "sys__fs__cgroup__a__memory.max": "5242880\n",
        },
        {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__memory.max": "5242880\n"},  # in a container
        {
            "proc__self__cgroup": "5:devices:/\n4:cpu,memory:/a\n0::/\n",
            "sys__fs__cgroup__memory__memory.limit_in_bytes": "9223372036854771712",
            "sys__fs__cgroup__memory__a__memory.limit_in_bytes": "5242880",
        },
    ],
    ids=["v2", "container", "v1"],
)  # fmt: skip
def test_the_lowest_limit_of_a_control_group_counts(tmp_path: Path, files: dict[str, str]) -> None:
    assert memory_of_machine(write(tmp_path, **files)) == 5 * MB
