"""A manager that does what a test tells it: python puppet.py CHANNEL SOCKET.

It connects to the test's socket, says what it was handed over, then passes on what the supervisor says and obeys the test,
all in lines of JSON. A kept descriptor is a file in memory, known by its content.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from typing import Any

from hostel.wire import Channel, Keep, Kept, Note, Running, Spawn, decode


def main() -> None:
    channel = Channel.from_descriptor(int(sys.argv[1]))
    test = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    test.connect(sys.argv[2])
    lines = test.makefile("rw")

    def say(value: Any) -> None:
        lines.write(json.dumps(value) + "\n")
        lines.flush()

    kept: dict[str, list[str]] = {}
    while True:
        received = channel.receive()
        assert received is not None
        message, descriptors = received
        if isinstance(message, Running):
            break
        assert isinstance(message, Kept)
        for name, note, descriptor in zip(message.names, message.notes, descriptors, strict=True):
            kept[name] = [note, os.pread(descriptor, 1000, 0).decode()]
            os.close(descriptor)
    say({"pid": os.getpid(), "kept": kept, "running": dict(zip(message.names, message.pids, strict=True))})
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    waiting.register(test, select.POLLIN)
    while True:
        for number, _ in waiting.poll():
            if number == channel.fileno():
                received = channel.receive()
                if received is None:
                    say(["gone"])
                    waiting.unregister(channel)
                else:
                    say([type(received[0]).__name__, *received[0]])
            else:
                order = json.loads(lines.readline() or '{"do": "exit", "code": 1}')
                if order["do"] == "exit":
                    os._exit(order["code"])
                elif order["do"] == "keep":
                    files = [os.memfd_create("kept") for _ in order["names"]]
                    for descriptor, content in zip(files, order["contents"], strict=True):
                        os.write(descriptor, content.encode())
                    channel.send(Keep(tuple(order["names"]), tuple(order["notes"])), files)
                    for descriptor in files:
                        os.close(descriptor)
                elif order["do"] == "send":
                    channel.send(decode(json.dumps(order["message"]).encode()), order.get("descriptors", ()))
                elif order["do"] == "speak and die":
                    file = os.memfd_create("kept")
                    os.write(file, order["name"].encode())
                    channel.send(Keep((order["name"],), ("",)), [file])
                    channel.send(Note(order["name"], f"note {order['name'].rpartition('/')[2]}"))
                    os.kill(os.getpid(), signal.SIGKILL)
                elif order["do"] == "talk without listening":
                    say("done")
                    while True:
                        channel.send(Spawn("chatter", ("true",), {}, "/", has_output=False))
                say("done")


if __name__ == "__main__":
    main()
