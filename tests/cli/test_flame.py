"""The flame graph: what is drawn where, and that no name of a module is more than text."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from hostel.cli.flame import WIDTH, draw

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}


def an_import(module: str, parent: int, begin: float, seconds: float, owner: str = "package") -> dict[str, Any]:
    return {"module": module, "parent": parent, "begin": begin, "seconds": seconds, "own": seconds, "owner": owner}


def a_start(*imports: dict[str, Any]) -> dict[str, Any]:
    stages = [
        {"name": "fork", "begin": 0.0, "seconds": 0.2, "text": "it is forked"},
        {"name": "import", "begin": 0.2, "seconds": 0.8, "text": "it imports"},
    ]
    return {"site": "blog", "path": "/", "status": 200, "seconds": 1.0, "stages": stages, "imports": list(imports)}


def boxes(picture: str) -> dict[str, tuple[float, float, float]]:
    """Left, top and width of each rectangle, by the beginning of its title."""
    found = {}
    for group in ElementTree.fromstring(picture).findall("svg:g", NAMESPACE):
        title, rect = group.find("svg:title", NAMESPACE), group.find("svg:rect", NAMESPACE)
        assert title is not None and title.text is not None and rect is not None
        found[title.text.split(",")[0].split(":")[0]] = tuple(float(rect.get(key, "")) for key in ("x", "y", "width"))
    return found  # type: ignore[return-value]


def test_time_goes_to_the_right_and_whom_it_imports_below() -> None:
    start = a_start(
        an_import("app", -1, 0.0, 0.6, "site"), an_import("django", 0, 0.1, 0.5), an_import("flask", 0, 0.5, 0.05),
        an_import("tiny", 1, 0.1, 0.00001), an_import("late", -1, 0.7, 0.1),
    )  # fmt: skip
    found = boxes(draw(start))
    assert set(found) == {"fork", "import", "app", "django", "flask", "late"}  # what is too narrow is not drawn
    scale = found["fork"][2] / 0.2
    assert abs(scale - WIDTH) < 1
    assert abs(found["app"][0] - found["import"][0]) < 1
    assert abs(found["app"][2] / scale - 0.6) < 0.01
    assert found["django"][1] == found["flask"][1] > found["app"][1] == found["late"][1] > found["fork"][1]
    assert found["django"][0] > found["app"][0]


def test_names_are_text_and_nothing_else() -> None:
    hostile = '</title></svg><script>alert(1)</script>"\x00\x1b\ud800'
    picture = draw(a_start(an_import(hostile, -1, 0.0, 0.5), an_import("liar", 7, 0.0, 0.3, "nobody's")))
    root = ElementTree.fromstring(picture.encode())  # it is well-formed
    kinds = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert kinds == {"svg", "style", "text", "rect", "g", "title"}
    assert "<script>alert" in "".join(root.itertext())
    assert boxes(picture)["liar"][1] > 0


def test_a_start_that_came_nowhere_is_drawn_too() -> None:
    start = a_start() | {"seconds": 0.0, "stages": [], "status": 0}
    assert "no answer" in draw(start)
    assert boxes(draw(start)) == {}
