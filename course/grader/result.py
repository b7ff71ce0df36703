"""What became of one graded question: plain values, so that it travels between processes and into a log."""

from __future__ import annotations

from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_output

NAMES = {"failed": "CheckFailed", "not run": "NotRun", "time": "TimeLimit", "refused": "Refused"}


@dataclass(frozen=True)
class Result:
    """One question of one student.

    `state` is "passed", "failed" (the statement does not hold), "error" (the student's code raised, or the
    name does not exist), "not run", "time" (a limit was reached) or "refused" (a value that may not cross).
    """

    grade_id: str
    check: str
    state: str
    says: str  # the line that a passed check prints, or what is wrong
    crystal: str = ""
    expected: str = ""
    got: str = ""
    cause: str = ""
    slide: int = 0
    student_lines: tuple[str, ...] = ()
    figure: dict | None = (
        None  # plain numbers for a picture: {"kind": "parity", "x": [...], "y": [...], "unit"}
    )
    seconds: float = 0.0

    def message(self) -> str:
        """The result as a student reads it, in plain text."""
        if self.state == "passed":
            return f"passed  {self.check}: {self.says}"
        lines = [f"{self.check}: {self.says}"]
        if self.crystal:
            lines.append(f"  where: {self.crystal}")
        if self.expected or self.got:
            lines.append(f"  expected {self.expected}, got {self.got}")
        if self.cause:
            lines.append(f"  usual cause: {self.cause}")
        if self.slide:
            lines.append(f"  reread slide {self.slide:02d}")
        return "\n".join(lines + [f"  in your code: {line}" for line in self.student_lines])

    def outputs(self) -> list[NotebookNode]:
        """What the graded cell holds when it is recorded: one line on stdout, or one error."""
        if self.state == "passed":
            return [new_output("stream", name="stdout", text=self.message() + "\n")]
        name = NAMES.get(self.state, "Error")
        return [new_output("error", ename=name, evalue=self.message(), traceback=self.message().splitlines())]
