"""ngshare in place of the exchange folder, where users are containers (course/hub/README.md, Containers).

Its client logs what goes wrong and goes on; `heard` makes errors of that.

Read in order: `client`, `heard`, `send`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config, LoggingConfigurable

from .ingest import FolderError


def client(config: Config, what: str) -> type[LoggingConfigurable] | None:
    """ngshare's class for a transfer (release_assignment, collect, release_feedback), if it is configured."""
    kind = config.ExchangeFactory[what] if what in config.ExchangeFactory else None
    return kind if isinstance(kind, type) else None


@contextmanager
def heard(app: LoggingConfigurable) -> Iterator[None]:
    """Raise `FolderError` with what `app` logs as an error."""
    errors: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage())
    app.log.addHandler(handler)
    try:
        yield
    finally:
        app.log.removeHandler(handler)
    if errors:
        raise FolderError(f"ngshare: {'; '.join(dict.fromkeys(errors))}")


def send(config: Config, page: Path, work: Path, student: str, name: str) -> None:
    """Give a student the page about `work`, which was collected. Raises `FolderError`."""
    app = client(config, "release_feedback")(coursedir=CourseDirectory(config=config), config=config)
    app.coursedir.assignment_id = name
    stamp = (work / "timestamp.txt").read_text(encoding="utf-8").strip()
    with heard(app):
        app.post_feedback(student, stamp, [{"path": str(page), "notebook_id": name}])
