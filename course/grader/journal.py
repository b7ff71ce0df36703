"""log.jsonl: one line for each submission and run, to which lines are only added. One writer.

A line holds what a regrade needs and what a page shows: the file's sha256, the assignment's, the terms (seed,
budget, limits), versions, whether a sandbox held the code, the verdict, and each question's result. It is
written last: a submission without its line is run again, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .ingest import FolderError


class Journal:
    """The log in one folder of marks."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "log.jsonl"
        self._lines: list[dict] | None = None

    def lines(self) -> list[dict]:
        """All lines, oldest first. The rest of a line that a crash cut off is no line."""
        if self._lines is None:
            text = self.file.read_text(encoding="utf-8") if self.file.is_file() else ""
            whole = text[: text.rfind("\n") + 1]
            self._lines = [json.loads(line) for line in whole.splitlines() if line]
        return self._lines

    def latest(self) -> dict[str, dict]:
        """Student -> last line."""
        return {line["student"]: line for line in self.lines()}

    def latest_graded(self) -> dict[str, dict]:
        """Student -> last line of a submission that was graded."""
        return {line["student"]: line for line in self.lines() if line["graded"]}

    @property
    def seed(self) -> int | None:
        """The seed of the last run, None if there was none: a class is graded with one."""
        lines = self.lines()
        return lines[-1]["terms"]["seed"] if lines else None

    def append(self, line: dict) -> None:
        """Add a line; it is on the disk when this returns."""
        lines = self.lines()
        with self.file.open("rb+" if self.file.exists() else "wb") as file:
            if self.file.stat().st_size:
                file.truncate(self.file.read_bytes().rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        lines.append(json.loads(json.dumps(line)))

    def forget(self, student: str) -> int:
        """Take a student's lines out; returns how many there were. The only change of what was written."""
        kept = [line for line in self.lines() if line["student"] != student]
        gone = len(self.lines()) - len(kept)
        new = self.file.with_suffix(".new")
        new.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        new.replace(self.file)
        self._lines = kept
        return gone


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Nobody else writes into `folder` meanwhile. Raises `FolderError` if somebody does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderError(
                f"another mg9-course is writing into {folder}; wait until it is done"
            ) from error
        yield
