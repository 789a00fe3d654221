"""The plan of what a worker becomes, printed, and the guards that it is good for, in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hostel.sandbox.identity import Identity
from hostel.sandbox.operations import OPERATIONS
from hostel.sandbox.plan import LEVELS, Abilities, Guard, Limits, Operation, Places, Sandbox, Wishes, make_sandbox
from hostel.sandbox.words import WORDS, in_words

BLOG = Identity(1234, 2345, (2345, 3456), "blog", "/home/blog")
ALL = Abilities(is_root=True, has_namespaces=True, has_seccomp=True, landlock=7)
ORDINARY = Abilities(is_root=False, has_namespaces=False, has_seccomp=True, landlock=7)
OLD = Abilities(is_root=True, has_namespaces=False, has_seccomp=False, landlock=0)
PLACES = Places("/srv/blog", ("/srv/blog",), ("/usr/lib/python3",), ("/home",), 2**20)


def make(level: str = "full", abilities: Abilities = ALL, *, has_own_zygote: bool = False, **switches: bool) -> Sandbox:
    identity = BLOG if abilities.is_root else None
    return make_sandbox(identity, PLACES, Wishes(level, **switches), abilities, has_own_zygote=has_own_zygote)


def printed(operations: tuple[Operation, ...]) -> list[str]:
    return [json.dumps(operation) for operation in operations]


def test_a_worker_with_all_guards() -> None:
    assert printed(make().worker) == [
        '["reset_signals"]',
        '["become_leader"]',
        '["set_limit", "core", 0, 0]',
        '["enter_room", ["ipc", "uts"]]',  # while it still may
        '["drop_bounding_set"]',
        '["set_groups", [2345, 3456]]',
        '["set_gid", 2345]',
        '["set_uid", 1234]',
        '["refuse_root"]',
        '["clear_capabilities"]',
        '["set_no_new_privs"]',
        '["set_dumpable"]',  # after the change of user, which takes it away
        '["set_umask", 18]',
        '["enter_directory", "/srv/blog"]',  # as the site's user: root could enter any
        '["confine", ["/srv/blog"], false, 7]',
        '["refuse_system_calls"]',  # last: what comes before may need them
    ]


def test_a_room_with_all_guards() -> None:
    assert printed(make().room) == [
        '["reset_signals"]',
        '["make_room", ["ipc", "uts"]]',
        '["arrange_files", ["/srv/blog"], ["/usr/lib/python3"], ["/home"], 1048576]',
        '["mount_proc"]',  # later than arrange_files, which makes all that is there read-only
        '["drop_bounding_set"]',
        '["clear_capabilities"]',
        '["set_no_new_privs"]',
    ]


def test_a_tenants_zygote_has_all_guards_before_it_executes_anything() -> None:
    sandbox = make(has_own_zygote=True)
    assert sandbox.zygote == tuple(
        operation
        for operation in make().worker
        if operation[0] not in ("reset_signals", "become_leader", "set_dumpable", "set_umask", "enter_directory")
    )
    assert [name for name, *_ in sandbox.worker] == [
        "reset_signals", "become_leader", "set_dumpable", "set_umask", "enter_directory"
    ]  # fmt: skip
    assert sandbox.room == make().room


def test_level_user() -> None:
    assert make("user").room == ()
    assert [name for name, *_ in make("user").worker] == [
        name for name, *_ in make().worker if name != "enter_room"
    ]  # fmt: skip


def test_level_none_is_still_another_user() -> None:
    names = [name for name, *_ in make("none").worker]
    assert names == [
        "reset_signals", "become_leader", "set_limit", "set_groups", "set_gid", "set_uid", "refuse_root", "clear_capabilities",
        "set_dumpable", "set_umask", "enter_directory",
    ]  # fmt: skip
    assert make("none").room == ()


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("full", ["set_limit", "set_no_new_privs", "set_dumpable", "set_umask", "enter_directory", "confine",
                  "refuse_system_calls"]),
        ("none", ["set_limit", "set_dumpable", "set_umask", "enter_directory"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_own_zygote", [False, True])
def test_started_by_an_ordinary_user(level: str, names: list[str], has_own_zygote: bool) -> None:
    sandbox = make(level, ORDINARY, has_own_zygote=has_own_zygote)
    assert [name for name, *_ in sandbox.worker] == ["reset_signals", "become_leader", *names]
    assert (sandbox.room, sandbox.zygote) == ((), ())
    if level == "full":
        assert ("confine", ["/srv/blog"], True, 7) in sandbox.worker


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("files", {"arrange_files"}), ("processes", {"mount_proc"}), ("ipc", set()),
        ("system_calls", {"refuse_system_calls"}),
        ("privileges", {"set_no_new_privs", "drop_bounding_set", "confine", "refuse_system_calls"}),
    ],
)  # fmt: skip
def test_each_guard_can_be_switched_off(switch: str, gone: set[str]) -> None:
    wishes = Wishes("full")
    object.__setattr__(wishes, switch, False)
    sandbox = make_sandbox(BLOG, PLACES, wishes, ALL)
    has = {name for name, *_ in sandbox.worker} | {name for name, *_ in sandbox.room if name not in WARDENS_OWN}
    assert {name for name, *_ in (*make().worker, *make().room)} - has == gone
    assert not sandbox.has(switch.replace("_", " "))
    assert ("enter_room", []) in sandbox.worker if switch == "ipc" else ("enter_room", ["ipc", "uts"]) in sandbox.worker


WARDENS_OWN = {"drop_bounding_set", "clear_capabilities", "set_no_new_privs"}  # it has them whatever the site wants


def test_without_any_namespace_there_is_no_room() -> None:
    assert make(files=False, processes=False, ipc=False).room == ()


def test_an_old_machine_does_what_it_can_and_says_the_rest() -> None:
    sandbox = make("full", OLD)
    assert {guard.name: guard.text for guard in sandbox.guards if not guard.is_on} == {
        "system calls": "needs seccomp, on x86-64 or ARM64",
        "reach": "needs Linux 6.12 with Landlock",
        "files": "needs Linux 5.12, and the right to make namespaces",
        "processes": "needs Linux 5.12, and the right to make namespaces",
        "ipc": "needs Linux 5.12, and the right to make namespaces",
        "network": "it can connect to whatever this machine can: services on 127.0.0.1 need passwords of their own",
        "limits": "none",
    }
    assert sandbox.room == ()


def test_an_older_landlock_confines_files_only() -> None:
    ordinary = make("full", replace(ORDINARY, landlock=3))
    assert ordinary.has("files") and not ordinary.has("reach")
    assert ("confine", ["/srv/blog"], True, 3) in ordinary.worker


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("abilities", [ALL, ORDINARY, OLD])
def test_every_guard_says_something_and_what_is_off_is_not_done(level: str, abilities: Abilities) -> None:
    sandbox = make(level, abilities)
    assert all(guard.text for guard in sandbox.guards)
    names = {name for name, *_ in (*sandbox.worker, *sandbox.room)}
    for guard, operation in (
        ("privileges", "set_no_new_privs"),
        ("system calls", "refuse_system_calls"),
        ("user", "set_uid"),
    ):
        assert sandbox.has(guard) == (operation in {name for name, *_ in sandbox.worker}), guard
    assert names <= set(OPERATIONS)


LIMITS = Limits(2**28, 0.5, 100, 1024, 2**30, doors=("/cgroup/memory/blog/cgroup.procs",))


def test_limits_come_first_while_it_is_root() -> None:
    abilities = replace(ALL, controllers=("memory", "pids", "cpu"))
    sandbox = make_sandbox(BLOG, PLACES, Wishes("full"), abilities, LIMITS)
    assert printed(sandbox.worker)[2:6] == [
        '["enter_group", ["/cgroup/memory/blog/cgroup.procs"]]',
        '["set_limit", "core", 0, 0]',
        '["set_limit", "nofile", 1024, 1024]',
        '["set_limit", "fsize", 1073741824, 1073741824]',
    ]
    assert sandbox.guards[-1] == Guard(
        "limits", True,
        "256 MB of memory, the time of 0.5 processors, 100 processes and threads, 1024 open files of each process, "
        "1,024 MB in a file",
    )  # fmt: skip


def test_a_disk_that_cannot_be_limited_is_said() -> None:
    limits = Limits(files=64, disk=2**30)
    held = make_sandbox(BLOG, PLACES, Wishes("full"), ALL, limits).guards[-1]
    assert (held.is_on, held.text) == (True, "64 open files of each process, 1,024 MB on its disk")
    off = make_sandbox(BLOG, PLACES, Wishes("full"), ALL, replace(limits, disk_obstacle="there are no quotas")).guards[
        -1
    ]
    assert (off.is_on, off.text) == (
        False, "64 open files of each process; without 1,024 MB on its disk: there are no quotas",
    )  # fmt: skip


def test_without_control_groups_the_number_of_processes_is_that_of_the_user() -> None:
    sandbox = make_sandbox(BLOG, PLACES, Wishes("full"), ALL, replace(LIMITS, doors=()))
    assert ("set_limit", "nproc", 100, 100) in sandbox.worker
    assert not sandbox.has("limits")
    assert sandbox.guards[-1].text.endswith(
        "; without 256 MB of memory, the time of 0.5 processors, which needs root and control groups"
    )


def test_an_ordinary_user_s_other_processes_are_not_counted() -> None:
    sandbox = make_sandbox(None, PLACES, Wishes("user"), ORDINARY, replace(LIMITS, doors=()))
    assert not [operation for operation in sandbox.worker if operation[:2] == ("set_limit", "nproc")]


@pytest.mark.parametrize("abilities", [ALL, ORDINARY, OLD])
def test_every_operation_can_be_told_in_words(abilities: Abilities) -> None:
    assert WORDS.keys() == OPERATIONS.keys()
    sandbox = make_sandbox(BLOG if abilities.is_root else None, PLACES, Wishes("full"), abilities, LIMITS)
    sentences = [in_words(operation) for operation in (*sandbox.room, *sandbox.worker)]
    assert len(set(sentences)) == len({str(operation) for operation in (*sandbox.room, *sandbox.worker)})
    assert in_words(("set_umask", 0o022)) == "create files with umask 022"
    assert "/srv/blog" in in_words(("enter_directory", "/srv/blog"))


def test_root_needs_to_know_whom_to_become() -> None:
    with pytest.raises(AssertionError):
        make_sandbox(None, PLACES, Wishes("full"), ALL)


@pytest.mark.parametrize("level", LEVELS)
def test_no_network_at_any_level(level: str) -> None:
    sandbox = make(level, network=True)
    assert sandbox.has("network")
    assert sandbox.room[1][0] == "make_room"
    assert sandbox.room[1][1][-1] == "net"
    assert ("enter_room", sandbox.room[1][1]) in sandbox.worker
    assert "network" in in_words(sandbox.room[1])


@pytest.mark.parametrize(("abilities", "why"), [(ORDINARY, "started by root"), (OLD, "Linux 5.12")])
def test_no_network_where_it_cannot_be_had(abilities: Abilities, why: str) -> None:
    sandbox = make("full", abilities, network=True)
    (guard,) = [one for one in sandbox.guards if one.name == "network"]
    assert not guard.is_on
    assert why in guard.text
    assert not sandbox.room
