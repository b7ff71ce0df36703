"""A class on one hub: all log in, fetch, run the first cells and hand in; seconds, memory, processor time.

Each simulated student is a thread that sends what JupyterLab would (hub_visitor.py): the form of the login,
the wait for the server, the lab's page, nbgrader's list, a kernel that runs the first cells of the fetched
notebook as they stand, an answer that is saved, the hand-in. Then the instructor collects, and each file is
held against what its student saved. Needs root on Linux, as `make hub` does.

Read in order: `hold_a_class`, `table`; hub_lesson.py, hub_visitor.py, hub_use.py.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from benchmarks.hub_lesson import Student, attend, collect
from benchmarks.hub_use import Use, used, user_of
from benchmarks.hub_visitor import Visitor
from benchmarks.usage import command_line
from course.hub.__main__ import why_not
from course.hub.running import Hub

LAST_CELL = "displacements-check"  # of cgcnn; before it: imports, the table of crystals, a graph
STEPS = (
    "log in",
    "server ready",
    "lab opens",
    "fetch",
    "open",
    "kernel",
    "first cells",
    "save",
    "submit",
)
INSTRUCTOR = "mg9-ines"


@dataclass
class Lesson:
    """All that was measured."""

    students: list[Student]
    within: float
    seconds: float = 0
    with_kernels: Use = field(default_factory=Use)
    without: Use = field(default_factory=Use)
    lost: list[str] = field(default_factory=list)  # submissions: who, and what is wrong with it
    left: list[str] = field(default_factory=list)  # what is there after the end: processes, a wrong exit code


def hold_a_class(
    *,
    students: int,
    within: float,
    limit: float,
    assignment: str = "cgcnn",
    last: str = LAST_CELL,
    budget: str = "full",
) -> Lesson:
    """A hub from its start to its end. Students begin evenly within `within` seconds; `limit` is for all."""
    end = time.monotonic() + limit
    log = Path(tempfile.mkdtemp(prefix="mg9-load-"), "hub.log")
    hub = Hub(log, f"--students={students}", f"--budget={budget}", patience=limit)
    pupils = [Student(name) for name in hub.passwords if name != INSTRUCTOR]
    lesson = Lesson(pupils, within)
    try:
        visitors = {
            name: Visitor(url=hub.url, name=name, password=hub.passwords[name], end=end)
            for name in hub.passwords
        }
        start, kernels = time.monotonic(), {}

        def begin(number: int, student: Student) -> None:
            time.sleep(number * within / len(pupils))
            try:
                attend(student, visitors[student.name], kernels, assignment, last)
            except Exception as error:
                student.wrong = f"{student.doing}: {type(error).__name__}: {error}"

        threads = [threading.Thread(target=begin, args=item, daemon=True) for item in enumerate(pupils)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lesson.seconds = time.monotonic() - start
        lesson.with_kernels = used(hub.process.pid)
        for kernel in kernels.values():
            kernel.end()
        lesson.without = used(hub.process.pid)
        lesson.lost = collect(visitors[INSTRUCTOR], pupils, assignment)
        with ThreadPoolExecutor(len(visitors)) as pool:
            list(pool.map(Visitor.stop_server, visitors.values()))
        below = psutil.Process(hub.process.pid).children(recursive=True)
        lesson.left = [f"a server of {user} runs on" for user in map(user_of, below) if user]
    finally:
        below = psutil.Process(hub.process.pid).children(recursive=True)
        code = hub.stop()
    _, alive = psutil.wait_procs(below, timeout=60)
    lesson.left += [f"process {process.pid} {process.name()}" for process in alive]
    lesson.left += [f"the hub ended with {code}; see {log}"] * bool(code)
    return lesson


def table(lesson: Lesson) -> str:
    """What the handbook shows."""
    count = len(lesson.students)
    done = [student for student in lesson.students if student.saved]
    lines = ["| seconds | median | slowest |", "|---|---|---|"]
    whole = [sum(student.seconds.values()) for student in done]
    for name, times in [(s, [x.seconds[s] for x in lesson.students if s in x.seconds]) for s in STEPS]:
        lines.append(
            f"| {name} | {median(times):.1f} | {max(times):.1f} |" if times else f"| {name} | - | - |"
        )
    lines.append(f"| from the login to the hand-in | {median(whole):.0f} | {max(whole):.0f} |")
    each = lambda value: f"{value / count / 1e6:,.0f} MB"  # noqa: E731
    seen, idle = lesson.with_kernels, lesson.without
    lines += ["", "| a student | |", "|---|---|"]
    lines.append(f"| memory of a server without a kernel | {each(idle.servers)} |")
    lines.append(f"| memory of a kernel after the first cells | {each(seen.kernels)} |")
    lines.append(f"| processor time until the hand-in | {seen.processor / count:.0f} s |")
    hub = f"{seen.hub / 1e6:,.0f} MB, {seen.hub_processor:.0f} s"
    lines.append(f"| hub and proxy for all: memory, processor time | {hub} |")
    return "\n".join(lines)


def setting(lesson: Lesson) -> str:
    """What the figures need beside them."""
    size = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB"
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("jupyterhub", "jupyterlab", "nbgrader", "torch")
    )
    who = f"{len(lesson.students)} students who log in within {lesson.within:.0f} s"
    when = f"{time.strftime('%Y-%m-%d')}, {size}, Python {platform.python_version()}, {versions}"
    return f"{who}; {when}; {lesson.seconds:.0f} s in all"


def main() -> int:
    """Print the table; exit code 1 if a submission is lost or something is left."""
    parser = command_line(__doc__.partition("\n\n")[0], "hub_load", "hub_load --students 3 --within 0")
    parser.add_argument("--students", type=int, default=20, help="default %(default)s")
    parser.add_argument(
        "--within", type=float, default=120, help="seconds in which all log in (default %(default)s)"
    )
    parser.add_argument(
        "--limit", type=float, default=900, help="seconds after which all is over (default %(default)s)"
    )
    options = parser.parse_args()
    if reason := why_not():
        print(f"hub_load: {reason}", file=sys.stderr)
        return 2
    lesson = hold_a_class(students=options.students, within=options.within, limit=options.limit)
    print(f"{setting(lesson)}\n\n{table(lesson)}\n")
    for line in [*(f"{s.name}: {s.wrong}" for s in lesson.students if s.wrong), *lesson.lost, *lesson.left]:
        print(line)
    print(
        f"{len(lesson.students) - len(lesson.lost)} of {len(lesson.students)} submissions as they were saved"
    )
    return int(bool(lesson.lost or lesson.left))


if __name__ == "__main__":
    raise SystemExit(main())
