"""Writes the tables of the page on trust: what each level stops, as the tests have it, and how much code runs as root.

python -m tests.hostile.table docs/explanation/trust.md
"""

from __future__ import annotations

import io
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path

from tests.hostile.attacks import ATTACKS, LEVELS

SOURCE = Path(__file__).parent.parent.parent / "src" / "hostel"
# Whom a module runs as when Hostel is started by root, until it has become somebody else.
ROOT = {
    "supervisor": ("supervisor", "sandbox/cgroups.py"),
    "what a process becomes": (
        "sandbox/operations.py", "sandbox/files.py", "sandbox/syscalls.py", "sandbox/warden.py",
    ),
    "zygotes": ("zygote",),
    "messages between them": ("wire.py",),
}  # fmt: skip
MOST = 1600  # lines, of all that
# What is only ever called by a process that is not root any more: see test_what_is_not_counted_is_not_executed_as_root.
LATER = ("sandbox/landlock.py", "sandbox/seccomp.py")
MANAGER = (
    "manager", "machine", "options", "source", "plan.py", "mounts.py", "api", "sandbox/plan.py", "sandbox/site.py",
    "sandbox/identity.py", "sandbox/quota.py", "sandbox/trust.py", "sandbox/users.py", "sandbox/words.py",
)  # fmt: skip


def lines_of_code(path: Path) -> int:
    """Lines that are not empty, nor only a comment or a docstring."""
    lines: set[int] = set()
    is_start = True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING):
            is_start = True
        elif token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER):
            if not (is_start and token.type == tokenize.STRING):
                lines.update(range(token.start[0], token.end[0] + 1))
            is_start = False
    return len(lines)


def files_of(place: Path) -> list[Path]:
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))


def attacks_table() -> str:
    rows = [f"| a tenant tries to | {' | '.join(LEVELS)} |", f"|---|{'---|' * len(LEVELS)}"]
    for attack in ATTACKS:
        cells = ["stopped" if attack.is_stopped_by(level) else "**not stopped**" for level in LEVELS]
        rows.append(f"| {attack.text} | {' | '.join(cells)} |")
    return "\n".join(rows)


def count(places: Iterable[str]) -> int:
    return sum(lines_of_code(path) for place in places for path in files_of(SOURCE / place))


def root_table() -> str:
    rows = ["| part | lines of code |", "|---|---|"]
    rows += [f"| {part} | about {round(count(places), -1)} |" for part, places in ROOT.items()]
    rows.append(f"| all of these | fewer than {MOST:,} |")
    rows.append(f"| manager, with what it imports of Hostel | about {round(count(MANAGER), -2):,} |")
    rows.append(
        f"| Landlock and seccomp, which a process that is not root any more executes | about {round(count(LATER), -1)} |"
    )
    return "\n".join(rows)


def with_tables(page: str) -> str:
    """The page as it should be."""
    for name, table in (("attacks", attacks_table()), ("root", root_table())):
        before, begin, rest = page.partition(f"<!-- {name}: made by tests/hostile/table.py -->")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        assert begin and end, name
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text()))
