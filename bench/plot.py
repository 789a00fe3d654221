"""A plot as SVG, from numbers alone: two logarithmic axes, a curve for each name, and a cross where something failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 400, 70, 55, 50, 110
COLOURS = ("#b3541e", "#1f6f8b", "#5b8c3a", "#7a4b94")


@dataclass(frozen=True)
class Curve:
    """Points of x, y, and whether all was well there."""

    name: str
    points: Sequence[tuple[float, float, bool]]


def draw(title: str, x_name: str, y_name: str, curves: Sequence[Curve]) -> str:
    xs = [x for curve in curves for x, _, _ in curve.points]
    ys = [y for curve in curves for _, y, _ in curve.points]
    x_low, x_high = min(xs) / 1.2, max(xs) * 1.1
    y_low, y_high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / x_low) / math.log(x_high / x_low)
        up = math.log(y / y_low) / math.log(y_high / y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="25" font-size="16">{title}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_name}</text>',
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{y_name}</text>',
    ]
    y = y_low
    while y <= y_high:
        _, at = place(x_low, y)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
        y *= 10
    for x in sorted(set(xs)):
        at, _ = place(x, y_low)
        parts.append(f'<path d="M{at:.1f} {HEIGHT - BOTTOM}v5" stroke="#333"/>')
    last = 0.0
    for x in sorted(set(xs)):
        at, _ = place(x, y_low)
        if at - last > 32:  # there is room for another number
            parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x:g}</text>')
            last = at
    for curve, colour in zip(curves, COLOURS, strict=False):
        spots = [place(x, y) for x, y, _ in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, _, is_good) in zip(spots, curve.points, strict=True):
            if is_good:
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            else:
                parts.append(
                    f'<path d="M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12" stroke="{colour}" stroke-width="3"/>'
                )
        x, y = spots[-1]
        parts.append(f'<text x="{x + 10:.1f}" y="{y + 4:.1f}" fill="{colour}">{curve.name}</text>')
    return "\n".join([*parts, "</svg>", ""])
