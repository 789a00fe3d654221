"""What the front answers when a site cannot: a small page for people, problem details for programs (RFC 9457). Pure.

Declared once: the files that nginx serves, the text of a refusal that a worker cannot hand to the front, and the table in
the reference come from here. A page is one file without scripts, readable in the dark and by a screen reader.
"""

from __future__ import annotations

import functools
import html
import importlib.resources
import json
from dataclasses import dataclass

FOLDER = "pages"  # in the run directory
PAUSES = (15, 60)  # seconds after which a closed site may be tried again, if it is not soon


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """One reason for an answer of the front's own. ``retry``: seconds after which it is worth asking again, 0 for never."""

    kind: str
    status: int
    title: str
    text: str
    retry: int = 0


PAGES = (
    ErrorPage("unknown", 404, "There is nothing here", "This address is not known on this server."),
    ErrorPage("nothing", 404, "There is nothing here", "This site has no page at this address."),
    ErrorPage("misdirected", 421, "There is nothing here", "This address is not known on this connection."),
    ErrorPage("large", 413, "This is too large", "The server does not take uploads of this size."),
    ErrorPage("many", 429, "Too many requests", "You have sent very many requests. Please wait a moment.", retry=1),
    ErrorPage("failed", 500, "This did not work", "The site has failed. Its log says why."),
    ErrorPage("broken", 502, "This did not work", "The site ended in the middle of your request. Please try again."),
    ErrorPage("busy", 503, "Too many visitors", "The site is very busy at the moment. Please try again.", retry=1),
    ErrorPage("closed", 503, "This site is closed", "It does not start, or has been stopped. Please come back later.", retry=5),
    ErrorPage("late", 504, "This took too long", "The site did not answer in time."),
)  # fmt: skip
BY_KIND = {page.kind: page for page in PAGES}


@dataclass(frozen=True, slots=True)
class Document:
    """One answer in both forms."""

    html: str
    json: str


def make_page(title: str, text: str) -> str:
    """A page of our own; ``text`` is HTML."""
    return read_template().replace("[title]", html.escape(title)).replace("[text]", text)


@functools.cache
def read_template() -> str:
    """The page that all are made from; read once, because it is needed when nothing can be opened any more."""
    return importlib.resources.files("hostel.front").joinpath("page.html").read_text()


def make_problem(page: ErrorPage, title: str = "", detail: str = "", problem_id: str = "") -> str:
    """Problem details: ``type`` names the kind, ``retry`` is seconds, ``id`` is what the owner finds in the log."""
    problem: dict[str, object] = {
        "type": f"urn:hostel:{page.kind}",
        "title": title or page.title,
        "status": page.status,
        "detail": detail or page.text,
    }
    if problem_id:
        problem["id"] = problem_id
    if page.retry:
        problem["retry"] = page.retry
    return json.dumps(problem) + "\n"


def files() -> dict[str, str]:
    """The files that the front needs in ``FOLDER``, by name."""
    found = {}
    for page in PAGES:
        found[f"{page.kind}.html"] = make_page(page.title, f"<p>{html.escape(page.text)}</p>")
        found[f"{page.kind}.json"] = make_problem(page)
    return found
