"""The plan of what a worker becomes, printed."""

from __future__ import annotations

import json

import pytest

from hostel.sandbox.identity import Identity
from hostel.sandbox.operations import OPERATIONS
from hostel.sandbox.plan import make_plan

BLOG = Identity(1234, 2345, (2345, 3456), "blog", "/home/blog")


def printed(identity: Identity | None, *, is_root: bool) -> list[str]:
    return [json.dumps(operation) for operation in make_plan(identity, "/srv/blog", is_root=is_root)]


def test_started_by_root() -> None:
    assert printed(BLOG, is_root=True) == [
        '["reset_signals"]',
        '["become_leader"]',
        '["set_groups", [2345, 3456]]',  # while it still may
        '["set_gid", 2345]',
        '["set_uid", 1234]',
        '["refuse_root"]',
        '["set_no_new_privs"]',
        '["set_dumpable"]',  # after the change of user, which takes it away
        '["set_limit", "core", 0, 0]',
        '["set_umask", 18]',
        '["enter_directory", "/srv/blog"]',  # as the site's user: root could enter any
    ]


@pytest.mark.parametrize("identity", [None, BLOG])
def test_started_by_an_ordinary_user_or_from_a_zygote_of_the_tenant(identity: Identity | None) -> None:
    assert printed(identity, is_root=False) == [
        '["reset_signals"]',
        '["become_leader"]',
        '["set_no_new_privs"]',
        '["set_dumpable"]',
        '["set_limit", "core", 0, 0]',
        '["set_umask", 18]',
        '["enter_directory", "/srv/blog"]',
    ]


def test_root_needs_to_know_whom_to_become() -> None:
    with pytest.raises(AssertionError):
        make_plan(None, "/srv/blog", is_root=True)


def test_every_planned_operation_can_be_done() -> None:
    assert {name for name, *_ in make_plan(BLOG, "/", is_root=True)} <= set(OPERATIONS)
