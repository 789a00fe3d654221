"""Which test notices when a guard is taken away: each guard's code is switched off in turn, and its test has to fail.

    python -m tests.hostile.mutations [NAME...]

The source is changed in place, as servers of tests run it from there, and put back. An entry without ``old`` empties a function.
It takes some minutes; that the list has every operation of a plan, and fits the source, is tested always.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SANDBOX = "src/hostel/sandbox"
UNIT = "tests/sandbox/test_operations.py"
ATTACK = "tests/hostile/test_isolation.py::test_what_each_level_stops"


@dataclass(frozen=True)
class Mutation:
    """A guard that is taken away. ``place``: the file, and after a colon the function that does nothing any more."""

    name: str
    place: str
    test: str
    old: str = ""
    new: str = ""

    @property
    def path(self) -> Path:
        return ROOT / self.place.partition(":")[0]

    def change(self, text: str) -> str:
        """The source without the guard; raises ``ValueError`` when the guard is not found in it."""
        if self.old:
            if text.count(self.old) != 1:
                raise ValueError(f"{self.name}: {text.count(self.old)} times in {self.path}")
            return text.replace(self.old, self.new)
        function = self.place.partition(":")[2]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name == function:
                lines = text.splitlines(keepends=True)
                first = node.body[0]
                lines.insert(first.lineno - 1, f"{' ' * first.col_offset}return None\n")
                return "".join(lines)
        raise ValueError(f"{self.name}: no function {function} in {self.path}")


def operation(name: str, test: str) -> Mutation:
    return Mutation(name, f"{SANDBOX}/operations.py:{name}", test)


OPERATIONS = (
    operation("reset_signals", f"{UNIT}::test_reset_signals"),
    operation("become_leader", f"{UNIT}::test_become_leader"),
    operation("set_groups", f"{UNIT}::test_no_groups_at_all"),
    operation("set_gid", f"{UNIT}::test_the_change_of_user_is_complete_and_for_good"),
    operation("set_uid", f"{UNIT}::test_the_change_of_user_is_complete_and_for_good"),
    operation("refuse_root", f"{UNIT}::test_a_site_is_never_run_as_root"),
    operation("drop_bounding_set", f"{UNIT}::test_capabilities"),
    operation("clear_capabilities", f"{UNIT}::test_capabilities"),
    operation("set_no_new_privs", f"{UNIT}::test_no_new_privs"),
    operation("set_dumpable", f"{UNIT}::test_dumpable_after_the_change_of_user"),
    operation("set_umask", f"{UNIT}::test_umask"),
    operation("set_limit", f"{UNIT}::test_limits"),
    operation("enter_directory", f"{UNIT}::test_directory"),
    operation("confine", f"{UNIT}::test_confined_writing"),
    operation("refuse_system_calls", f"{UNIT}::test_refused_system_calls"),
    operation("enter_group", "tests/hostile/test_limits.py::test_files"),
    operation("make_room", f"{ATTACK}[full-shared-memory]"),
    operation("enter_room", f"{ATTACK}[full-home]"),
    operation("arrange_files", f"{ATTACK}[full-home]"),
    operation("mount_proc", f"{ATTACK}[full-processes]"),
)

CHECKS = (
    Mutation(
        "set_groups reads back", f"{SANDBOX}/operations.py", f"{UNIT}::test_what_the_kernel_did_not_do_is_noticed",
        "if sorted(set(os.getgroups())) != sorted(set(groups)):", "if False:",
    ),
    Mutation(
        "set_gid reads back", f"{SANDBOX}/operations.py", f"{UNIT}::test_what_the_kernel_did_not_do_is_noticed",
        "if os.getresgid() != (gid, gid, gid):", "if False:",
    ),
    Mutation(
        "set_uid reads back", f"{SANDBOX}/operations.py", f"{UNIT}::test_what_the_kernel_did_not_do_is_noticed",
        "if os.getresuid() != (uid, uid, uid):", "if False:",
    ),
    Mutation(
        "set_uid tries to have root back", f"{SANDBOX}/operations.py", f"{UNIT}::test_what_the_kernel_did_not_do_is_noticed",
        "    if uid:\n        try:", "    if False:\n        try:",
    ),
    Mutation(
        "no_new_privs reads back", f"{SANDBOX}/operations.py", f"{UNIT}::test_what_the_kernel_did_not_do_is_noticed",
        "if syscalls.prctl(syscalls.PR_GET_NO_NEW_PRIVS) != 1:", "if False:",
    ),
    Mutation(
        "capabilities are read back", f"{SANDBOX}/operations.py", f"{UNIT}::test_capabilities",
        "if any(syscalls.capabilities()):", "if False:",
    ),
    Mutation(
        "no site is root", f"{SANDBOX}/identity.py", "tests/sandbox/test_identity.py",
        "if entry.pw_uid == 0 or entry.pw_gid == 0:", "if False:",
    ),
    Mutation(
        "the least number of a user", f"{SANDBOX}/identity.py",
        "tests/sandbox/test_identity.py::test_users_of_the_system_are_no_sites",
        "if min(entry.pw_uid, entry.pw_gid) < least:", "if False:",
    ),
    Mutation(
        "root's group", f"{SANDBOX}/identity.py", "tests/sandbox/test_identity.py::test_other_ways_to_be_root",
        "if 0 in groups:", "if False:",
    ),
    Mutation(
        "clone with namespaces", f"{SANDBOX}/seccomp.py", f"{UNIT}::test_refused_system_calls",
        "(_ANY_BIT, NAMESPACES, refuse, allow)", "(_ANY_BIT, 0, refuse, allow)",
    ),
    Mutation(
        "typing into terminals", f"{SANDBOX}/seccomp.py", f"{UNIT}::test_refused_system_calls",
        '(_EQUAL, TIOCSTI, refuse, "")', '(_EQUAL, 0, refuse, "")',
    ),
    Mutation(
        "messages that are cut off", "src/hostel/wire.py",
        "tests/test_wire.py::test_a_broken_message_is_an_error_and_leaks_no_descriptor",
        "if received_flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):", "if False:",
    ),
    Mutation(
        "descriptors of broken messages", "src/hostel/wire.py",
        "tests/test_wire.py::test_a_broken_message_is_an_error_and_leaks_no_descriptor",
        "            for descriptor in descriptors:\n                os.close(descriptor)\n            raise",
        "            raise",
    ),
    Mutation(
        "the number of a message's fields", "src/hostel/wire.py", "tests/test_wire.py::test_each_wrong_message_is_refused",
        "if len(values) != len(fields):", "if False:",
    ),
    Mutation(
        "the kinds of a message's fields", "src/hostel/wire.py", "tests/test_wire.py::test_each_wrong_message_is_refused",
        "if not _CHECKS[annotation](values[index]):", "if False:",
    ),
)  # fmt: skip
MUTATIONS = (*OPERATIONS, *CHECKS)


def is_caught(mutation: Mutation) -> bool:
    """Whether the test fails without the guard; the source is as it was afterwards."""
    original = mutation.path.read_text()
    mutation.path.write_text(mutation.change(original))
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.test]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        mutation.path.write_text(original)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutation.name}: the test could not be run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def main(names: list[str]) -> int:
    survivors = []
    for mutation in MUTATIONS:
        if not names or mutation.name in names:
            caught = is_caught(mutation)
            print(f"{'caught  ' if caught else 'SURVIVED'}  {mutation.name}  by {mutation.test}", flush=True)
            survivors += [] if caught else [mutation.name]
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
