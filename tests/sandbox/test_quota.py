"""Quotas of file systems: asked for, set, and said when there are none."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.errors import HostError
from hostel.sandbox import quota
from tests.support.server import make_folder

UID = 1_900_000_777


class Kernel:
    """Keeps what it is told, as the kernel does where quotas are on; ``test_a_real_one`` is its contract."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.limits: dict[int, tuple[int, ...]] = {}
        self.is_deaf = is_deaf
        self.sets = 0

    def __call__(self, path: str, command: int, uid: int, data: bytes) -> bytes:
        if command == quota._SET:
            self.sets += 1
            fields = struct.unpack(quota._FORMAT, data)
            assert fields[8] == quota._BLOCK_LIMITS
            if not self.is_deaf:
                self.limits[uid] = fields
        return struct.pack(quota._FORMAT, *self.limits.get(uid, (0,) * 9))


def test_a_limit_is_set_once_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setattr(quota, "_quotactl", kernel)
    assert quota.find_limit("/", UID) == 0
    for _ in range(3):
        quota.set_limit("/", UID, 10_000_001)
    assert (quota.find_limit("/", UID), kernel.sets) == (10_000_384, 1)
    assert quota.find_limit("/", UID + 1) == 0
    quota.set_limit("/", UID, 0)
    assert quota.find_limit("/", UID) == 0


def test_a_limit_that_does_not_hold_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_quotactl", Kernel(is_deaf=True))
    with pytest.raises(HostError, match="does not hold"):
        quota.set_limit("/", UID, 1024)


def test_where_there_are_none_the_reason_is_said() -> None:
    """The kernel's own files have none anywhere."""
    assert quota.obstacle("/proc", UID).startswith("the file system of /proc has no quotas by user that are on (")
    assert "cannot be looked at" in quota.obstacle("/nonexistent", UID)
    with pytest.raises(HostError):
        quota.set_limit("/proc", UID, 1024)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk with quotas by user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = make_folder()
    image, place = folder / "image", folder / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(24 * 2**20)
    made = subprocess.run(
        f"mkfs.ext4 -q -O quota -E quotatype=usrquota {image} && mount -o loop,usrquota {image} {place}",
        shell=True, capture_output=True, check=False,
    )  # fmt: skip
    try:
        if made.returncode:
            pytest.skip("this kernel makes no disk with quotas")
        yield place
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_a_real_one(disk: Path) -> None:
    assert quota.obstacle(str(disk), UID) == ""
    quota.set_limit(str(disk), UID, 2**20)
    assert quota.find_limit(str(disk), UID) == 2**20
    (disk / "own").mkdir()
    os.chown(disk / "own", UID, UID)
    code = f"open({str(disk / 'own' / 'file')!r}, 'wb', buffering=0).write(bytes(2 ** 22))"
    subprocess.run(
        ["/usr/bin/python3", "-c", code], user=UID, group=UID, extra_groups=[], capture_output=True, check=False
    )
    assert (disk / "own" / "file").stat().st_size <= 2**20
