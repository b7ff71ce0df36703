"""Grade a small class with stock nbgrader and with mg9-course: wall time, processor time, wait for a kernel.

    python -m benchmarks.grading                # 24 submissions; some three minutes on two cores

The submissions are those of `benchmarks.scale` (numpy only, two questions, one of them hidden). The stock one
gets the same answers with plain assertions in the graded cells, so that it imports numpy and nothing else. It
is run as it comes, one submission after the other, and with twelve `nbgrader autograde` at a time, each in a
course folder of its own, so that they do not wait for one database. Wall times are those of whole commands.
The processor time counts every process that a command started, and all of it (the students' own computing is
a few milliseconds); where no control group can count it, the kernels that are killed at their end are
missing, and the table says so.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

import nbformat

from benchmarks.scale import ANSWERS, ASSIGNMENT, make_class, make_course
from benchmarks.usage import command_line
from course.grader.bubblewrap import Limits, Place
from course.grader.pool import Pool, Wanted

AT_A_TIME = 12
VISIBLE = """found = mae_by_family([0.0, -1.0, -2.0], [0.1, -1.3, -1.5], ["oxide", "oxide", "halide"])
assert abs(found["oxide"] - 0.2) < 1e-9 and abs(found["halide"] - 0.5) < 1e-9"""
HIDDEN = """# Hidden: random residuals.
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(1)
family = [str(name) for name in rng.choice(["oxide", "halide", "nitride"], size=40)]
target, prediction = rng.normal(size=(2, 40))
found = mae_by_family(target, prediction, family)
for name in set(family):
    own = [abs(t - p) for t, p, f in zip(target, prediction, family) if f == name]
    assert abs(found[name] - sum(own) / len(own)) < 1e-9
### END HIDDEN TESTS"""
METER = Path("/sys/fs/cgroup/cpuacct")  # of version 1: sandboxes have no group of their own there


def run(commands: list[list[str]], folders: list[Path]) -> tuple[float, float]:
    """(wall, processor) seconds of commands that run at the same time, each in its folder."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    meter = METER / f"mg9-grading-{os.getpid()}-{time.monotonic_ns()}"
    if counts_all():
        meter.mkdir()
        enter = ["/bin/sh", "-c", f'echo $$ > {meter}/tasks && exec "$@"', "sh"]
        commands = [[*enter, *command] for command in commands]

    def one(command: list[str], folder: Path) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    with ThreadPoolExecutor(len(commands)) as pool:
        list(pool.map(one, commands, folders))
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if not counts_all():
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = int((meter / "cpuacct.usage").read_text()) / 1e9
    for _ in range(100):  # until what ends after the command is gone
        with suppress(OSError):
            meter.rmdir()
            break
        time.sleep(0.1)
    return wall, spent


def counts_all() -> bool:
    """Whether the processor time is that of all processes; else kernels that were killed are missing."""
    return os.access(METER / "tasks", os.W_OK)


def stock_course(root: Path, ours: Path, students: int) -> Path:
    """A course folder of stock nbgrader with the same class."""
    source = nbformat.read(ours / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    for number, text in ((0, "import numpy as np"), (2, VISIBLE), (3, HIDDEN)):
        source.cells[number].source = text
    file = root / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    file.parent.mkdir(parents=True)
    nbformat.write(source, file)
    run([nbgrader("generate_assignment", ASSIGNMENT)], [root])
    release = nbformat.read(root / "release" / ASSIGNMENT / file.name, as_version=4)
    for number in range(students):
        release.cells[1].source = f"{list(ANSWERS)[number % len(ANSWERS)]}\n# {number}"
        place = root / "submitted" / f"student{number:03d}" / ASSIGNMENT
        place.mkdir(parents=True)
        nbformat.write(release, place / file.name)
    return root


def nbgrader(*words: str) -> list[str]:
    """A command of stock nbgrader."""
    return [sys.executable, "-m", "nbgrader", *words]


def stock(place: Path, ours: Path, students: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """(wall, processor) seconds one by one, and AT_A_TIME."""
    root = stock_course(place / "stock", ours, students)
    copies = [place / f"stock{number}" for number in range(min(AT_A_TIME, students))]
    for number, copy in enumerate(copies):
        shutil.copytree(root, copy)
        for student in copy.joinpath("submitted").iterdir():
            if int(student.name[-3:]) % len(copies) != number:
                shutil.rmtree(student)
    alone = run([nbgrader("autograde", ASSIGNMENT)], [root])
    return alone, run([nbgrader("autograde", ASSIGNMENT)] * len(copies), copies)


def ours(root: Path, folder: Path, out: Path, jobs: int) -> tuple[float, float]:
    """(wall, processor) seconds of `mg9-course grade`."""
    words = ["--root", root, "grade", folder, "--out", out, "--jobs", jobs, "--seed", 1]
    return run([[sys.executable, "-m", "course.grader.cli", *map(str, words)]], [root])


def waits(times: int = 5) -> list[float]:
    """Seconds to get a kernel that is ready, and have it answer, while the next one starts."""
    pool, found, wanted = Pool(), [], Wanted(Limits(), Place(), ("numpy",))
    for _ in range(times):
        pool.take(wanted).close()
        time.sleep(5)  # the one that waits gets ready
        began = time.perf_counter()
        kernel = pool.take(wanted)
        found.append(time.perf_counter() - began)
        kernel.close()
    pool.close()
    return found


def main() -> None:
    """Measure in turn and print."""
    parser = command_line(__doc__.splitlines()[0], "grading", "grading --students 4")
    parser.add_argument("--students", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    # Stock nbgrader starts `alembic`, which lies beside python, on the PATH or not.
    programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    n = options.students
    with tempfile.TemporaryDirectory(prefix="mg9-grading-") as scratch:
        place = Path(scratch)
        root = make_course(place / "course")
        make_class(root, place / "class", n)
        alone, together = stock(place, root, n)
        mine = ours(root, place / "class", place / "marks", options.jobs)
    print(f"{n} submissions, {os.cpu_count()} cores   wall time   processor time a submission")
    for name, (wall, processor) in {
        "stock nbgrader, one by one": alone,
        f"stock nbgrader, {AT_A_TIME} at a time": together,
        f"mg9-course grade --jobs {options.jobs}": mine,
    }.items():
        print(f"{name:34s} {wall:7.1f} s   {processor / n:7.1f} s")
    if not counts_all():
        print("processor time without that of kernels, which are killed at their end")
    print(f"ratio of wall times: {alone[0] / mine[0]:.1f} and {together[0] / mine[0]:.1f}")
    found = waits()
    print(f"wait for a kernel that is ready: {median(found):.2f} s (at most {max(found):.2f})")


if __name__ == "__main__":
    main()
