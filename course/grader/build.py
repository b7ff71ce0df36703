"""From solutions/ to exercises/: nbgrader generates what students get from what instructors edit.

Read in order: `run_nbgrader` (how the grader calls nbgrader), `generate`, `build`.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveCells
from nbgrader.utils import capture_log
from traitlets.config import PyFileConfigLoader

from . import quicker  # noqa: F401  (nbgrader, changed)
from .form import FormError, read_source, source_file

CONFIG = Path(__file__).parents[1] / "nbgrader_config.py"


def run_nbgrader(
    converter: type[BaseConverter], root: Path, assignment: str, **traits: Any
) -> tuple[str, str]:
    """Run one of nbgrader's converters on the course folder `root`, with the course's settings.

    `traits` are set on the converter; `student` names one student (default: all). Returns what failed (""
    if nothing), and the whole log.
    """
    config = PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()
    course = CourseDirectory(config=config, root=str(root.absolute()), assignment_id=assignment)
    course.student_id = glob.escape(traits.pop("student")) if "student" in traits else "*"
    config.Exporter.optimistic_validation = True  # nbconvert's: at the end, not after each of twenty steps
    app = converter(coursedir=course, config=config)
    app.force = True
    for name, value in traits.items():
        setattr(app, name, value)
    with warnings.catch_warnings(action="ignore"):  # SQLAlchemy's, about nbgrader's own code
        result = capture_log(app)
    log = result.get("log", "") + result.get("error", "")
    reasons = [line.strip() for line in log.splitlines() if re.match(r" *\w*Error: ", line)]
    return ("" if result["success"] else (reasons or ["for no stated reason"])[0]), log


def generate(root: Path, assignment: str, course: Path, *, gradebook: bool = True) -> None:
    """Copy solutions/ASSIGNMENT into the folder `course` and run nbgrader's generate_assignment there.

    It writes course/exercises/ASSIGNMENT and, if asked, enters the assignment into course/gradebook.db.
    Raises `FormError`.
    """
    notebook = read_source(root, assignment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # JupyterLab's time stamps
    source, copy = source_file(root, assignment), source_file(course, assignment)
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(source.parent, copy.parent, ignore=shutil.ignore_patterns("*.ipynb", ".*", "__pycache__"))
    nbformat.write(notebook, copy)
    steps = [
        step for step in GenerateAssignment.preprocessors.default() if gradebook or step is not SaveCells
    ]
    failure, _ = run_nbgrader(
        GenerateAssignment, course, assignment, preprocessors=steps, no_database=not gradebook
    )
    if failure:
        raise FormError(f"solutions/{assignment}: nbgrader refused it: {failure}")


def build(root: Path, assignment: str, *, write: bool = True) -> list[str]:
    """Generate exercises/ASSIGNMENT; returns the files that changed (that would change, if not `write`)."""
    with tempfile.TemporaryDirectory(prefix="mg9-build-") as scratch:
        generate(root, assignment, Path(scratch), gradebook=False)
        new, old = Path(scratch) / "exercises" / assignment, root / "exercises" / assignment
        files = {file.relative_to(new): file.read_bytes() for file in new.rglob("*") if file.is_file()}
    there = {
        file.relative_to(old): file.read_bytes()
        for file in old.rglob("*")
        if file.is_file() and not any(part.startswith((".", "__")) for part in file.relative_to(old).parts)
    }
    changed = sorted(name for name in files.keys() | there.keys() if files.get(name) != there.get(name))
    for name in changed if write else ():
        if name in files:
            os.makedirs((old / name).parent, exist_ok=True)
            (old / name).write_bytes(files[name])
        else:
            (old / name).unlink()
    return [str(Path("exercises") / assignment / name) for name in changed]
