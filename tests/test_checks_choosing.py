"""The checks of the assignment "choosing": right code passes however it is written, wrong code fails by name.

Right and wrong code are those of the self-test's description; here they run without a sandbox. What holds for
every assignment of this kind stands in test_checks_practice.py.
"""

import re

import numpy as np
import pytest
from checking import code_cells, described, graded, mutated, names_with, outcomes, solved

from course.hidden import choosing as hidden
from mg9 import groups, h_choose
from mg9.checks import REGISTRY, CheckFailed, Local, board, check, choosing, find
from mg9.checks.choosing import Problem

find("choosing.tree")
GRADED = graded("choosing")
DESCRIBED = described("choosing")


@pytest.fixture(scope="module")
def reference():
    return solved("choosing")


@pytest.mark.parametrize("rewrite", DESCRIBED["rewrite"], ids=lambda one: one["name"])
def test_right_code_passes_however_it_is_written(rewrite, monkeypatch):
    names = names_with("choosing", rewrite["cells"])
    for seed in range(5):
        monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
        assert not outcomes(names, GRADED)


@pytest.mark.parametrize("mutant", DESCRIBED["mutant"], ids=lambda one: one["name"])
def test_wrong_code_fails_and_its_mistake_is_named(mutant, monkeypatch):
    names = names_with("choosing", mutated("choosing", mutant))
    for seed in range(3):
        monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
        failures = outcomes(names, GRADED)
        assert set(mutant["fails"]) <= set(failures) <= {*mutant["fails"], *mutant.get("may", ())}
        first = failures[mutant["fails"][0]]
        assert re.search(mutant["says"], first), first
        assert f"reread slide {REGISTRY[mutant['fails'][0]].slide}" in first


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text", [], {}])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))


SCENARIOS = choosing.SCENARIOS | hidden.SCENARIOS
FUNCTIONS = sorted(set(GRADED) - {"choosing.scenarios", "hidden.choosing.scenarios", "choosing.splits"})


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("value", [None, 1.0, 5, {}, [], np.ones(2), "refuse", *choosing.KINDS])
def test_a_function_that_always_says_the_same_fails(name, value):
    with pytest.raises(CheckFailed):
        check(name, *[lambda *_: value] * len(GRADED[name]))


@pytest.mark.parametrize("kind", choosing.KINDS)
def test_one_kind_for_every_scenario_fails(kind):
    for name in ("choosing.scenarios", "hidden.choosing.scenarios"):
        with pytest.raises(CheckFailed):
            check(name, dict.fromkeys(choosing.LETTERS, kind))


# What the checks rest on


def test_every_scenario_has_an_answer_and_most_kinds_are_one():
    right = {letter: choosing.allowed(problem) for letter, problem in SCENARIOS.items()}
    assert right == {
        "A": {"descriptors"},
        "B": {"equivariant network"},
        "C": {"invariant network", "attention"},
        "D": {"foundation model as it is"},
        "E": {"invariant network"},
        "F": {"descriptors"},
        "G": {"attention"},
        "H": {"refuse"},
    }


def test_what_is_allowed_is_what_the_deck_recommends():
    """Slide 45, line by line, and the crossover of slide 46."""
    assert choosing.allowed(Problem(30, "formation energy")) == {"descriptors"}
    few = {"fine-tuned foundation model", "equivariant network"}
    assert choosing.allowed(Problem(800, "energy", True)) == few
    assert choosing.allowed(Problem(800, "band gap")) == few | {"invariant network", "descriptors"}
    many = {"fine-tuned foundation model", "invariant network", "attention"}
    assert choosing.allowed(Problem(50_000, "band gap")) == many
    assert "equivariant network" in choosing.allowed(Problem(99_999, "energy", True))
    assert "equivariant network" not in choosing.allowed(Problem(100_000, "energy", True))
    assert "foundation model from scratch" in choosing.allowed(Problem(20_000_000, "energy", True))
    assert choosing.allowed(Problem(500, "universal potential", checkpoint=False)) == {"refuse"}
    assert choosing.CROSSOVER == h_choose.CROSSOVER


def test_every_wrong_choice_is_told_why_and_never_what_is_right():
    problems = list(SCENARIOS.values())
    rng = np.random.default_rng(0)
    for target in hidden.TARGETS:
        for checkpoint in (True, False):
            sizes = [0, *(int(10**x) for x in rng.uniform(0, 8, size=12))]
            problems += [Problem(n, target, False, "any", checkpoint) for n in sizes]
            problems += [Problem(n, "energy", True, "minimal", checkpoint) for n in sizes]
    for problem in problems:
        right = choosing.allowed(problem)
        assert right <= set(choosing.KINDS) and right
        for kind in set(choosing.KINDS) - right:
            told = " ".join(choosing.why_not(kind, problem))
            assert "neither list" not in told or kind in ("invariant network", "equivariant network"), told
            assert not {one for one in right - {"refuse"} if one in told and one != kind}, (problem, told)


def test_the_effective_size_is_the_package_s_where_a_group_errs_as_one(reference):
    rng = np.random.default_rng(0)
    names = [str(x) for x in rng.choice(list("abcd"), size=30)]
    assert reference["effective_size"](names, 1.0) == pytest.approx(groups.effective_sample_size(names))
    draws = rng.normal(size=(20_000, 4))[:, np.unique(names, return_inverse=True)[1]]
    errors = 0.3**0.5 * draws + 0.7**0.5 * rng.normal(size=draws.shape)  # a correlation of 0.3 in a group
    assert 1 / errors.mean(axis=1).var() == pytest.approx(reference["effective_size"](names, 0.3), rel=0.05)


def test_the_leaderboard_of_the_check_has_each_kind_of_claim():
    assert set(board.truth(board.BOARD).values()) == {"holds", "falls", "open"}
    for seed in range(20):
        drawn = hidden.random_board(np.random.default_rng(seed))
        board.holds_claims(Local(), board.truth, drawn)


def test_on_real_crystals_a_claim_of_the_random_split_falls(reference, monkeypatch):
    """What the notebook says at its full budget."""
    monkeypatch.setenv("MG9_BUDGET", "full")
    names = dict(reference)
    for cell in code_cells("choosing"):
        source = "".join(cell["source"])
        if cell["id"] == "budget" or "b_ladder.ridge()" in source or source.startswith("table = "):
            exec(source, names)
    verdicts = board.truth(names["board"])
    assert verdicts["forest beats ridge"] == "falls" and verdicts["forest beats mean"] == "holds"
