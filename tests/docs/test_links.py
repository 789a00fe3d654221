"""Every link within the documents leads somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.document import ROOT

DOCUMENTS = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
        *(ROOT / "src").rglob("*.md"),
    )
    if "site-packages" not in path.parts
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links_of(path: Path) -> list[str]:
    """The targets of a document's links that lead to this repository."""
    targets = LINK.findall(FENCE.sub("", path.read_text()))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors_of(path: Path) -> set[str]:
    """The names of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert not [f"{link}: {wrong}" for link in links_of(document) if (wrong := what_is_wrong(document, link))]


def what_is_wrong(document: Path, link: str) -> str:
    """Why a link leads nowhere, or nothing."""
    target, _, anchor = link.partition("#")
    path = (document.parent / target).resolve() if target else document
    if not path.is_relative_to(ROOT):
        return "it leads out of the repository"
    if not path.exists():
        return f"there is no {path.relative_to(ROOT)}"
    if anchor and path.suffix == ".md" and anchor not in anchors_of(path):
        return f"it has no such heading, but {', '.join(sorted(anchors_of(path)))}"
    return ""


def test_the_readme_has_links() -> None:
    assert len(links_of(ROOT / "README.md")) > 10
