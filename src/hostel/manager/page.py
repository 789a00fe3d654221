"""What visitors of a closed site see: an id, or in development everything. Pure: a failure in, HTML and JSON out."""

from __future__ import annotations

import html
import time

from hostel.front.pages import BY_KIND, Document, make_page, make_problem
from hostel.machine.journey import Failure

PAGE_CHARACTERS = 16_000  # of traceback and output in a page; it has to fit into a message to a zygote
FAILED = "\ncannot start: "  # what a worker that fails prints last, with the reason and the traceback behind it


def make_closed_page(site: str, failure: Failure | None, *, is_development: bool, retried_at: float = 0.0) -> Document:
    """The answer of a site that was stopped (no failure), or does not start. ``retried_at``: in seconds since the epoch."""
    if failure is None:
        return make_document("Down for maintenance", "This site has been stopped by its owner. Please come back later.")
    if not is_development:
        again = time.strftime("It is tried again at %H:%M:%S UTC. ", time.gmtime(retried_at)) if retried_at else ""
        text = f"{again}Its owner finds the reason in the log under this id:"
        return make_document("This site does not start", text, failure.id)
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
    title = f"Site {site} does not start"
    problem = make_problem(BY_KIND["closed"], title, failure.reason, failure.id)
    return Document(make_page(title, "\n".join(parts)), problem)


def make_document(title: str, text: str, problem_id: str = "") -> Document:
    """A short answer in both forms."""
    with_id = f"{html.escape(text)} <code>{html.escape(problem_id)}</code>" if problem_id else html.escape(text)
    detail = f"{text} {problem_id}" if problem_id else text
    problem = make_problem(BY_KIND["closed"], title, detail, problem_id)
    return Document(make_page(title, f"<p>{with_id}</p>"), problem)


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
