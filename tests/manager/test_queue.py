"""The length of a queue, from the kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.manager.queue import QueueMeter


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "app.sock"))
        sock.listen(100)
        yield sock


def connect(listener: socket.socket, count: int) -> list[socket.socket]:
    clients = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    for client in clients:
        client.connect(listener.getsockname())
    return clients


def close(clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()


def test_all_who_wait_are_counted(listener: socket.socket) -> None:
    meter = QueueMeter()
    if meter._kernel is None:
        pytest.skip("this kernel has no socket diagnostics")
    assert meter.length(listener.fileno()) == 0
    clients = connect(listener, 7)
    assert meter.length(listener.fileno()) == 7
    listener.accept()[0].close()
    assert meter.length(listener.fileno()) == 6
    meter.close()
    close(clients)


def test_without_the_kernels_count_it_is_known_whether_anybody_waits(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no such protocol")

    monkeypatch.setattr("hostel.manager.queue.socket.socket", refuse)
    meter = QueueMeter()
    monkeypatch.undo()
    assert meter.length(listener.fileno()) == 0
    clients = connect(listener, 7)
    assert meter.length(listener.fileno()) == 1
    close(clients)


def test_a_socket_that_the_kernel_does_not_know_is_no_reason_to_fail(listener: socket.socket, tmp_path: Path) -> None:
    meter = QueueMeter()
    with (tmp_path / "file").open("w") as file:
        assert meter.length(file.fileno()) == 1, "poll says that a file is readable"
    clients = connect(listener, 2)
    assert meter.length(listener.fileno()) == 1, "from then on by poll"
    close(clients)
