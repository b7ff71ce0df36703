"""Grade a class while its worker processes are killed at random, and compare with a serial run.

    python -m benchmarks.scale                  # 200 submissions, several minutes on two cores
    python -m benchmarks.scale --students 24 --every 5

The submissions are synthetic (numpy only, two questions, one of them hidden), in a temporary folder. Half way
through, the grading process itself is killed, and the same command goes on. It prints how many marks are
lost, doubled, or differ from the serial run, all of which should be 0; exits with 1 if one is not.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.usage import command_line
from course.grader.build import build
from course.grader.record import Record

ASSIGNMENT = "families"
SOLUTION = """def mae_by_family(target, prediction, family):
    ### BEGIN SOLUTION
    error, family = np.abs(np.asarray(target) - np.asarray(prediction)), np.asarray(family)
    return {str(name): float(error[family == name].mean()) for name in np.unique(family)}
    ### END SOLUTION"""
RIGHT = SOLUTION.replace("    ### BEGIN SOLUTION\n", "").replace("\n    ### END SOLUTION", "")
ANSWERS = {  # what a student wrote: points
    RIGHT: 5,
    RIGHT.replace("np.abs", "np.square"): 0,
    RIGHT.replace("mean()", "max()"): 0,
    RIGHT.replace("return", "raise ValueError"): 0,
    SOLUTION.split("    ###")[0] + "    # YOUR CODE HERE\n    raise NotImplementedError()": 0,
}


def make_course(root: Path) -> Path:
    """A course with one small assignment."""

    def marked(source: str, name: str, points: int, solution: bool) -> dict:
        marks = {"grade_id": name, "grade": points > 0, "solution": solution, "locked": not solution}
        marks |= {"task": False, "schema_version": 3} | ({"points": points} if points else {})
        return new_code_cell(source, id=name, metadata={"nbgrader": marks})

    hidden = '### BEGIN HIDDEN TESTS\ncheck("hidden.families", mae_by_family)\n### END HIDDEN TESTS'
    cells = [
        marked("import numpy as np\nfrom mg9.checks import check", "imports", 0, False),
        marked(SOLUTION, "answer", 0, True),
        marked('check("report.families", mae_by_family)', "visible", 2, False),
        marked(f"# Hidden: random residuals.\n{hidden}", "hidden", 3, False),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    file = root / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    file.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells, metadata=kernel), file)
    build(root, ASSIGNMENT)
    return root


def make_class(root: Path, folder: Path, students: int) -> dict[str, int]:
    """FOLDER/<student>/families.ipynb, all different; returns the points that each deserves."""
    release = nbformat.read(root / "exercises" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    deserved = {}
    for number in range(students):
        answer, points = list(ANSWERS.items())[number % len(ANSWERS)]
        release.cells[1].source = f"{answer}\n# {number}"
        place = folder / f"student{number:03d}"
        place.mkdir(parents=True)
        nbformat.write(release, place / f"{ASSIGNMENT}.ipynb")
        deserved[place.name] = points
    return deserved


def start(root: Path, folder: Path, out: Path, jobs: int) -> subprocess.Popen:
    """`mg9-course grade` as a process of its own."""
    command = [sys.executable, "-m", "course.grader.cli", "--root", root, "grade", folder, "--out", out]
    return subprocess.Popen(
        [*map(str, command), "--jobs", str(jobs), "--seed", "1"], stdout=subprocess.DEVNULL
    )


def recorded(out: Path) -> int:
    """Whole lines in the log."""
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.is_file() else 0


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """Its worker processes: the children of the server from which they are forked."""
    try:
        servers = [c for c in psutil.Process(process.pid).children() if "forkserver" in " ".join(c.cmdline())]
        return [child for server in servers for child in server.children()]
    except psutil.NoSuchProcess:
        return []


def grade_under_fire(
    root: Path, folder: Path, out: Path, *, jobs: int, every: int, students: int, chance: random.Random
) -> int:
    """Grade; kill a worker after every so many submissions, and half way the grader. Returns the kills."""
    process, killed, last, halved = start(root, folder, out, jobs), 0, 0, False
    while process.poll() is None:
        time.sleep(chance.uniform(0.02, 0.2))  # so that it strikes at any moment of the next submissions
        if not halved and recorded(out) >= students // 2:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process, halved = start(root, folder, out, jobs), True
        there = workers(process)
        if there and recorded(out) >= last + every:
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(there).kill()
                killed, last = killed + 1, recorded(out)
    return killed


def marks(out: Path) -> dict[str, dict[str, float]]:
    """Student -> question -> points, as the gradebook has them."""
    rows = Record(out).rows()
    return {row.student: {mark.question.grade_id: mark.score for mark in row.marks} for row in rows}


def lines(out: Path) -> Counter[str]:
    """How many submissions of each student the log says were graded."""
    log = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return Counter(line["student"] for line in log if line["graded"])


def main() -> int:
    """Measure and print; 1 if a mark is lost, doubled or another."""
    parser = command_line(__doc__.splitlines()[0], "scale", "scale --students 20")
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=8, help="submissions from one kill to the next")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mg9-scale-") as scratch:
        place = Path(scratch)
        root, folder = make_course(place / "course"), place / "class"
        deserved = make_class(root, folder, options.students)
        begun = time.monotonic()
        killed = grade_under_fire(
            root,
            folder,
            place / "fire",
            jobs=options.jobs,
            every=options.every,
            students=options.students,
            chance=random.Random(0),
        )
        fire = time.monotonic() - begun
        begun = time.monotonic()
        start(root, folder, place / "serial", 1).wait()
        serial = time.monotonic() - begun
        found, expected, times = marks(place / "fire"), marks(place / "serial"), lines(place / "fire")
    lost = [student for student in deserved if not found.get(student)]
    twice = [student for student, count in times.items() if count > 1]
    other = [student for student in deserved if found.get(student) != expected.get(student)]
    wrong = [student for student in deserved if sum(found.get(student, {}).values()) != deserved[student]]
    print(f"{options.students} submissions, {options.jobs} workers, {killed} kills: {fire:.0f} s")
    print(f"serial, nothing killed: {serial:.0f} s")
    print(
        f"lost {len(lost)}, recorded twice {len(twice)}, unlike serial {len(other)}, undeserved {len(wrong)}"
    )
    return int(bool(lost or twice or other or wrong))


if __name__ == "__main__":
    raise SystemExit(main())
