"""The page of a closed site: everything once, nothing that visitors are not to see, and HTML that is nested as it should."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from hostel.machine.journey import Failure, Journey
from hostel.manager.logs import TAIL_BYTES
from hostel.manager.page import PAGE_CHARACTERS, find_output, make_closed_page

TRACEBACK = (
    'Traceback (most recent call last):\n  File "/srv/app.py", line 2, in <module>\n    1 / 0\nZeroDivisionError: no\n'
)
BLOCKS = {"p", "pre", "div", "h1"}


def failure(
    reason: str = "ZeroDivisionError: no",
    hint: str = "see the traceback",
    traceback: str = TRACEBACK,
    printed: str = "",
    output: str | None = None,
) -> Failure:
    """As a worker's is that prints its record and sends it."""
    record = f"{printed}cannot start: {reason}\n{traceback}"
    return Failure(
        id="00c0ffee", time=0.0, site="shop", generation=1, step="import", reason=reason.replace("\n", " "), hint=hint,
        traceback=traceback, output=record if output is None else output,
        journey=Journey((("become", 0.0), ("import", 0.0012))),
    )  # fmt: skip


class Nesting(HTMLParser):
    """Notes what begins inside a paragraph: a browser ends that there, whatever the page says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in BLOCKS:
            if "p" in self.inside:
                self.wrong.append(f"{tag} in {self.inside}")
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            assert self.inside.pop() == tag


@pytest.mark.parametrize("is_development", [True, False])
@pytest.mark.parametrize("record", [None, failure(), failure(printed="hello\n"), failure(hint="", traceback="")])
def test_no_block_lies_inside_a_paragraph(record: Failure | None, is_development: bool) -> None:
    nesting = Nesting(make_closed_page("shop", record, is_development=is_development).html)
    assert (nesting.wrong, nesting.inside) == ([], [])


def test_everything_is_shown_once() -> None:
    page = make_closed_page("shop", failure(printed="connecting\n"), is_development=True).html
    for text in ("Traceback", "1 / 0", "connecting", "see the traceback", "Step: import", "import after 1 ms"):
        assert page.count(text) == 1, text
    assert page.count("ZeroDivisionError: no") == 2  # the reason, and the end of the traceback
    assert "cannot start" not in page
    assert "What it printed:" not in make_closed_page("shop", failure(), is_development=True).html


@pytest.mark.parametrize(
    ("record", "output"),
    [
        (failure(), ""),
        (failure(printed="a\nb\n"), "\na\nb"),
        (failure(reason="ValueError: one\ntwo"), ""),
        (failure(traceback=""), ""),
        (failure(printed="cannot start: ZeroDivisionError: no\n"), "\ncannot start: ZeroDivisionError: no"),
        (failure(output=TRACEBACK[30:]), ""),  # a long one, of which only the end is known
        (failure(traceback="x" * 50, output="x" * 10 + "\n" + "x" * 20), ""),  # a long line is cut into pieces
        (failure(output="cannot start: the engine\n"), "cannot start: the engine\n"),
        (failure(traceback="", output="Thread 0x01:\n  File"), "Thread 0x01:\n  File"),
        (failure(output=""), ""),
    ],
)
def test_what_was_printed_for_the_log_is_no_output(record: Failure, output: str) -> None:
    assert find_output(record) == output


def test_what_a_page_holds_is_bounded() -> None:
    record = failure(traceback="t" * 2 * PAGE_CHARACTERS, output="o" * TAIL_BYTES)
    assert "ooo" not in make_closed_page("shop", record, is_development=True).html
    record = failure(traceback="t" * (PAGE_CHARACTERS - 100), output="o" * TAIL_BYTES)
    page = make_closed_page("shop", record, is_development=True).html
    assert f">{'o' * 100}\n<" in page
    assert f">{'t' * (PAGE_CHARACTERS - 100)}\n<" in page


def test_visitors_see_an_id() -> None:
    page = make_closed_page("shop", failure(printed="secret\n"), is_development=False).html
    assert "00c0ffee" in page
    assert not any(text in page for text in ("secret", "Traceback", "shop", "ZeroDivisionError"))


def test_what_the_application_wrote_is_escaped() -> None:
    record = failure(reason="<b>", hint="<i>", traceback="<u>", printed="<s>")
    page = make_closed_page("shop", record, is_development=True).html
    assert not any(text in page for text in ("<b>", "<i>", "<u>", "<s>"))
    assert all(text in page for text in ("&lt;b&gt;", "&lt;i&gt;", "&lt;u&gt;", "&lt;s&gt;"))
