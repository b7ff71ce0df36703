"""One HTML page a student: per question the points, what the check said, the slide. No cell's source."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mg9.checks import find

from .record import Mark, Row

WORDS = {
    "passed": "Passed",
    "failed": "Not passed",
    "open": "To be marked by a person",
    "marked": "Marked by a person",
}


def number(points: float) -> str:
    """2.0 as "2", 2.5 as "2.5"."""
    return f"{points:g}"


def of(pair: tuple[float, float]) -> str:
    """(points got, points possible) in words."""
    return f"{number(pair[0])} of {number(pair[1])} points"


def message(mark: Mark) -> str:
    """What the check said, without its name (hidden where the check is) and the line on the slide."""
    if "NotImplementedError" in mark.message:
        return "Not answered: code that this needs still raises NotImplementedError."
    if mark.message.startswith("NameError"):
        return f"{mark.message}. The cell that should define it failed, or is missing."
    text = re.sub(r"^passed +", "", mark.message).replace(f"{mark.question.check}: ", "", 1)
    return re.sub(r"\n *reread slide \d+", "", text)


def page(row: Row, assignment: str) -> str:
    """The page of one student. Whatever a student's code printed is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    template = environment.get_template("feedback.html")
    return template.render(
        row=row,
        assignment=assignment,
        words=WORDS,
        number=number,
        points=of,
        message=message,
        slide=lambda mark: find(mark.question.check).slide,
    )


def write_pages(rows: list[Row], assignment: str, folder: Path) -> None:
    """FOLDER/<student>.html for each row."""
    os.makedirs(folder, exist_ok=True)
    for row in rows:
        (folder / f"{row.student}.html").write_text(page(row, assignment), encoding="utf-8")
