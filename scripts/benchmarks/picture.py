"""Curves as an SVG picture with a few panels. The horizontal axis has powers of ten, the vertical one begins
at zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 430, 280
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 50, 50
"""The margins of a panel around its axes."""
COLOURS = ("#1f6feb", "#d1622b", "#2da44e", "#8250df")
STYLE = "font-family: sans-serif; font-size: 12px; fill: #24292f"


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    across: str
    """The label of the horizontal axis."""
    up: str
    """The unit of the vertical axis."""
    curves: list[Curve]


def drawn(panels: Sequence[Panel], columns: int = 2) -> str:
    """The panels side by side, ``columns`` in a row."""
    lines = ceil(len(panels) / columns)
    width, height = columns * WIDTH, lines * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="{STYLE}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, panel in enumerate(panels):
        x, y = index % columns * WIDTH, index // columns * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> list[str]:
    points = [point for curve in panel.curves for point in curve.points]
    parts = [_text(LEFT, 20, panel.title, "font-weight: bold")]
    if not points:
        return [*parts, _text(LEFT, HEIGHT / 2, "not measured")]
    scale = _Scale(points)
    for exponent in range(scale.first, scale.last + 1):
        x = scale.x(10.0**exponent)
        parts.append(_rule(x, TOP, x, HEIGHT - BOTTOM))
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{10**exponent:,}", "text-anchor: middle"))
    for mark in scale.marks():
        y = scale.y(mark)
        parts.append(_rule(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(LEFT - 6, y + 4, f"{mark:g}", "text-anchor: end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, panel.across, "text-anchor: middle"))
    parts.append(_text(LEFT - 40, TOP - 10, panel.up))
    for index, curve in enumerate(panel.curves):
        parts += _curve(curve, scale, COLOURS[index % len(COLOURS)], index)
    return parts


def _curve(curve: Curve, scale: _Scale, colour: str, index: int) -> list[str]:
    places = [(scale.x(x), scale.y(y)) for x, y in curve.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>']
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    name_at = LEFT + 70 + 160 * index
    parts.append(f'<rect x="{name_at}" y="{TOP - 20}" width="10" height="10" fill="{colour}"/>')
    return [*parts, _text(name_at + 15, TOP - 10, curve.name)]


class _Scale:
    """Converts values to places in a panel."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.first = floor(log10(min(x for x, _ in points)))
        self.last = max(self.first + 1, ceil(log10(max(x for x, _ in points))))
        highest = max(y for _, y in points) or 1.0
        unit = 10.0 ** floor(log10(highest))
        self.step = next(step for step in (unit / 5, unit / 2, unit, 2 * unit) if highest / step <= 6)
        self.top = self.step * ceil(highest / self.step)

    def marks(self) -> list[float]:
        return [self.step * i for i in range(round(self.top / self.step) + 1)]

    def x(self, value: float) -> float:
        share = (log10(value) - self.first) / (self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d7de"/>'
