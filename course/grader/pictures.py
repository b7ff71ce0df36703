"""Small pictures as inline SVG: no script, no font to load, with a text for those who do not see them.

`picture` draws the plain numbers of a result:

    {"kind": "parity", "x": targets, "y": predictions, "unit": "eV/atom"}
    {"kind": "families", "x": names, "y": mean absolute errors, "unit": "eV/atom"}
    {"kind": "rotation", "x": degrees, "y": energies, "unit": "eV/atom"}

Anything else, and numbers that are none, give no picture: a page is never lost for one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#767676"  # Okabe and Ito's palette, as in mg9/plots.py
WIDTH, HEIGHT, LEFT, BOTTOM = 360, 220, 56, 40  # pixels; the margins hold the axes' texts
MOST = 1000  # points or bars


def picture(figure: Mapping | None) -> Markup:
    """The picture of a result, empty if there is none."""
    try:
        draw = {"parity": _parity, "families": _families, "rotation": _rotation}[figure["kind"]]
        return draw(figure)
    except (KeyError, TypeError, ValueError, OverflowError):
        return Markup("")


def histogram(totals: Sequence[float], most: float, bins: int = 10) -> Markup:
    """How many students have how many of `most` points."""
    counts = [0] * bins
    for total in totals:
        counts[min(bins - 1, int(bins * total / most))] += 1
    edges = [f"{most * n / bins:g}" for n in range(bins + 1)]
    names = [f"{low} to {high}" for low, high in zip(edges, edges[1:], strict=False)]
    return bars(dict(zip(names, counts, strict=True)), "students, by points", whole=True)


def bars(values: Mapping[str, float], label: str, *, whole: bool = False) -> Markup:
    """Horizontal bars, each with its name and value."""
    names = [str(name)[:40] for name in values]
    numbers = _numbers(values.values())
    largest, step = max([*numbers, 1e-12]), 20
    parts = []
    for row, (name, value) in enumerate(zip(names, numbers, strict=True)):
        y, length = row * step, 150 * max(value, 0) / largest
        text = f"{value:.0f}" if whole else f"{value:.3g}"
        parts.append(
            f'<text x="148" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="154" y="{y + 3}" width="{length:.1f}" height="14" fill="{BLUE}"/>'
            f'<text x="{158 + length:.1f}" y="{y + 14}">{text}</text>'
        )
    said = ", ".join(f"{n}: {v:.3g}" for n, v in zip(names, numbers, strict=True))
    below = f'<text x="154" y="{len(names) * step + 14}">{escape(label)}</text>'
    return _svg("".join(parts) + below, f"{label}. {said}", len(names) * step + 20)


def _parity(figure: Mapping) -> Markup:
    target, prediction = _numbers(figure["x"]), _numbers(figure["y"])
    unit = str(figure.get("unit", ""))[:20]
    low, high = min(target + prediction), max(target + prediction)
    x, y = _scale(low, high, LEFT, WIDTH - 10), _scale(low, high, HEIGHT - BOTTOM, 10)
    dots = "".join(
        f'<circle cx="{x(t):.1f}" cy="{y(p):.1f}" r="2" fill="{BLUE}" fill-opacity="0.5"/>'
        for t, p in zip(target, prediction, strict=True)
    )
    line = (
        f'<line x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" y2="{y(high):.1f}" stroke="{GREY}"/>'
    )
    error = sum(abs(t - p) for t, p in zip(target, prediction, strict=True)) / len(target)
    text = f"{len(target)} predictions against their target; mean absolute error {error:.3g} {unit}"
    return _svg(line + dots + _axes(low, high, low, high, f"target ({unit})", f"predicted ({unit})"), text)


def _families(figure: Mapping) -> Markup:
    errors = dict(zip(map(str, figure["x"]), _numbers(figure["y"]), strict=True))
    ordered = dict(sorted(errors.items(), key=lambda item: -item[1]))
    return bars(ordered, f"mean absolute error ({str(figure.get('unit', ''))[:20]})")


def _rotation(figure: Mapping) -> Markup:
    degrees, energy = _numbers(figure["x"]), _numbers(figure["y"])
    unit = str(figure.get("unit", ""))[:20]
    spread = max(energy) - min(energy)
    middle, half = (max(energy) + min(energy)) / 2, max(spread, 1e-6)
    x = _scale(min(degrees), max(degrees), LEFT, WIDTH - 10)
    y = _scale(middle - half, middle + half, HEIGHT - BOTTOM, 10)
    points = " ".join(f"{x(d):.1f},{y(e):.1f}" for d, e in zip(degrees, energy, strict=True))
    level = (
        f'<line x1="{LEFT}" y1="{y(energy[0]):.1f}" x2="{WIDTH - 10}" y2="{y(energy[0]):.1f}" stroke="{GREY}"'
    )
    level += ' stroke-dasharray="4 3"/>'
    curve = f'<polyline points="{points}" fill="none" stroke="{VERMILLION}" stroke-width="2"/>'
    text = f"The energy under rotation varies by {spread:.3g} {unit}; it should be one level line"
    ends = (min(degrees), max(degrees), middle - half, middle + half)
    return _svg(level + curve + _axes(*ends, "angle (degrees)", f"energy ({unit})"), text)


def _numbers(values: object) -> list[float]:
    numbers = [float(value) for value in values][:MOST]
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError("no numbers to draw")
    return numbers


def _scale(low: float, high: float, start: float, end: float):
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / span


def _axes(left: float, right: float, low: float, high: float, x: str, y: str) -> str:
    floor = HEIGHT - BOTTOM
    return (
        f'<path d="M{LEFT} 10V{floor}H{WIDTH - 10}" fill="none" stroke="{GREY}"/>'
        f'<text x="{LEFT}" y="{floor + 15}">{left:.3g}</text>'
        f'<text x="{WIDTH - 10}" y="{floor + 15}" text-anchor="end">{right:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{floor}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{LEFT - 4}" y="18" text-anchor="end">{high:.4g}</text>'
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{floor + 30}" text-anchor="middle">{escape(x)}</text>'
        f'<text transform="translate(12 {floor / 2 + 5:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y)}</text>"
    )


def _svg(inside: str, text: str, height: float = HEIGHT) -> Markup:
    return Markup(
        f'<svg role="img" aria-label="{escape(text)}" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'style="max-width:100%;height:auto;font-size:11px" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(text)}</title>{inside}</svg>"
    )
