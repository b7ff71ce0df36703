"""What a check says when it does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mg9.checks import Check


class CheckFailed(AssertionError):
    """What does not hold, where, expected and got (with units), the usual cause, the slide.

    `cause` takes the place of the check's usual one. `figure` is a picture in plain numbers, for the page of
    feedback: {"kind": "parity", "x": [...], "y": [...], "unit": "eV/atom"}.
    """

    state = "failed"

    def __init__(
        self,
        what: str,
        *,
        crystal: str = "",
        expected: object = None,
        got: object = None,
        cause: str | None = None,
        figure: dict | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.crystal, self.expected, self.got = what, crystal, expected, got
        self.name, self.cause, self.slide, self.figure = "", cause, 0, figure
        self.student_lines: list[str] = []

    def told_by(self, check: Check) -> CheckFailed:
        """The same failure with the name and the slide of the check, and its usual cause if that fits."""
        self.name, self.slide = check.name, check.slide
        self.cause = check.cause if self.cause is None else self.cause
        return self

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.what}" if self.name else self.what]
        if self.crystal:
            lines.append(f"  where: {self.crystal}")
        if self.expected is not None:
            lines.append(f"  expected {self.expected}, got {self.got}")
        if self.cause:
            lines.append(f"  usual cause: {self.cause}")
        if self.slide:
            lines.append(f"  reread slide {self.slide:02d}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a stack of the grader's own frames."""
        return str(self).splitlines() + [f"  in your code: {line}" for line in self.student_lines]


class WrongKind(CheckFailed):
    """Not the kind of thing that was asked for (None, a list, whole numbers); a check's usual cause does not
    explain that."""

    def __init__(self, what: str, **more: Any) -> None:
        super().__init__(what, **({"cause": ""} | more))


class Raised(WrongKind):
    """The student's code raised an exception."""

    state = "error"


class Refused(WrongKind):
    """A value that may not cross (see `wire.py`)."""

    state = "refused"
