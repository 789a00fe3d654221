"""Writes to the channel to the manager, descriptor 4: rubbish, or what looks like messages, alone or with descriptors."""

import array
import json
import os
import socket
import threading
from typing import Any

FORGED = [
    ["Ready", 0.1, ["os"]],
    ["StartFailed", "import", "forged\n\x1b[31m", "", "", ["/etc/passwd", "/"]],
    ["InterfaceFound", "asgi"],
    ["Step", "forged\nstep", float("nan")],
    ["WorkerEnded", "neighbour", 1, 1, 9],
    ["Forked", "neighbour", 1, 1],
    ["Drain"],
    ["Stop"],
    ["KillWorker", 1, 9],
    ["Spawn", "x", ["/bin/sh"], {}, "/", False, 0, [], False, False],
]


def send(data: bytes, *descriptors: int) -> None:
    """One packet, as far as there is room for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=os.dup(4)) as channel:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        channel.sendmsg([data], ancillary, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def flood(case: str) -> None:
    """Sends until there is no more room."""
    for round_ in range(100_000):
        try:
            if case == "/garbage":
                send(os.urandom(1 + round_ % 1000))
            elif case == "/empty":
                send(b"[]")
            elif case == "/large":
                send(b"[" * 150_000)
            elif case == "/forged":
                send(json.dumps(FORGED[round_ % len(FORGED)]).encode())
            elif case == "/steps":
                send(b'["Step","x",1]')
            elif case == "/descriptors":
                send(b'["Step","x",1]', *[0] * 250)
        except OSError:
            return


def flood_for_ever() -> None:
    """Never has enough."""
    while True:
        flood("/garbage")


def application(environ: Any, start_response: Any) -> Any:
    """Floods in the way that its path names, and goes on serving."""
    case = environ["PATH_INFO"]
    if case == "/for-ever":
        threading.Thread(target=flood_for_ever, daemon=True).start()
    flood(case)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
