"""One simulated student's lesson on a hub, and the instructor's collecting of what all handed in.

Read in order: `attend`, `collect`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.hub_visitor import Kernel, Visitor

COLLECT = """
import hashlib, json, os, pathlib, pwd, subprocess
course = pathlib.Path.home() / "unit9"
done = subprocess.run(["mg9-course", "collect", NAME], cwd=course, capture_output=True, text=True)
inbound = pathlib.Path("/srv/mg9/exchange/mg9/inbound")
print(json.dumps({
    "says": done.stdout + done.stderr,
    "handed in": [[place.name.partition("+")[0], pwd.getpwuid(place.lstat().st_uid).pw_name]
                  for place in inbound.glob(f"*+{NAME}+*")],
    "collected": {place.parts[-3]: hashlib.sha256(place.read_bytes()).hexdigest()
                  for place in course.glob(f"submitted/*/{NAME}/{NAME}.ipynb")},
}))
"""


@dataclass
class Student:
    """What one student did: seconds of each step, the sha256 that was saved, or what went wrong."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)
    doing: str = "waiting to begin"
    saved: str = ""
    wrong: str = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        self.doing, start = name, time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start
        self.doing = ""


def attend(
    student: Student, visitor: Visitor, kernels: dict[str, Kernel], assignment: str, last: str
) -> None:
    """One student's lesson, from the login to the hand-in; the kernel stays."""
    path = f"{assignment}/{assignment}.ipynb"
    with student.step("log in"):
        visitor.login()
    with student.step("server ready"):
        visitor.wait_for_server()
    with student.step("lab opens"):
        visitor.open_lab()
    with student.step("fetch"):
        visitor.assignment("fetch", assignment)
    with student.step("open"):
        notebook = visitor.read(path)
    with student.step("kernel"):
        kernel = kernels[student.name] = visitor.kernel(path)
    with student.step("first cells"):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                says = kernel.run(cell["source"])
            if grade_id(cell) == last:
                break
    if "Error" not in says:
        raise AssertionError(f"{last} is to fail as long as nothing is written, and says {says!r}")
    with student.step("save"):
        answers = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown" and grade_id(cell)]
        answers[0]["source"] = f"The answer of {student.name}."
        visitor.save(path, notebook)
    content = visitor.read(path, type="file", format="text")
    with student.step("submit"):
        visitor.assignment("submit", assignment)
    student.saved = hashlib.sha256(content.encode()).hexdigest()


def grade_id(cell: dict) -> str | None:
    """nbgrader's name of a cell."""
    return cell["metadata"].get("nbgrader", {}).get("grade_id")


def collect(instructor: Visitor, students: list[Student], assignment: str) -> list[str]:
    """Run `mg9-course collect` as the instructor; returns what is lost, twice there or not as it was."""
    instructor.login()
    instructor.wait_for_server()
    instructor.open_lab()
    found = json.loads(instructor.kernel().run(f"NAME = {assignment!r}\n{COLLECT}"))
    handed_in, collected, lost = found["handed in"], found["collected"], []
    for student in students:
        if not student.saved:
            lost.append(f"{student.name}: handed in nothing: {student.wrong}")
        elif handed_in.count([student.name, student.name]) != 1:
            lost.append(f"{student.name}: not once in the exchange, as the student's own: {handed_in}")
        elif collected.get(student.name) != student.saved:
            lost.append(f"{student.name}: not collected as it was saved: {found['says']}")
    return lost + [f"{name}: of nobody" for name in collected.keys() - {student.name for student in students}]
