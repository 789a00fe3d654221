"""The site's table of states as a page of the documentation.

python -m tests.machine.diagram > docs/reference/states.md
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from hostel.machine import events as e
from hostel.machine import site
from hostel.machine.decisions import IGNORED, IMPOSSIBLE, Decision
from hostel.machine.site import TABLE
from hostel.machine.state import State

PATH = Path(__file__).parent.parent.parent / "docs" / "reference" / "states.md"
CELLS: dict[Decision, str] = {IGNORED: "·", IMPOSSIBLE: "✗"}
MEANINGS = {
    State.COLD: "No worker. The queue is watched: the first request wakes the site.",
    State.STARTING: "The first workers of a generation import the application; requests wait in the queue.",
    State.SERVING: "At least one worker takes requests. A reload grows a second generation beside the first.",
    State.DRAINING: "Workers finish what they have and leave; then the site is cold, or gone when its file is.",
    State.FAILED: "The last start failed, or workers die too often. The front answers 503; a timer tries again.",
    State.DISABLED: "`hostel stop`: no worker, and a page that says so, until `hostel start`.",
    State.PAUSED: "`hostel pause`: no worker, and requests wait in the queue, until `hostel start` or the pause's limit.",
}


def words(name: str) -> str:
    """A class's or method's name as words."""
    return re.sub(r"(?<!^)(?=[A-Z])|_", " ", name.strip("_")).lower()


def first_sentence(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def render() -> str:
    """The whole page."""
    lines = [
        "# The states of a site",
        "",
        "Made from the table in `hostel/machine/site.py` by `python -m tests.machine.diagram`; do not edit.",
        "",
        "## States",
        "",
        "| state | meaning |",
        "|---|---|",
        *(f"| {state.value} | {MEANINGS[state]} |" for state in State),
        "",
        "```",
        *picture(),
        "```",
        "",
        "## Events",
        "",
        "| event | meaning |",
        "|---|---|",
        *(f"| {words(event.__name__)} | {first_sentence(event.__doc__)} |" for event in e.EVENTS),
        "",
        "## What is decided",
        "",
        "Each cell names the decision, a method of `Decisions` in `hostel/machine/decisions.py`. "
        f"{CELLS[IGNORED]} is ignored, {CELLS[IMPOSSIBLE]} cannot be.",
        "",
        f"| event | {' | '.join(state.value for state in State)} |",
        f"|---|{'---|' * len(State)}",
        *(
            f"| {words(event.__name__)} | {' | '.join(cell(state, event) for state in State)} |" for event in e.EVENTS
        ),
        "",
        "| decision | meaning |",
        "|---|---|",
        *(f"| {words(decision.__name__)} | {first_sentence(decision.__doc__)} |" for decision in decisions()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def decisions() -> list[Decision]:
    """All methods that the table names, in the order of their names."""
    return sorted({d for d in TABLE.values() if d not in CELLS}, key=lambda decision: decision.__name__)


def cell(state: State, event: type) -> str:
    decision = TABLE[state, event]
    return CELLS.get(decision) or words(decision.__name__)


def picture() -> list[str]:
    """The drawing in the module's own text."""
    lines = inspect.cleandoc(site.__doc__ or "").splitlines()
    drawn = [number for number, line in enumerate(lines) if set(line) & set("─│▼▲►")]
    shown = lines[drawn[0] - 1 : drawn[-1] + 1]
    indent = min(len(line) - len(line.lstrip()) for line in shown if line.strip())
    return [line[indent:].rstrip() for line in shown]


if __name__ == "__main__":
    print(render(), end="")
