"""The command `mg9`, with real notebooks in real kernels."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from packaging.requirements import Requirement

import mg9
from mg9.cli import main
from mg9.doctor import Problem, dependency, diagnose

HEAD = b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ['
CHECKS = """\
import os, sys, time
from mg9.checks import CheckFailed, check, register

@register("number.even", slide=8, outcome=1, cause="one was added")
def even(student, rng, number):
    if number % 2:
        raise CheckFailed("the number is odd", crystal="mp-149", expected=2, got=number)
    return "even"
"""


def cell(source: str, grade_id: str = "", points: float = 0, kind: str = "code", **flags: bool):
    made = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[kind](source)
    if grade_id:
        made.metadata["nbgrader"] = {"grade_id": grade_id, "points": points, "schema_version": 3, **flags}
    return made


def graded(source: str, grade_id: str, points: float):
    return cell(source, grade_id, points, grade=True, solution=False, locked=True)


def write(path: Path, *cells) -> Path:
    """A notebook that names a kernel which is not installed, as one from another machine may."""
    kernel = {"name": "elsewhere", "display_name": "Elsewhere", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def row(output: str, grade_id: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith(grade_id + " "))


def test_the_score_so_far(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = write(
        tmp_path / "exercise.ipynb",
        cell(CHECKS),
        cell("def unwritten():\n    raise NotImplementedError", "solution", grade=False, solution=True),
        cell("assert os.environ['MG9_BUDGET'] == 'tiny'\nvalue = 1 + 'a'"),
        graded("check('number.even', 2)", "even", 14),
        graded("check('number.even', 3)", "odd", 4),
        graded("check('number.even', unwritten())", "unwritten", 1),
        graded("check('number.even', value)", "follows", 1),
        graded("# other numbers are tried when this is graded", "hidden", 12),
        cell("An answer.", "written", 5, "markdown", grade=True, solution=True),
        graded("check('number.even', 3)", "odd", 4),
    )
    before = notebook.read_bytes()
    assert main(["check", str(notebook)]) == 1
    output = capsys.readouterr().out
    assert row(output, "even") == ["even", "number.even", "passed", "14", "of", "14"]
    assert row(output, "odd") == ["odd", "number.even", "failed", "0", "of", "4"]
    assert row(output, "hidden") == ["hidden", "-", "hidden", "12"]
    assert row(output, "written") == ["written", "-", "by", "hand", "5"]
    for message in (
        "number.even: the number is odd",
        "where: mp-149",
        "expected 2, got 3",
        "usual cause: one was added",
        "reread slide 08",
        "not written yet",
        "NameError: name 'value' is not defined",
        "note: the first cell that failed is cell 3: TypeError",
        "note: two cells have the grade id 'odd'",
    ):
        assert message in output, message
    assert output.endswith("visible points 14 of 20; 12 more are decided by hidden checks; 5 by hand\n")
    assert list(tmp_path.iterdir()) == [notebook] and notebook.read_bytes() == before


def test_all_passed_at_full_budget_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = write(
        tmp_path / "exercise.ipynb",
        cell(
            CHECKS + "\nassert os.environ['MG9_BUDGET'] == 'full' and os.getcwd() == " + repr(str(tmp_path))
        ),
        graded("check('number.even', 2)", "even", 3),
    )
    saved = tmp_path / "saved.ipynb"
    assert main(["check", str(notebook), "--full", "--save", str(saved)]) == 0
    output = capsys.readouterr().out
    assert "note:" not in output and output.endswith("visible points 3 of 3\n")
    assert "even" in nbformat.read(saved, 4).cells[1].outputs[0].text


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = write(
        tmp_path / "exercise.ipynb",
        cell("import time\ndef check(name, value): pass"),
        graded("check('slow', time.sleep(60))", "slow", 1),
        graded("check('quick', 1)", "quick", 2),
    )
    assert main(["check", str(notebook), "--timeout", "2"]) == 1
    output = capsys.readouterr().out
    assert "took too long and was stopped" in output
    assert output.endswith("visible points 2 of 3\n")


def test_a_dead_kernel_is_not_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = write(
        tmp_path / "exercise.ipynb",
        cell(CHECKS),
        graded("check('number.even', 2)", "even", 3),
        cell("os._exit(1)"),
        graded("check('number.even', 2)", "later", 2),
    )
    assert main(["check", str(notebook)]) == 1
    output = capsys.readouterr().out
    assert "the kernel died in cell 3" in output
    assert row(output, "later")[2:] == ["not", "run", "0", "of", "2"]
    assert output.endswith("visible points 3 of 5\n")


def test_control_c_keeps_what_was_earned_and_stops_the_kernel(tmp_path: Path) -> None:
    notebook = write(
        tmp_path / "exercise.ipynb",
        cell(CHECKS),
        graded("check('number.even', 2)", "even", 3),
        cell("open('reached', 'w').write(str(os.getpid()))\ntime.sleep(60)"),
    )
    command = subprocess.Popen(
        [sys.executable, "-m", "mg9.cli", "check", str(notebook)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal
    )
    reached, patience = tmp_path / "reached", time.monotonic() + 60
    while not (reached.exists() and reached.read_text()) and time.monotonic() < patience:
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=30)
    assert command.returncode == 1 and "Traceback" not in errors
    assert "stopped by Ctrl-C in cell 3" in output and "visible points 3 of 3" in output
    assert not psutil.pid_exists(int(reached.read_text()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"\x93NUMPY\x01\x00\xff", "not a text file"),
        (b"", "not a valid notebook"),
        (b"cells: []", "not a valid notebook"),
        (b"[1, 2]", "not a valid notebook"),
        (b"{}", "not a valid notebook"),
        (HEAD + b'{"cell_type"', "not a valid notebook"),
        (HEAD + b"{}]}", "not a valid notebook"),
        (
            HEAD + b'{"cell_type": "markdown", "id": "a", "metadata": {}, "source": 5}]}',
            "not a valid notebook",
        ),
        (HEAD + b"]}", "has no graded cells"),
    ],
)
def test_what_cannot_be_scored(
    content: bytes | None, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.ipynb"
    if content is not None:
        path.write_bytes(content)
    assert main(["check", str(path)]) == 2
    output, errors = capfd.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert str(path) in errors and reason in errors


def test_a_folder_cannot_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_the_warnings_of_libraries_do_not_reach_the_student(tmp_path: Path) -> None:
    path = tmp_path / "old.ipynb"
    path.write_bytes(HEAD + b'{"cell_type": "markdown", "metadata": {}, "source": "without an id"}]}')
    command = [sys.executable, "-m", "mg9.cli", "check", str(path)]
    errors = subprocess.run(command, capture_output=True, text=True).stderr
    assert errors.count("\n") == 1 and "has no graded cells" in errors


def test_this_installation_is_sound() -> None:
    found = list(diagnose())
    assert not [line for works, line in found if not works]
    lines = [line for _, line in found]
    for subject in ("Python", "torch", "data set formation_energy", "cache folder", "Jupyter kernel"):
        assert any(line.startswith(f"{subject}: ") for line in lines), subject


def test_each_problem_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    broken = '{"argv": ["false", "{connection_file}"], "display_name": "Python 3", "language": "python"}'
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(broken)
    (tmp_path / "file").touch()
    environment = os.environ | {
        "JUPYTER_PATH": str(tmp_path),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "MG9_CACHE": str(tmp_path / "file" / "cache"),
        "MEM_LIMIT": "1000000",
        "CPU_LIMIT": "1",
        "OMP_NUM_THREADS": "2",
    }
    command = [sys.executable, "-m", "mg9.cli", "doctor"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem ")]
    assert result.returncode == 1 and "Traceback" not in result.stderr
    for problem, (subject, remedy) in zip(
        problems,
        [
            ("cache folder", "set MG9_CACHE"),
            ("memory", "shut other kernels down"),
            ("threads", "set OMP_NUM_THREADS=1"),
            ("Jupyter kernel", "delete .venv and run `make setup`"),
        ],
        strict=True,
    ):
        assert re.match(rf"problem +{subject}: ", problem) and remedy in problem, problem
    assert result.stdout.endswith("4 problems to solve\n")


@pytest.mark.parametrize(
    ("stated", "message"), [("torch==1.0", "the course needs ==1.0"), ("abinit", "not installed")]
)
def test_a_dependency_that_is_not_as_stated(stated: str, message: str) -> None:
    with pytest.raises(Problem, match=message):
        dependency(Requirement(stated))


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        (["--version"], f"mg9 {mg9.__version__}"),
        (["--help"], "mg9 check exercises/cgcnn/cgcnn.ipynb"),
        (["check", "--help"], "mg9 check cgcnn.ipynb --full"),
        (["doctor", "--help"], "exit status: 0 if all is well"),
    ):
        with pytest.raises(SystemExit, match="0"):
            main(arguments)
        assert expected in capsys.readouterr().out
