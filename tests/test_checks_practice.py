"""What holds for the checks of every practice assignment whose right and wrong code is the self-test's."""

import re

import numpy as np
import pytest
from across import Across, handed
from checking import code_cells, described, graded, solved

import course.hidden  # noqa: F401  registers the hidden checks
from mg9.checks import REGISTRY, check, find

find("angles.lines")  # registers the visible checks
# Assignment: its points, and the seeds from which its checks draw.
PRACTICE = {
    "angles": (20, (7, 8)),
    "attention": (24, range(3, 8)),
    "choosing": (17, range(20)),
    "equivariance": (24, (7, 8)),
}
CHECKS = [(assignment, name) for assignment in PRACTICE for name in sorted(graded(assignment))]


@pytest.mark.parametrize("assignment", PRACTICE)
def test_the_notebook_calls_every_check(assignment):
    own = re.compile(rf"(hidden\.)?{assignment}\.")
    assert set(graded(assignment)) == {name for name in REGISTRY if own.match(name)}
    points = [c["metadata"].get("nbgrader", {}).get("points", 0) for c in code_cells(assignment)]
    assert sum(points) == PRACTICE[assignment][0]


@pytest.mark.parametrize("assignment", PRACTICE)
def test_every_check_catches_something(assignment):
    caught = {name for mutant in described(assignment)["mutant"] for name in mutant["fails"]}
    assert caught >= set(graded(assignment))


@pytest.mark.parametrize(("assignment", "name"), CHECKS)
def test_the_reference_passes_with_one_line_through_the_five_verbs(assignment, name, capsys):
    objects = [solved(assignment)[argument] for argument in graded(assignment)[name]]
    capsys.readouterr()  # what the notebook prints by itself
    check(name, *objects)
    assert re.fullmatch(rf"passed  {re.escape(name)}: .+\n", capsys.readouterr().out)
    for seed in PRACTICE[assignment][1]:
        REGISTRY[name].function(Across(), np.random.default_rng(seed), *map(handed, objects))
