"""A folder of submissions as it was handed in: read, repaired and judged, but not run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .form import assignments, grade_ids, read_source
from .ingest import FolderError, Submission, find_submissions, ingest


@dataclass(frozen=True)
class Class:
    """A folder of submissions to one assignment, read but not run."""

    assignment: str
    source: NotebookNode
    submissions: tuple[Submission, ...]


def read_class(root: Path, assignment: str, folder: Path, only: str | None = None) -> Class:
    """Ingest FOLDER, or one student of it. Raises `FolderError` and `FormError`."""
    source = read_source(root, assignment)
    others = {name: grade_ids(root, name) for name in assignments(root) if name != assignment}
    students = find_submissions(folder, assignment, others)
    if only is not None and only not in students:
        raise FolderError(f"{folder} has no student {only!r}; there are {', '.join(students)}")
    chosen = students if only is None else {only: students[only]}
    read = (ingest(student, files, assignment, source, others) for student, files in chosen.items())
    return Class(assignment, source, tuple(read))
