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
from sandboxes import needs_sandbox

from course.grader.cli import _parser

ROOT = Path(__file__).parents[1]
HANDBOOK = (ROOT / "course" / "HANDBOOK.md").read_text(encoding="utf-8")
PAGES = [HANDBOOK, *((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md"))]
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


@needs_sandbox
def test_each_command_of_the_handbook_does_what_stands_beside_it(place):
    """In their order; those for a cluster, which test_scale.py runs, apart."""
    here = [command for command in COMMANDS if "--scheduler" not in command]
    assert [command.split()[0] for command in here] == ["grade"] * 4 + ["export", "forget"]
    marks, said = place / "gradebook" / "cgcnn", []
    for command in [*here[:-1], "feedback gradebook/cgcnn", *INLINE_WITH_STUDENT, here[-1]]:
        if command.startswith("export"):
            (policy,) = [block for block in blocks() if block.startswith("due = ")]
            (marks / "late.toml").write_text(policy, encoding="utf-8")
        words = [sys.executable, "-m", "course.grader.cli", *shlex.split(command)]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        said.append(done.stdout + done.stderr)
        lines = (marks / "log.jsonl").read_text().splitlines() if marks.exists() else []
        told = [json.loads(line)["student"] for line in lines]
        if len(said) == 1:
            assert sorted(told) == ["amira", "bruno"]
        elif len(said) <= 3:
            assert len(told) == 2  # a dry run, and nothing new
        elif len(said) == 4:
            assert len(told) == 4 and "0 students' marks changed" in said[-1]
    assert (place / "points.csv").read_text().splitlines() == [
        "Name,Points,late_days,outcome3",
        "amira,6.0,0,5.0",  # three days more
        "bruno,0.0,2,0.0",
    ]
    assert "amira" in said[-2] and not (marks / "submitted" / "amira").exists()
    assert set(told) == {"bruno"}


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
