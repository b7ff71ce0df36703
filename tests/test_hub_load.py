"""A small class on a hub, as the benchmark holds it: no submission is lost, and nothing is left."""

from __future__ import annotations

import json

import pytest
from hubs import PATIENCE, needs_root

from benchmarks import hub_lesson, hub_load
from benchmarks.hub_lesson import Student


@needs_root
def test_a_class_that_logs_in_at_once_loses_no_submission():
    lesson = hub_load.hold_a_class(
        students=3, within=0, limit=3 * PATIENCE, assignment="angles", last="lines-check", budget="tiny"
    )
    assert [student.wrong for student in lesson.students] == [""] * 3
    assert len({student.saved for student in lesson.students}) == 3
    assert lesson.lost == lesson.left == []
    assert all(set(student.seconds) == set(hub_load.STEPS) for student in lesson.students)
    seen, idle = lesson.with_kernels, lesson.without
    assert seen.kernels > 3 * 50e6 and seen.servers > 3 * 30e6 and seen.processor > 3
    assert idle.kernels == 0 and idle.servers > 3 * 30e6
    assert hub_load.table(lesson).count("| -") == 0


class Instructor:
    """Somebody whose kernel says what it is told to."""

    def __init__(self, **found: object) -> None:
        self.found = {"says": "", "handed in": [["amira", "amira"]], "collected": {"amira": "a"}} | found
        self.login = self.wait_for_server = self.open_lab = lambda: None

    def kernel(self) -> Instructor:
        return self

    def run(self, code: str) -> str:
        return json.dumps(self.found)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({}, ""),
        ({"collected": {}}, "not collected as it was saved"),
        ({"collected": {"amira": "b"}}, "not collected as it was saved"),
        ({"collected": {"amira": "a", "mallory": "a"}}, "mallory: of nobody"),
        ({"handed in": []}, "not once in the exchange"),
        ({"handed in": [["amira", "mallory"]]}, "not once in the exchange"),
        ({"handed in": [["amira", "amira"]] * 2}, "not once in the exchange"),
    ],
)
def test_a_submission_that_is_lost_or_another_is_named(found, says):
    lost = hub_lesson.collect(Instructor(**found), [Student("amira", saved="a")], "angles")
    assert len(lost) == bool(says) and says in "".join(lost)
