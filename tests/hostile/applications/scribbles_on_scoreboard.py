"""Finds the scoreboard in its memory and writes nonsense on it; tries to cut off the file behind it."""

import ctypes
import json
import math
import os
import struct
from typing import Any


def find() -> int:
    """The address of the scoreboard."""
    with open("/proc/self/maps") as file:
        for line in file:
            if "hostel-scoreboard" in line:
                return int(line.split("-")[0], 16)
    return 0


def truncate_all() -> list[str]:
    """What could be made shorter."""
    done = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.ftruncate(int(name), 0)
            done.append(name)
        except OSError:
            continue
    for name in os.listdir("/proc/self/map_files") if os.access("/proc/self/map_files", os.R_OK) else ():
        try:
            os.truncate(f"/proc/self/map_files/{name}", 0)
            done.append(name)
        except OSError:
            continue
    return done


def application(environ: Any, start_response: Any) -> Any:
    """Writes what its path names."""
    address = find()
    content = {
        "/nan": struct.pack("d", math.nan) * 512, "/infinite": struct.pack("d", math.inf) * 512,
        "/negative": struct.pack("d", -1e300) * 512, "/busy": struct.pack("d", 1.0) * 512,
        "/random": os.urandom(4096), "/huge": struct.pack("d", 1e300) * 512, "/zero": bytes(4096),
    }.get(environ["PATH_INFO"], b"")  # fmt: skip
    ctypes.memmove(address, content, len(content))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"address": address, "truncated": truncate_all()}).encode()]
