"""What the front's configuration, the manager and the janitor agree on about the cache. Pure, and the standard library only:
the janitor is to stay small."""

from __future__ import annotations

MODULES = ("uwsgi", "proxy")  # nginx's, for WSGI and ASGI; each has a folder of its own in the cache's
UNKEPT = "tmp/unkept"  # the folder of the marks, in the run directory
FULL = "tmp/full"  # is there while the cache's disk is full
FREE_BYTES = 64 * 2**20  # with less the disk counts as full


def read(spelled: str, name: str) -> str:
    """One of the values that the name of a folder spells (``values.spell``); empty when it is not there."""
    return dict(word.split("=") for word in spelled.split(";") if word).get(name, "")
