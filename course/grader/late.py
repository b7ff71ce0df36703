"""Late work and extensions: late.toml in the folder of marks. Raw marks stay; what counts follows from them.

    due = 2026-12-01T23:59:00+01:00     # with the zone
    percent_per_day = 10                # of the points earned, for each day begun after the due time
    grace_hours = 1                     # nothing is taken off within it
    at_most = 50                        # per cent
    [extension_days]
    amira = 3

The time of submission is nbgrader's timestamp.txt; work without one counts as in time.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .ingest import FolderError

FILE = "late.toml"


@dataclass(frozen=True)
class Lateness:
    """What late.toml makes of one submission."""

    days: int = 0  # begun days after the due time, extension included
    percent: float = 0.0  # taken off the points earned


@dataclass(frozen=True)
class Policy:
    """The rules of late.toml; without a file nothing is late."""

    due: datetime | None = None
    percent_per_day: float = 0.0
    grace_hours: float = 0.0
    at_most: float = 100.0
    extension_days: dict[str, float] = field(default_factory=dict)

    def of(self, student: str, handed_in: str) -> Lateness:
        """The lateness of what was handed in at that time (nbgrader's way to write it, "" if unknown)."""
        if self.due is None or not handed_in:
            return Lateness()
        from nbgrader.utils import parse_utc  # here, because it takes a second to import

        due = self.due + timedelta(days=self.extension_days.get(student, 0))
        over = parse_utc(handed_in).replace(tzinfo=UTC) - due
        if over <= timedelta(hours=max(0.0, self.grace_hours)):
            return Lateness()
        days = math.ceil(over / timedelta(days=1))
        return Lateness(days, float(min(self.at_most, days * self.percent_per_day)))


def read_policy(folder: Path) -> Policy:
    """The policy of a folder of marks. Raises `FolderError` that names what is not as it should be."""
    file = folder / FILE
    if not file.is_file():
        return Policy()
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FolderError(f"{file}: {error}") from error
    numbers = ("percent_per_day", "grace_hours", "at_most")
    unknown = table.keys() - {"due", "extension_days", *numbers}
    if unknown:
        known = ", ".join(("due", *numbers, "extension_days"))
        raise FolderError(f"{file}: {', '.join(sorted(unknown))} is unknown; there are {known}")
    due, days = table.get("due"), table.get("extension_days", {})
    if not isinstance(due, datetime) or due.tzinfo is None:
        raise FolderError(f"{file}: due = {due}; write it with its zone, due = 2026-12-01T23:59:00+01:00")
    values = {name: table[name] for name in numbers if name in table}
    for name, value in [*values.items(), *(days.items() if isinstance(days, dict) else [("days", days)])]:
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise FolderError(f"{file}: {name} = {value!r} is not a number from 0 on")
    return Policy(due, extension_days=days, **values)
