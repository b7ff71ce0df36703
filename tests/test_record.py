"""What is recorded: it goes on after an interruption, says what changed, keeps what a person has marked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from nbgrader.api import Gradebook
from sqlalchemy import event
from sqlalchemy.engine import Engine
from waves import RIGHT, answered, make_course, marks, run, waves, write

from course.grader import late, scores
from course.grader.build import build
from course.grader.classes import read_class
from course.grader.ingest import FolderError
from course.grader.sandbox import Limits
from course.grader.terms import Terms

WRONG = "def envelope(r, cutoff):\n    return 1 + 0 * r"


@pytest.fixture
def again(graded, tmp_path):
    """A copy of the marks, with the submissions that it takes seconds to grade."""
    shutil.copytree(graded.out, tmp_path / "marks")
    for student in ("right", "cut"):
        shutil.copytree(graded.folder / student, tmp_path / "class" / student)
    here = SimpleNamespace(folder=tmp_path / "class", out=tmp_path / "marks", root=graded.root)
    here.run = lambda *arguments: run("--root", graded.root, *arguments)
    here.grade = lambda *arguments: here.run("grade", here.folder, "--out", here.out, *arguments)
    here.lines = lambda: [json.loads(line) for line in (here.out / "log.jsonl").read_text().splitlines()]
    return here


def hand_in(folder: Path, student: str, notebook: dict) -> None:
    (folder / student).mkdir(parents=True, exist_ok=True)
    place = folder / student / "waves"
    place.mkdir(exist_ok=True)
    (place / "waves.ipynb").write_text(json.dumps(notebook))


def mark_by_hand(out: Path, points: float, comment: str = "") -> None:
    """What formgrader does."""
    with Gradebook(f"sqlite:///{out / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "waves", "waves", "right")
        grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.find_comment("why", "waves", "waves", "right").manual_comment = comment
        gradebook.db.commit()


def test_written_answers_wait_for_a_person(graded):
    assert graded.marks["right"]["by_hand_outstanding"] == "4.0"
    assert graded.marks["untouched"]["by_hand_outstanding"] == "0"


def test_gradebook_and_log(graded):
    with Gradebook(f"sqlite:///{graded.out / 'gradebook.db'}") as gradebook:
        assert gradebook.find_submission("waves", "partly").score == 3
        assert len(gradebook.students) == 17
    lines = [json.loads(line) for line in (graded.out / "log.jsonl").read_text().splitlines()]
    right = next(line for line in lines if line["student"] == "right")
    assert len(right["sha256"]) == len(right["exercise"]) == 64 and right["terms"]["seed"] == 7
    assert right["versions"]["nbgrader"] and right["sandboxed"] in (True, False)
    states = {result["grade_id"]: result["state"] for result in right["results"]}
    assert states == {"envelope-values": "passed", "envelope-hidden": "passed", "energy-sum": "passed"}
    assert len({line["student"] for line in lines}) == len(lines) == 17


def test_what_is_graded_is_not_run_again(again):
    before = again.lines()
    code, printed = again.grade()
    assert code == 1 and "to grade: nothing new; 1 are graded already" in printed
    assert again.lines() == before and "0 students' marks changed, 8 stayed" in printed


def test_another_number_of_jobs_is_no_other_term(again):
    """Threads follow from it, marks do not; a longer time or more memory are other terms."""
    from course.grader.record import Record

    limits = Limits(**again.lines()[0]["terms"]["limits"])
    terms = Terms(**again.lines()[0]["terms"] | {"limits": limits})
    more = replace(terms, threads=32, limits=replace(limits, threads=32))
    (right,) = read_class(again.root, "waves", again.folder, "right").submissions
    record = Record(again.out)
    record.open(again.root, "waves")
    assert record.reason(right, terms) == record.reason(right, more) == ""
    for other in (replace(terms, cell_seconds=121), replace(terms, limits=replace(limits, memory_mb=99))):
        assert record.reason(right, other) == "other terms"


def test_what_is_new_is_run_with_the_seed_of_the_first_run(again):
    hand_in(again.folder, "right", answered(again.root, **RIGHT | {"envelope": WRONG}))
    hand_in(again.folder, "late", answered(again.root))
    (again.folder / "cut" / "waves" / "waves.ipynb").write_text("{}")
    before = again.lines()
    code, printed = again.grade()
    assert "to grade: 1 new, 1 another file; 0 are graded already" in printed
    assert "changed: right: envelope-values 2/2 -> 0/2, envelope-hidden 3/3 -> 0/3" in printed
    assert again.lines()[: len(before)] == before  # only added to
    new = {line["student"]: line for line in again.lines()[len(before) :]}
    assert new.keys() == {"right", "late", "cut"} and new["cut"]["verdict"] == "not a notebook"
    assert {line["terms"]["seed"] for line in new.values()} == {7}
    assert marks(again.out)["right"]["checks"] == "1.0" and marks(again.out)["late"]["checks"] == "0.0"


def test_again_gives_the_same_marks(again):
    """And a student who fails to be read later keeps the marks of the file before."""
    code, printed = again.grade("--again")
    assert "to grade: 1 again; 0 are graded already" in printed
    assert "0 students' marks changed, 8 stayed" in printed
    first, second = (line for line in again.lines() if line["student"] == "right")
    assert [result["says"] for result in first["results"]] == [r["says"] for r in second["results"]]
    (again.folder / "right" / "waves" / "waves.ipynb").write_text("")
    again.grade()
    row = marks(again.out)["right"]
    assert row["verdict"] == "empty file" and row["checks"] == "6.0"
    assert "the marks are those of the file graded before" in row["notes"]


def test_only_is_a_dry_run(again):
    before = {file: file.read_bytes() for file in again.out.rglob("*") if file.is_file()}
    hand_in(again.folder, "right", answered(again.root, **RIGHT | {"envelope": WRONG}))
    code, printed = again.grade("--only", "right")
    assert code == 0 and "envelope-values: 0/2  failed" in printed and "energy-sum: 1/1  passed" in printed
    assert "a dry run: nothing was recorded" in printed and "partly" not in printed
    assert {file: file.read_bytes() for file in again.out.rglob("*") if file.is_file()} == before
    code, printed = again.grade("--only", "cut")
    assert code == 1 and "cut: not JSON" in printed


def test_marks_by_hand_stay_while_the_answer_is_the_same(again):
    mark_by_hand(again.out, 3, "say which <i>derivative</i>")
    code, _ = again.run("feedback", again.out)
    page = (again.out / "feedback" / "right.html").read_text()
    assert code == 0 and "3 of 4 points" in page and "say which &lt;i&gt;derivative" in page
    assert "9 of 10 points" in page and "still to be marked" not in page
    again.grade("--again")
    row = marks(again.out)["right"]
    assert (row["by_hand"], row["by_hand_outstanding"], row["total"]) == ("3.0", "0", "9.0")
    hand_in(again.folder, "right", answered(again.root, **RIGHT | {"why": "Because."}))
    again.grade()
    row = marks(again.out)["right"]
    assert row["by_hand_outstanding"] == "4.0"
    assert "why changed since a person marked it; mark it again" in row["notes"]


def test_changed_points_are_not_mixed_with_old_ones_without_a_word(again, tmp_path):
    notebook = waves()
    notebook.cells[3].metadata["nbgrader"]["points"] = 5
    root = write(tmp_path / "course", notebook)
    build(root, "waves")
    code, printed = run("--root", root, "grade", again.folder, "--out", again.out)
    assert "to grade: 1 the assignment changed; 0 are graded already" in printed
    assert "changed: right: envelope-values 2/2 -> 5/5" in printed
    rows = marks(again.out)
    assert rows["right"]["checks"] == "9.0" and rows["right"]["notes"] == ""
    assert "graded with another version of waves: grade it again" in rows["partly"]["notes"]
    code, printed = again.run("feedback", again.out)
    assert "graded with another version of waves" in marks(again.out)["partly"]["notes"]


def test_other_graded_cells_are_refused_in_words(again, tmp_path):
    notebook = waves()
    del notebook.cells[7]
    root = write(tmp_path / "course", notebook)
    code, printed = run("--root", root, "grade", again.folder, "--out", again.out)
    assert again.run("feedback", again.out)[0] == 0 and marks(again.out)["right"]["total_max"] == "10.0"
    assert code == 2 and "with other marked cells; choose another folder with --out" in printed


def test_a_crash_loses_nothing(again):
    """Neither half a line of the log, nor a gradebook that is gone."""
    with (again.out / "log.jsonl").open("a") as log:
        log.write('{"student": "right", "ver')
    (again.out / "gradebook.db").unlink()
    code, printed = again.grade()
    assert "to grade: 1 not in the gradebook" in printed
    assert len(again.lines()) == 18 and marks(again.out)["right"]["checks"] == "6.0"


def test_an_interrupted_class_goes_on_where_it_stopped(plugin, tmp_path):
    """By Ctrl-C after the first submissions, by SIGKILL after some more."""
    root, folder, out = make_course(tmp_path / "course"), tmp_path / "class", tmp_path / "marks"
    students = [f"s{number}" for number in range(10)]
    for student in students:
        hand_in(folder, student, answered(root, **RIGHT))
    command = [sys.executable, "-m", "course.grader.cli", "--root", root, "grade", folder, "--out", out]
    done = 0
    for kill in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            [*map(str, command), "--jobs", "1"],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal
        )
        while not (out / "log.jsonl").is_file() or (out / "log.jsonl").read_text().count("\n") <= done:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(kill)
        _, printed = process.communicate(timeout=600)
        if kill == signal.SIGINT:
            assert process.returncode == 130 and "the same command goes on from there" in printed
            assert "Traceback" not in printed
        done = (out / "log.jsonl").read_text().count("\n")
    assert 2 <= done < len(students)
    code, printed = run("--root", root, "grade", folder, "--out", out)
    assert code == 0 and f"to grade: {len(students) - done} new; {done} are graded already" in printed
    told = [json.loads(line)["student"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert sorted(told) == students
    assert {row["checks"] for row in marks(out).values()} == {"6.0"}


def test_one_writer(again):
    from course.grader.journal import only_writer

    with only_writer(again.out):
        code, printed = again.grade()
    assert code == 2 and "another mg9-course is writing into" in printed


def test_export_has_the_columns_that_are_asked_for(again):
    file = again.out / "points.csv"
    columns = "student=Name, total,outcome3,energy-sum=Energy,sha256"
    code, printed = again.run("export", again.out, "--columns", columns, "--out", file)
    lines = file.read_text().splitlines()
    assert code == 0 and lines[0] == "Name,total,outcome3,Energy,sha256"
    assert next(line for line in lines if line.startswith("right,6.0,5.0,1.0,"))
    assert lines[1].startswith("'=HYPERLINK(1),")  # a spreadsheet does not run it
    code, printed = again.run("export", again.out, "--columns", "grade")
    assert code == 2 and "no column is called grade; there are questions, student, total" in printed


def test_log_prints_what_was_graded(again):
    code, printed = again.run("log", again.out, "--student", "right")
    assert code == 0 and len(printed.splitlines()) == 1
    assert "right  3/3 checks" in printed and "seed 7" in printed
    assert len(again.run("log", again.out)[1].splitlines()) == 17
    code, printed = again.run("log", again.out, "--student", "nobody")
    assert code == 2 and "no student 'nobody' here; there are =HYPERLINK(1), blocked" in printed


def test_forget_leaves_nothing_of_a_student(again):
    mark = b"tampered"
    assert any(mark in file.read_bytes() for file in again.out.rglob("*") if file.is_file())
    code, printed = again.run("forget", again.out, "tampered")
    assert code == 2 and "say --yes" in printed and "tampered" in marks(again.out)
    code, printed = again.run("forget", again.out, "tampered", "--yes")
    assert code == 0 and "deleted of tampered: gradebook.db" in printed
    left = [file for file in again.out.rglob("*") if mark.decode() in file.name]
    left += [file for file in again.out.rglob("*") if file.is_file() and mark in file.read_bytes()]
    assert left == []
    assert marks(again.out)["right"]["checks"] == "6.0"


def test_forget_overwrites_what_was_in_the_database(tmp_path, monkeypatch):
    """Deleted rows stay in the file until something is written over them, in most builds of SQLite."""

    def as_in_most_builds(connection, _):
        connection.execute("PRAGMA secure_delete = OFF")

    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # alembic lies there
    name = "somebody-who-wants-to-be-forgotten"
    event.listen(Engine, "connect", as_in_most_builds)
    try:
        with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
            gradebook.add_student(name)
            gradebook.add_student("bruno")
        assert name.encode() in (tmp_path / "gradebook.db").read_bytes()
        assert scores.forget(tmp_path, name) == ["gradebook.db"]
    finally:
        event.remove(Engine, "connect", as_in_most_builds)
    left = (tmp_path / "gradebook.db").read_bytes()
    assert name.encode() not in left and b"bruno" in left


LATE = """
due = 2026-12-01T23:59:00+01:00
percent_per_day = 10
grace_hours = 1
at_most = 35
extension_days = { amira = 2 }
"""


@pytest.mark.parametrize(
    ("student", "handed_in", "days", "percent"),
    [
        ("bruno", "2026-12-01 22:58:00 UTC", 0, 0),
        ("bruno", "2026-12-02 00:58:00 Europe/Berlin", 0, 0),  # within the grace
        ("bruno", "2026-12-02 01:00:00 Europe/Berlin", 1, 10),
        ("bruno", "2026-12-03 22:58:59 UTC", 2, 20),
        ("bruno", "2026-12-03 22:59:01 UTC", 3, 30),
        ("bruno", "2027-01-01 00:00:00 UTC", 31, 35),  # the cap
        ("amira", "2026-12-03 22:58:59 UTC", 0, 0),  # the extension
        ("amira", "2026-12-04 22:00:00 UTC", 1, 10),
        ("bruno", "", 0, 0),
    ],
)
def test_late_days(tmp_path, student, handed_in, days, percent):
    (tmp_path / "late.toml").write_text(LATE)
    assert late.read_policy(tmp_path).of(student, handed_in) == late.Lateness(days, percent)


def test_late_work_is_on_the_page_and_in_the_export_and_raw_marks_stay(again):
    (again.out / "late.toml").write_text(LATE)
    code, printed = again.run("feedback", again.out)
    assert code == 0 and "2 days late, 20 % off" in printed
    row = marks(again.out)["right"]
    assert (row["total"], row["counts"], row["late_percent"]) == ("6.0", "4.8", "20.0")
    page = (again.out / "feedback" / "right.html").read_text()
    assert "2 days late" in page and "so 4.8 points count" in page and "6 of 10 points" in page
    assert "note: late.toml extends amira, of whom nothing is here" in printed


def test_a_time_of_submission_that_comes_later_counts_without_another_run(again):
    (again.out / "late.toml").write_text(LATE)
    again.run("feedback", again.out)
    stamp, lines = again.folder / "right" / "waves" / "timestamp.txt", (again.out / "log.jsonl").read_text()
    stamp.write_text("2026-12-04 12:00:00 UTC")
    code, printed = again.run("grade", again.folder, "--out", again.out)
    assert "right: the time of submission is 2026-12-04 12:00:00 UTC now" in printed
    assert "changed: right: counts 4.8 -> 4.2, for the time of submission" in printed
    assert marks(again.out)["right"]["counts"] == "4.2"
    new = (again.out / "log.jsonl").read_text().removeprefix(lines).splitlines()
    assert len(new) == 1 and json.loads(new[0])["handed_in"] == "2026-12-04 12:00:00 UTC"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("due = 2026-12-01", "write it with its zone"),
        ("due = 2026-12-01T23:59:00", "write it with its zone"),
        (LATE + "[x]", "x is unknown; there are due"),
        (LATE.replace("10", "-1"), "percent_per_day = -1 is not a number from 0 on"),
        (LATE.replace("= 2 ", "= 'two' "), "amira = 'two' is not a number"),
        ("due", "late.toml: Expected '='"),
    ],
)
def test_a_wrong_late_table_is_refused_in_words(tmp_path, text, says):
    (tmp_path / "late.toml").write_text(text)
    with pytest.raises(FolderError, match=says):
        late.read_policy(tmp_path)
