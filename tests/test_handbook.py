"""The handbook's commands are run as they stand, one after the other, on a small class."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import waves
from nbgrader.api import Gradebook
from sandboxes import needs_sandbox

from course.grader.cli import _parser

ROOT = Path(__file__).parents[1]
HANDBOOK = (ROOT / "course" / "HANDBOOK.md").read_text(encoding="utf-8")
OTHERS = ("README.md", "CONTRIBUTING.md", "course/grader/README.md")
PAGES = [HANDBOOK, *((ROOT / name).read_text(encoding="utf-8") for name in OTHERS)]
INLINE = re.findall(r"`mg9-course ([^`]*)`", "".join(PAGES))
INLINE_WITH_STUDENT = [command for command in INLINE if "--student" in command]
COMMANDS = re.findall(r"^    mg9-course (.*?)(?: +#.*)?$", HANDBOOK, re.M)


def blocks() -> list[str]:
    """The indented blocks, without their indent."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", HANDBOOK, re.M)
    return [re.sub(r"^    ", "", block, flags=re.M).lstrip("\n") for block in found]


@pytest.fixture(scope="module")
def place(plugin, tmp_path_factory) -> Path:
    """A course with a small assignment called cgcnn, and what two students handed in."""
    root = tmp_path_factory.mktemp("handbook")
    file = root / "solutions" / "cgcnn" / "cgcnn.ipynb"
    file.parent.mkdir(parents=True)
    nbformat.write(nbformat.from_dict(waves.waves()), file)
    assert waves.run("--root", root, "build")[0] == 0
    for student in ("amira", "bruno"):
        release = nbformat.read(root / "exercises" / "cgcnn" / "cgcnn.ipynb", as_version=4)
        handed_in = root / "submitted" / student / "cgcnn"
        handed_in.mkdir(parents=True)
        for cell in release.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            cell.source = waves.RIGHT.get(name, cell.source) if student == "amira" else cell.source
        nbformat.write(release, handed_in / "cgcnn.ipynb")
        (handed_in / "timestamp.txt").write_text("2026-12-03 12:00:00 UTC")
    return root


ELSEWHERE = {  # command: the test that runs it, and how
    "doctor": ("test_sandbox.py", "doctor.doctor()"),
    "selftest": ("test_selftest.py", "run_suite(suite"),
    "package": ("test_student.py", 'waves.run("package"'),
    "new": ("test_author.py", '"new", "phonons"'),
    "--scheduler": ("test_scale.py", "--scheduler"),
}


def test_what_is_not_run_here_is_run_by_another_test():
    for command, (file, call) in ELSEWHERE.items():
        assert any(command in words.split() for words in COMMANDS), command
        assert call in (ROOT / "tests" / file).read_text(encoding="utf-8"), command


@needs_sandbox
def test_each_command_of_the_handbook_does_what_stands_beside_it(place, monkeypatch):
    """In their order, but forgetting last."""
    (place / "exchange").mkdir(mode=0o777)
    (place / "exchange").chmod(0o777)
    monkeypatch.setenv("MG9_EXCHANGE", str(place / "exchange"))
    monkeypatch.chdir(place)
    here = [command for command in COMMANDS if not ELSEWHERE.keys() & set(command.split())]
    assert {command.split()[0] for command in here} == {
        *("build", "release", "collect", "grade", "status", "feedback", "return", "export", "forget")
    }
    here.sort(key=lambda command: command.startswith("forget"))
    marks, said, runs = place / "gradebook" / "cgcnn", {}, []
    for command in [*here[:-1], *INLINE_WITH_STUDENT, here[-1]]:
        if command.startswith("export"):
            (policy,) = [block for block in blocks() if block.startswith("due = ")]
            (marks / "late.toml").write_text(policy, encoding="utf-8")
            appeal(marks)
        code, said[command] = waves.run(*shlex.split(command))
        assert code == int(command.startswith("status")), f"{command}\n{said[command]}"
        lines = (marks / "log.jsonl").read_text().splitlines() if marks.exists() else []
        told = [json.loads(line)["student"] for line in lines]
        runs += [len(told)] if command.startswith("grade") else []
    assert runs == [2, 2, 2, 4]  # all, a dry run, nothing new, all again
    assert "0 students' marks changed" in said["grade submitted --again"]
    assert "released: cgcnn" in said["release cgcnn"] and "nobody" in said["collect cgcnn"]
    assert (place / "exchange" / "mg9" / "outbound" / "cgcnn" / "cgcnn.ipynb").is_file()
    assert "2 handed in, 2 graded, 1 answered\nto mark by hand: amira:" in said["status submitted"]
    assert (place / "points.csv").read_text().splitlines() == [
        "Name,Points,late_days,outcome3",
        "amira,6.0,0,5.0",  # three days more
        "bruno,1.6,2,2.0",  # two points after his appeal, less a fifth
    ]
    assert "amira" in said[INLINE_WITH_STUDENT[0]] and not (marks / "submitted" / "amira").exists()
    assert set(told) == {"bruno"}


def appeal(marks: Path) -> None:
    """Give bruno the points of a check, as formgrader does."""
    with Gradebook(f"sqlite:///{marks}/gradebook.db") as gradebook:
        gradebook.find_grade("envelope-values", "cgcnn", "cgcnn", "bruno").manual_score = 2
        gradebook.db.commit()


@pytest.mark.parametrize("command", [*COMMANDS, *INLINE])
def test_each_command_that_is_named_exists(command):
    if command.split() in (["--help"], ["feedback"]):
        return
    assert _parser().parse_args(shlex.split(command.replace("$address", "tcp://host:8786"))).run


def test_the_late_table_is_one_and_the_job_is_a_script(tmp_path):
    (policy,) = [block for block in blocks() if block.startswith("due = ")]
    assert tomllib.loads(policy)["due"].tzinfo is not None
    (job,) = [block for block in blocks() if block.startswith("#!/bin/bash")]
    (tmp_path / "job.sh").write_text(job)
    assert subprocess.run(["bash", "-n", tmp_path / "job.sh"]).returncode == 0
    (address,) = re.findall(r"python -c '(.*?)'", job)
    (tmp_path / "sched.json").write_text('{"address": "tcp://host:1"}')
    found = subprocess.run([sys.executable, "-c", address], cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout == "tcp://host:1\n"
