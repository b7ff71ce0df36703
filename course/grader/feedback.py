"""Pages in HTML: one a student, and one of the class for the instructor. Made from results, never from cells.

No page holds a cell's source; whatever comes from a student is escaped. Read in order: `state` to `slide`
(what templates ask for), `page`, `class_page`, then feedback.html and class.html.
"""

from __future__ import annotations

import os
import re
import statistics
import tomllib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .ingest import FINE
from .marks import Mark, Row
from .pictures import bars, histogram, picture
from .registered import registered

WORDS = {
    "passed": "Passed",
    "failed": "Not passed",
    "error": "Not passed: an error",
    "not run": "Not run",
    "time": "Not passed: out of time",
    "refused": "Not passed: refused",
    "open": "To be marked by a person",
    "marked": "Marked by a person",
}


def state(mark: Mark) -> str:
    """One of the keys of `WORDS`."""
    if mark.result:
        return mark.result.state
    return "open" if mark.outstanding else "marked" if not mark.question.check else "not run"


def number(points: float) -> str:
    """2.0 as "2", 2.5 as "2.5"."""
    return f"{points:g}"


def of(pair: tuple[float, float]) -> str:
    """(points got, points possible) in words."""
    return f"{number(pair[0])} of {number(pair[1])} points"


def says(mark: Mark) -> str:
    """What the check says, in words that a student can use."""
    text = mark.result.says if mark.result else ""
    if "NotImplementedError" in text:
        return "Not answered: code that this needs still raises NotImplementedError."
    if text.startswith("NameError"):
        return f"{text}. The cell that should define it failed, or is missing."
    return text


def missed(row: Row) -> list[tuple[int, str]]:
    """The questions that did not pass: their places on the page, from 1, and their names."""
    numbered = enumerate(row.marks, start=1)
    return [(n, m.question.grade_id) for n, m in numbered if state(m) not in ("passed", "open", "marked")]


def often(marks: Sequence[Mark]) -> str:
    """The most frequent cause of a question's failures, with its number where there are several."""
    causes = Counter(m.result.cause or says(m) for m in marks if m.result and m.result.state != "passed")
    (cause, times), *_ = causes.most_common(1) or [("", 0)]
    return f"{cause} ({times} of {causes.total()})" if len(causes) > 1 else cause


def places(mark: Mark) -> list[str]:
    """Where in the student's code an error came from: "forward, line 7", without the line's text."""
    lines = mark.result.student_lines if mark.result else ()
    return [match[0] for match in (re.match(r".{1,80}?, line \d+", line) for line in lines) if match]


def slide(mark: Mark) -> int:
    """The slide to reread."""
    return (mark.result and mark.result.slide) or registered(mark.question.check).slide


@cache
def outcomes() -> dict[int, str]:
    """The learning outcomes of slide 03, by number."""
    file = Path(__file__).parents[1] / "slides.toml"
    return {int(key): title for key, title in tomllib.loads(file.read_text("utf-8"))["outcomes"].items()}


@cache
def _templates() -> Environment:
    """One for all pages, so that a template is compiled once and not once a student."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (state, says, missed, places, slide, number)
    environment.globals.update({function.__name__: function for function in shown}, words=WORDS, points=of)
    environment.globals.update(outcomes=outcomes(), picture=picture, fine=FINE)
    return environment


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(**values)


def page(row: Row, assignment: str) -> str:
    """The page of one student."""
    return _render("feedback.html", row=row, assignment=assignment)


def class_page(rows: Sequence[Row], assignment: str) -> str:
    """The page of the class: distribution, outcomes, what most failed, time a question, students."""
    graded = [row for row in rows if row.marks]
    most = graded[0].points()[1] if graded else 0.0
    totals = [row.points()[0] for row in graded]
    return _render(
        "class.html",
        rows=rows,
        graded=graded,
        assignment=assignment,
        most=most,
        median=statistics.median(totals) if totals else 0.0,
        distribution=histogram(totals, most) if totals else "",
        questions=sorted(_questions(graded), key=lambda question: -question["failed"]),
        learned=_learned(graded),
    )


def _questions(graded: Sequence[Row]) -> list[dict]:
    found = []
    for same in zip(*(row.marks for row in graded), strict=True):
        if not same[0].question.check:
            continue
        seconds = [mark.result.seconds for mark in same if mark.result]
        states = [state(mark) for mark in same]
        found.append(
            {
                "question": same[0].question,
                "failed": sum(one != "passed" for one in states),
                "unanswered": sum(
                    one == "not run" or "NotImpl" in says(m) for one, m in zip(states, same, strict=True)
                ),
                "often": often(same),
                "median": statistics.median(seconds) if seconds else 0.0,
                "longest": max(seconds, default=0.0),
            }
        )
    return found


def _learned(graded: Sequence[Row]) -> str:
    """Bars of the mean share of points of each outcome."""
    shares: dict[int, list[float]] = {}
    for row in graded:
        for outcome, (got, possible) in row.outcomes.items():
            shares.setdefault(outcome, []).append(100 * got / possible)
    means = {f"outcome {outcome}": statistics.mean(values) for outcome, values in sorted(shares.items())}
    return bars(means, "mean share of the points, per cent") if means else ""


def write_pages(rows: Sequence[Row], assignment: str, folder: Path) -> None:
    """FOLDER/feedback/<student>.html for each row, and FOLDER/class.html, which is for instructors."""
    os.makedirs(folder / "feedback", exist_ok=True)
    for row in rows:
        (folder / "feedback" / f"{row.student}.html").write_text(page(row, assignment), encoding="utf-8")
    (folder / "class.html").write_text(class_page(rows, assignment), encoding="utf-8")
