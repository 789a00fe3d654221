"""What a worker becomes before site code runs, as a list of operations: pure, printable, tested without running it."""

from __future__ import annotations

from typing import Any

from hostel.sandbox.identity import Identity

Operation = tuple[Any, ...]


def make_plan(identity: Identity | None, directory: str, *, is_root: bool) -> list[Operation]:
    """The operations in the order of their execution.

    Args:
        identity: whom to become; None when Hostel runs unprivileged and all sites run as its caller.
        directory: the absolute path where the site works.
        is_root: whether the worker's parent runs as root.
    """
    plan: list[Operation] = [("reset_signals",), ("become_leader",)]
    if is_root:
        assert identity is not None, "root runs no site as itself"
        plan += [
            ("set_groups", list(identity.groups)),
            ("set_gid", identity.gid),
            ("set_uid", identity.uid),
            ("refuse_root",),
        ]
    plan += [
        ("set_no_new_privs",),
        ("set_dumpable",),
        ("set_limit", "core", 0, 0),
        ("set_umask", 0o022),
        ("enter_directory", directory),
    ]
    return plan
