"""Hidden checks of the assignment "mace_mp0": the visible statements again, on energies, networks and tables
drawn from the seed, and blind crystals. Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course import blind
from mg9 import data
from mg9.checks import (
    CheckFailed,
    Local,
    blind_crystals,
    figures,
    fine_tuning,
    leakage,
    references,
    register,
    tuning,
)
from mg9.checks.tools import expect_numbers, labelled

LARGEST_ERROR = {"full": 0.10, "tiny": 0.15}  # eV/atom


def some_elements(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Some elements, and another one."""
    drawn = rng.permutation(np.arange(1, 95))
    return np.sort(drawn[: int(rng.integers(4, 8))]), int(drawn[-1])


@register(
    "hidden.mace.zero",
    slide=31,
    outcome=6,
    cause="totals and numbers per atom are mixed, or an element that is not known is not NaN",
)
def zero_shot(student: Local, rng: np.random.Generator, fit: Callable, formation: Callable) -> str:
    for _ in range(3):
        elements, other = some_elements(rng)
        references.holds_references(student, rng, fit, elements, missing=other)
        references.holds_formation(student, rng, formation, elements, unknown=other)
    return "three tables of other elements"


@register(
    "hidden.mace.leakage", slide=47, outcome=7, cause="count rows of the test part that were seen, not frames"
)
def seen(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for n in (5, 20):
        leakage.holds_leakage(student, function, *leakage.drawn_parts(rng, n))
    return "two random test parts"


@register("hidden.mace.pool", slide=38, outcome=8, cause="atoms are divided by those of their own crystal")
def pooled(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for rounds in (1, 2, 3):
        atoms = [int(n) for n in rng.integers(1, 9, size=5)]
        features = [int(F) for F in rng.choice(np.arange(2, 12), size=rounds, replace=False)]
        tuning.holds_pool(student, rng, function, atoms, features)
    return "one, two and three rounds"


@register(
    "hidden.mace.chosen",
    slide=43,
    outcome=6,
    cause="the last round has the largest number, which may have two digits: rounds.1. is not rounds.11.",
)
def chosen(student: Local, rng: np.random.Generator, choose: Callable, loss: Callable) -> str:
    for layers in (1, 3, 12):
        for stage in tuning.STAGES:
            tuning.holds_chosen(student, choose, layers, stage)
    tuning.holds_loss(student, rng, loss, [int(n) for n in rng.integers(1, 25, size=7)])
    return "networks of one, three and twelve rounds; seven other cells"


@register(
    "hidden.mace.tuning",
    slide=43,
    outcome=6,
    cause="what is trained does not follow the names that are given, or crystals are taken from elsewhere",
)
def tuned(student: Local, rng: np.random.Generator, function: Callable) -> str:
    table = labelled().table
    close = [
        name
        for name in rng.permutation(table.index[table.nsites == 2])[:60]
        if len(np.unique(labelled().structure(name).get_neighbor_list(3.5)[0])) == 2
    ]
    begins = [("model.atoms.", "model.rounds.1."), ("model.rounds.0.", "model.readouts.1.")][
        int(rng.integers(2))
    ]
    for start in (begins, fine_tuning.BEGINS[-1]):
        fine_tuning.holds_tuning(student, function, close[:4], start, seed=int(rng.integers(2**31)))
    return "four other crystals, another choice of what is trained"


@register("hidden.mace.fair", slide=47, outcome=7, cause="the rows on which every model has an answer")
def fair(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for models in (2, 5):
        rows = int(rng.integers(20, 60))
        leakage.holds_fair(student, rng, function, models, rows, silent=int(rng.integers(3, 9)))
    return "two random tables"


@register(
    "hidden.mace.blind",
    slide=47,
    outcome=6,
    cause="references of another split, energies of cells, or a learning rate that destroys what was learned",
)
def blind_accuracy(student: Local, rng: np.random.Generator, ids: Sequence[str], prediction: Any) -> str:
    names = blind_crystals.blind_ids(ids, student.budget)
    value = expect_numbers(prediction, len(names), "blind_prediction")
    truth = blind.labels("formation_energy").loc[names, "formation_energy_per_atom"].to_numpy()
    error, largest = float(np.abs(value - truth).mean()), LARGEST_ERROR[student.budget]
    if not error <= largest:
        formulas = data.blind("formation_energy").table.loc[names, "formula"]
        raise CheckFailed(
            "the blind crystals are predicted too badly",
            expected=f"MAE of at most {largest:.2f} eV/atom",
            got=f"{error:.3f} eV/atom",
            figure=figures.families(formulas, value - truth, "eV/atom"),
        )
    return f"MAE {error:.3f} eV/atom on {len(names)} blind crystals (at most {largest:.2f})"
