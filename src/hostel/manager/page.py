"""The page that visitors of a closed site see: an id, or in development everything. Pure: a failure in, HTML out."""

from __future__ import annotations

import html

from hostel.front.nginx import make_page
from hostel.machine.journey import Failure

PAGE_CHARACTERS = 16_000  # of traceback and output in a page; it has to fit into a message to a zygote
FAILED = "\ncannot start: "  # what a worker that fails prints last, with the reason and the traceback behind it


def make_closed_page(site: str, failure: Failure | None, *, is_development: bool) -> str:
    """The page of a site that was stopped (no failure), or does not start."""
    if failure is None:
        return make_page("Down for maintenance", "This site has been stopped by its owner. Please come back later.")
    if not is_development:
        text = f"Its owner finds the reason in the log under this id: <code>{failure.id}</code>"
        return make_page("This site does not start", text)
    traceback = failure.traceback.strip("\n")[-PAGE_CHARACTERS:]
    output = find_output(failure).strip("\n")
    output = output[max(0, len(output) + len(traceback) - PAGE_CHARACTERS) :]
    parts = [f"<p><strong>{html.escape(failure.reason)}</strong></p>"]
    if failure.hint:
        parts.append(f"<p>{html.escape(failure.hint)}</p>")
    if traceback:
        parts.append(f"<pre>{html.escape(traceback)}\n</pre>")
    if output:
        parts.append(f"<p>What it printed:</p>\n<pre>{html.escape(output)}\n</pre>")
    steps = ", ".join(f"{name} after {seconds * 1000:.0f} ms" for name, seconds in failure.journey.steps)
    parts.append(f"<p>Step: {html.escape(failure.step)} ({html.escape(steps)})</p>")
    return make_page(f"Site {html.escape(site)} does not start", "\n".join(parts))


def find_output(failure: Failure) -> str:
    """What a worker printed until it failed, without the traceback that it printed for the log.

    The output is known by its end only, and very long lines of it are cut into pieces.
    """
    head, found, tail = f"\n{failure.output}".rpartition(FAILED)
    if found and tail.replace("\n", " ").startswith(failure.reason):
        return head
    if failure.traceback.replace("\n", "").endswith(failure.output.replace("\n", "")):
        return ""
    return failure.output
