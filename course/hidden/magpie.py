"""Hidden checks of the assignment "magpie": the visible statements again, on formulas, targets and errors
drawn from the seed. Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mg9.checks import Local, ladder, magpie, register
from mg9.checks.tools import labelled
from mg9.data.sources import MAGPIE


def random_formulas(rng: np.random.Generator, n: int) -> list[str]:
    """n different formulas of the labelled formation energies."""
    return [str(formula) for formula in rng.choice(labelled().table["formula"].unique(), n, replace=False)]


@register("hidden.magpie.statistics", slide=7, outcome=1, cause="c weighs mean and avg_dev; ties of the mode")
def statistics(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for formula in random_formulas(rng, 30):
        for name in rng.choice(list(MAGPIE), size=4, replace=False):
            if name != "Electronegativity":  # not known for every element
                magpie.holds_statistics(student, function, formula, str(name))
    return "thirty random formulas, random properties"


@register(
    "hidden.magpie.floor", slide=7, outcome=1, cause="the median of each composition, the mean over rows"
)
def floor(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for n in (1, 12, 60):
        composition = rng.choice(random_formulas(rng, 8), size=n)
        magpie.holds_floor(student, function, [str(name) for name in composition], rng.normal(-1, 1, size=n))
    return "three random tables with polymorphs"


@register(
    "hidden.magpie.scaling", slide=47, outcome=7, cause="mean and deviation of x[train] alone, for all rows"
)
def scaling(student: Local, rng: np.random.Generator, function: Callable) -> str:
    formulas = [*random_formulas(rng, 38), "He", "Ne"]
    for n in (12, 25):
        train = np.concatenate([rng.permutation(38)[:n], [int(rng.integers(38, 40))]])
        magpie.holds_scaling(student, rng, function, formulas, np.unique(train))
    return "forty random formulas, two random training parts"


@register(
    "hidden.magpie.ladder", slide=47, outcome=7, cause="fit on the training part of the random split alone"
)
def ladder_errors(
    student: Local,
    rng: np.random.Generator,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    predictions: dict,
) -> str:
    errors = ladder.holds_ladder(train_ids, test_ids, predictions)
    return ", ".join(f"{name} {error:.3f}" for name, error in errors.items()) + " eV/atom"


@register("hidden.magpie.interval", slide=47, outcome=7, cause="whole compositions are drawn, not rows")
def interval(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for _ in range(2):
        rows = rng.integers(1, 6, size=50)  # polymorphs of each composition
        own = np.repeat(rng.gamma(2.0, 0.05, size=50), rows) + 0.01 * rng.random(rows.sum())
        ladder.holds_interval(student, function, own, np.repeat(random_formulas(rng, 50), rows).tolist())
    return "two random tables of errors"
