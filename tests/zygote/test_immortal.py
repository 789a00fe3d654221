"""What has been imported ahead is not counted any more, where the interpreter knows such objects; and all works as before."""

from __future__ import annotations

import pytest

from tests.worker.test_interpreters import interpreters, number
from tests.zygote.process import HELLO, StartZygote

SHARED = """
    import _thread, _weakref  # of those that are built in: the trial cannot read the library of every Python here
    class Thing:
        def __init__(self, value):
            self.value = value
    things = [Thing(f"thing {number}") for number in range(50_000)]
    counts = {}
    steps = (number for number in range(3))
    watched = _weakref.ref(things[0])
    lock = _thread.allocate_lock()
    class Proxy:
        __class__ = property(lambda self: 1 / 0)
    proxy = Proxy()
    def add(name):
        counts[name] = counts.get(name, 0) + 1
        return [f"{name} {count}" for count in counts.values()]
"""
USE = """
    import atexit, gc, shared, sys
    def private():
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty:"))
    before = private()
    total = sum(len(thing.value) for thing in shared.things)
    grown = private() - before
    assert [shared.add("a"), shared.add("a"), shared.add("b")] == [["a 1"], ["a 2"], ["b 2", "b 1"]]
    del shared.counts["a"]
    assert shared.counts == {"b": 1} and list(shared.steps) == [0, 1, 2] and shared.watched() is shared.things[0]
    shared.things[0].value += " more"
    assert shared.things.pop(0).value == "thing 0 more" and len(shared.things) == 49_999
    with shared.lock:
        own = [shared.Thing(number) for number in range(10)]
    ended = []
    class Own(shared.Thing):
        def __del__(self):
            ended.append(self.value)
    Own(1)
    assert ended == [1], "the site's own objects are counted"
    gc.collect()
    atexit.register(print, "the end")
    print(grown, sys.getrefcount(shared.add), flush=True)
"""


@pytest.mark.parametrize("version", sorted(interpreters(), key=number))
def test_what_is_shared_stays_shared_when_it_is_looked_at(start_zygote: StartZygote, version: str) -> None:
    zygote = start_zygote(interpreters()[version])
    zygote.module("shared", SHARED)
    answer = zygote.preload("shared")
    assert answer.imported == ("shared",), answer
    worker = zygote.fork(USE + HELLO).wait_ready()
    worker.ask()
    worker.drain()
    assert zygote.wait_ended(worker) == 0
    numbers, last = worker.log.splitlines()
    assert last == "the end"
    grown, count = map(int, numbers.split())
    if version in ("3.12", "3.13"):
        assert count == 2**32 - 1
        assert grown < 1500, "kilobytes; the things take more than five thousand"
    else:
        assert count < 20 and grown > 3000
