"""What is known of a student: the verdict on the file, and a mark for each question."""

from __future__ import annotations

from dataclasses import dataclass

from .form import Question
from .late import Lateness
from .registered import registered
from .result import Result
from .scores import Score


@dataclass(frozen=True)
class Mark:
    """One question of one student."""

    question: Question
    score: float
    outstanding: bool  # a person has yet to give the points
    result: Result | None  # None where a person grades
    comment: str  # what a person wrote


@dataclass(frozen=True)
class Row:
    """One student: the verdict on the file, and the marks if it could be graded."""

    student: str
    verdict: str
    says: str
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]
    raised: tuple[str, ...] = ()  # errors in cells that are not graded, a syntax error for example
    late: Lateness = Lateness()
    line: dict | None = None  # of the log

    def points(self, *, by_hand: bool | None = None) -> tuple[float, float]:
        """(points got, points possible) of a person's questions, of those of the checks, or of all."""
        chosen = [mark for mark in self.marks if by_hand is None or by_hand == (not mark.question.check)]
        return sum(mark.score for mark in chosen), sum(mark.question.points for mark in chosen)

    @property
    def outstanding(self) -> float:
        """Points that a person has yet to give."""
        return sum(mark.question.points for mark in self.marks if mark.outstanding)

    @property
    def counts(self) -> float:
        """The points that count: what is earned, less what is taken off for late work."""
        return round(self.points()[0] * (1 - self.late.percent / 100), 2)

    @property
    def outcomes(self) -> dict[int, tuple[float, float]]:
        """Learning outcome -> (points got, points possible), of the questions that checks grade."""
        found: dict[int, tuple[float, float]] = {}
        for mark in self.marks:
            if mark.question.check:
                number = registered(mark.question.check).outcome
                got, of = found.get(number, (0.0, 0.0))
                found[number] = got + mark.score, of + mark.question.points
        return dict(sorted(found.items()))


def marks_of(asked: list[Question], line: dict, found: dict[str, Score]) -> tuple[Mark, ...]:
    results = {
        kept["grade_id"]: Result(**kept | {"student_lines": tuple(kept["student_lines"])})
        for kept in line["results"]
    }
    marks = []
    for question in asked:
        score = found.get(question.grade_id, Score(0.0, False, ""))
        result = results.get(question.grade_id) if question.check else None
        marks.append(Mark(question, score.points, score.outstanding, result, score.comment))
    return tuple(marks)
