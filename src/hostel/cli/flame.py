"""A flame graph of a start's imports as SVG: time to the right, who imported whom downwards. Pure: values in, text out.

The hard part is that the names come from tenants and the picture is opened in a browser. So every text is escaped, nothing
in it is a script or a link, and what is too narrow to be seen is left out: its time stays in the module that imported it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, ROW, SIDE, TOP = 1200.0, 18, 10, 92
LEAST = 0.5  # pixels that an import is wide, to be drawn
CHARACTER = 6.6  # pixels, of the font below
COLOURS = {"site": "#e8743b", "package": "#f2c14e", "python": "#8fb8de", "stage": "#d9d9d9"}
WORDS = {"site": "the site's own", "package": "of its environment", "python": "of Python"}
STYLE = """\
text { font: 11px ui-monospace, Menlo, Consolas, monospace; fill: #1a1a1a }
.title { font: bold 15px system-ui, sans-serif } .note { font: 12px system-ui, sans-serif; fill: #555 }
rect { stroke: #fff; stroke-width: .5 } g.module:hover rect { stroke: #000; stroke-width: 1.5 }
svg { background: #fff }"""


def draw(start: Mapping[str, Any]) -> str:
    """The picture of a start, which is a ``StartView`` as plain values."""
    whole = max(float(start["seconds"]), 1e-6)
    fork = next((each["begin"] + each["seconds"] for each in start["stages"] if each["name"] == "fork"), 0.0)
    scale = WIDTH / whole
    depths = depths_of(start["imports"])
    shown = [
        (each, depth) for each, depth in zip(start["imports"], depths, strict=True) if each["seconds"] * scale >= LEAST
    ]
    height = TOP + ROW * (3 + max((depth for _, depth in shown), default=0)) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 2 * SIDE:g}" height="{height}" '
        f'viewBox="0 0 {WIDTH + 2 * SIDE:g} {height}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{SIDE}" y="24">{in_xml(title_of(start))}</text>',
        f'<text class="note" x="{SIDE}" y="42">Time goes to the right; below a module is what its import has imported. '
        f"The mouse tells the times. {len(start['imports'])} modules were imported, {len(shown)} are wide enough to be seen."
        "</text>",
        *legend(),
    ]
    for stage in start["stages"]:
        text = f"{stage['name']}: {milliseconds(stage['seconds'])}; {stage['text']}"
        parts.append(box(stage["begin"] * scale, stage["seconds"] * scale, 0, stage["name"], text, "stage"))
    for each, depth in shown:
        left = (fork + each["begin"]) * scale
        text = f"{each['module']}, {WORDS.get(each['owner'], '')}: {milliseconds(each['seconds'])}"
        text += f", {milliseconds(each['own'])} of it for itself"
        parts.append(box(left, each["seconds"] * scale, depth + 1.5, each["module"], text, each["owner"]))
    return "\n".join([*parts, "</svg>", ""])


def title_of(start: Mapping[str, Any]) -> str:
    answer = f"status {start['status']}" if start["status"] else "no answer"
    return f"How site {start['site']} starts: {milliseconds(start['seconds'])} to the first byte of {start['path']} ({answer})"


def depths_of(imports: Sequence[Mapping[str, Any]]) -> list[int]:
    """How deep each import lies in others; one that names a parent behind itself lies in none."""
    depths: list[int] = []
    for number, each in enumerate(imports):
        depths.append(depths[each["parent"]] + 1 if 0 <= each["parent"] < number else 0)
    return depths


def legend() -> list[str]:
    parts = []
    for number, (owner, words) in enumerate(WORDS.items()):
        left = SIDE + number * 150
        parts.append(f'<rect x="{left}" y="54" width="12" height="12" fill="{COLOURS[owner]}"/>')
        parts.append(f'<text class="note" x="{left + 17}" y="64">{in_xml(words)}</text>')
    return parts


def box(left: float, width: float, row: float, label: str, text: str, kind: str) -> str:
    """A rectangle with what fits of its label, and all of it for the mouse. ``left`` and ``width`` are in pixels."""
    left = SIDE + min(max(left, 0.0), WIDTH)
    width = max(min(width, SIDE + WIDTH - left), 0.5)
    top = TOP + row * ROW
    room = int((width - 6) / CHARACTER)
    shown = label if len(label) <= room else f"{label[: room - 1]}…" if room >= 3 else ""
    words = f'<text x="{left + 3:.1f}" y="{top + 12.5:.1f}">{in_xml(shown)}</text>' if shown else ""
    return (
        f'<g class="module"><title>{in_xml(text)}</title>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{ROW - 1}" rx="2" '
        f'fill="{COLOURS.get(kind, "#ccc")}"/>{words}</g>'
    )


def in_xml(text: str) -> str:
    """A text that XML can hold: escaped, and without the characters that it has no way to write."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"
