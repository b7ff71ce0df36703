"""Many submissions at once: workers that die, here and on Dask, lose nothing and record nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from waves import run

from benchmarks import scale
from course.grader import workers
from course.grader.ingest import Submission
from course.grader.terms import Terms

STUDENTS = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A course and a class; `place.deserved` is what each student's answer earns."""
    place = tmp_path_factory.mktemp("scale")
    scale.make_course(place / "course")
    deserved = scale.make_class(place / "course", place / "class", STUDENTS)
    assert set(deserved.values()) == {0, 5}
    return SimpleNamespace(course=place / "course", folder=place / "class", out=place, deserved=deserved)


def points(out: Path) -> dict[str, float]:
    return {student: sum(found.values()) for student, found in scale.marks(out).items()}


def test_killed_workers_lose_nothing_and_nothing_is_recorded_twice(place):
    """Two workers, one of them killed again and again; half way the grader itself."""
    out, chance = place.out / "fire", random.Random(0)
    killed = scale.grade_under_fire(
        place.course, place.folder, out, jobs=2, every=3, students=STUDENTS, chance=chance
    )
    assert killed >= 2
    assert points(out) == place.deserved
    assert scale.lines(out) == dict.fromkeys(place.deserved, 1)


def test_a_dask_scheduler_gives_the_same_marks(place):
    """With workers in processes of their own, one of which is killed."""
    from distributed import LocalCluster

    chosen = {student: place.deserved[student] for student in list(place.deserved)[:5]}
    for student in chosen:
        shutil.copytree(place.folder / student, place.out / "some" / student)
    arguments = ["--root", place.course, "grade", place.out / "some", "--out", place.out / "dask"]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        code, printed = run(*arguments, "--scheduler", cluster.scheduler_address)
    assert code == 0, printed
    assert points(place.out / "dask") == chosen
    assert scale.lines(place.out / "dask") == dict.fromkeys(chosen, 1)


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_submission_that_kills_its_worker_is_given_up_after_three(root):
    """And the others are not: these cannot be run either, but say so."""
    broken = [Submission(f"s{number}", "waves", "ok", notebook=None) for number in range(4)]
    deadly = Submission("deadly", "waves", "ok", notebook=Deadly())
    with workers.Crew(2) as crew:
        done = {one.student: says for one, says in crew.grade([*broken, deadly], Terms())}
    assert done.pop("deadly") == "3 worker processes died of it, one after the other"
    assert done.keys() == {"s0", "s1", "s2", "s3"} and all("Error" in says for says in done.values())


def test_no_scheduler_is_refused_in_words(place):
    code, printed = run(
        *("--root", place.course, "grade", place.folder, "--out", place.out / "none"),
        *("--scheduler", "tcp://127.0.0.1:9"),
    )
    assert code == 2 and "no Dask scheduler answers at tcp://127.0.0.1:9" in printed
