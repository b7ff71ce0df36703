"""Checks of energies per element, and of what total energies are without them (slides 31, 43, 50).

`counts` (B, 101) has the atoms of each element in a column of its own, the atomic number; `e` (101,) in eV is
NaN where nothing is known. The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from mg9.a_errors import N_ELEMENTS
from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_numbers

TOLERANCE = 1e-3  # eV: an answer in single precision is right


def drawn_counts(rng: np.random.Generator, elements: np.ndarray, n: int) -> np.ndarray:
    """(n, 101): crystals of one to three of the elements, and each element alone in one of the first."""
    counts = np.zeros((n, N_ELEMENTS + 1))
    for row in range(n):
        some = rng.choice(elements, size=int(rng.integers(2, 4)), replace=False)
        counts[row, some if row >= len(elements) else elements[row]] = rng.integers(1, 5)
    return counts


@register(
    "mace.references",
    slide=31,
    outcome=6,
    cause="least squares of counts[train] against energy[train] - atoms[train] * target[train], in columns "
    "of elements that occur there; NaN elsewhere",
)
def references(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_references(student, rng, function, np.array([3, 8, 14, 26]), missing=9)
    return "the elements of the training part have their energies, the others none"


def holds_references(
    student: Local, rng: np.random.Generator, function: Callable, elements: np.ndarray, missing: int
) -> None:
    """Energies that are known exactly; the rows outside the training part are 1 eV/atom off, and one element
    occurs only there."""
    n = 8 * len(elements)
    counts, train = drawn_counts(rng, elements, n), np.arange(n * 3 // 4)
    counts[n - 2 :, missing] = 2
    atoms, target = counts.sum(axis=1), rng.uniform(-3, 0, size=n)
    truth = np.full(N_ELEMENTS + 1, np.nan)
    truth[elements] = rng.uniform(-9, -2, size=len(elements))
    energy = counts @ np.nan_to_num(truth) + atoms * target
    energy[len(train) :] += atoms[len(train) :]
    value = student.call(function, counts.copy(), energy.copy(), target.copy(), train.copy())
    got = array_of(value, N_ELEMENTS + 1, "the references")

    def fitted(rows: np.ndarray, right_side: np.ndarray) -> np.ndarray:
        columns = [*elements, *[missing] * (len(rows) == n)]
        return np.linalg.lstsq(counts[rows][:, columns], right_side[rows], rcond=None)[0][: len(elements)]

    every, per_cell, no_target = np.arange(n), energy - target, energy
    mistakes = {
        "rows outside the training part went into the fit": fitted(every, energy - atoms * target),
        "energy is that of a cell, target is per atom: multiply it by the atoms": fitted(train, per_cell),
        "counts are those of the cell, energy and target were taken per atom": fitted(
            train, energy / atoms - target
        ),
        "the sign of the target: energy = references + atoms * target": fitted(
            train, energy + atoms * target
        ),
        "the formation energies are left out: the references should not explain them": fitted(
            train, no_target
        ),
        "the sign: these are minus the energies": -truth[elements],
    }
    named(got[elements], truth[elements], mistakes, "another reference energy", "eV")
    if not np.isnan(got[missing]):
        what = "an element that the training part does not show has a reference energy all the same"
        raise CheckFailed(what, crystal=f"Z = {missing}", expected="NaN", got=f"{got[missing]:.3f} eV")
    if not np.isnan(np.delete(got, elements)).all():
        raise CheckFailed(
            "elements that occur nowhere have a reference energy", expected="NaN", got="numbers"
        )


def array_of(value: Any, n: int, what: str) -> np.ndarray:
    """(n,) numbers, which may be NaN."""
    if not isinstance(value, np.ndarray | Tensor):
        raise WrongKind(f"{what} should be an array", expected=f"({n},)", got=type(value).__name__)
    value = np.asarray(value, dtype=float)
    if value.shape != (n,):
        raise CheckFailed(f"{what} have another shape", expected=(n,), got=value.shape)
    return value


def named(got: np.ndarray, truth: np.ndarray, mistakes: dict, what: str, unit: str) -> None:
    """Numbers against the true ones; a usual mistake is called by its name."""
    off = np.abs(got - truth)
    if (off <= TOLERANCE).all():
        return
    near = (says for says, wrong in mistakes.items() if np.allclose(got, wrong, atol=TOLERANCE))
    at = int(np.nanargmax(off)) if np.isfinite(off).any() else 0
    raise CheckFailed(
        next(near, what), expected=f"{truth[at]:.4f} {unit}", got=f"{got[at]:.4f} {unit}".strip()
    )


@register(
    "mace.formation",
    slide=31,
    outcome=6,
    cause="(energy - sum of the references of all atoms) / atoms; only elements that a crystal has count",
)
def formation(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_formation(student, rng, function, np.array([3, 8, 14, 26]), unknown=9)
    return "energies minus references per atom, and NaN for a crystal with an element that has none"


def holds_formation(
    student: Local, rng: np.random.Generator, function: Callable, elements: np.ndarray, unknown: int
) -> None:
    """Known energies back; two crystals hold an element without reference."""
    counts = drawn_counts(rng, elements, 10)
    counts[8:, unknown] = 1
    atoms, truth = counts.sum(axis=1), rng.uniform(-3, 0, size=10)
    e = np.full(N_ELEMENTS + 1, np.nan)
    e[elements] = rng.uniform(-9, -2, size=len(elements))
    owed = counts @ np.nan_to_num(e)
    energy = owed + atoms * truth
    value = student.call(function, energy.copy(), counts.copy(), e.copy())
    got = array_of(value, len(counts), "the formation energies")
    if np.isnan(got[:8]).any():
        what = "a crystal whose elements all have references has no energy: 0 times NaN is NaN"
        raise CheckFailed(what, expected=f"{truth[0]:.4f} eV/atom", got="NaN")
    if not np.isnan(got[8:]).all():
        what = "a crystal with an element that has no reference has an energy all the same"
        value = f"{np.nanmax(got[8:]):.3f} eV/atom"
        raise CheckFailed(what, crystal=f"Z = {unknown}", expected="NaN", got=value)
    got, rows = expect_numbers(got[:8], 8, "the formation energies"), slice(0, 8)
    mistakes = {
        "this is the energy of the cell: divide by its atoms": (energy - owed)[rows],
        "the references are added: they are to be taken off": ((energy + owed) / atoms)[rows],
        "the sign: a bound crystal has a negative formation energy": -truth[rows],
        "one atom of each element was taken off, not as many as there are": (
            (energy - (counts > 0) @ np.nan_to_num(e)) / atoms
        )[rows],
        "the energy was not divided by the atoms: mind the brackets": (energy - owed / atoms)[rows],
        "the references were not divided by the atoms": (energy / atoms - owed)[rows],
    }
    named(got, truth[rows], mistakes, "another formation energy", "eV/atom")


@register(
    "mace.lend",
    slide=47,
    outcome=7,
    cause="the first k rows of test join train and leave test",
)
def lend(student: Local, rng: np.random.Generator, function: Callable) -> str:
    rows = rng.permutation(60)
    for k in (1, 7):
        got = student.call(function, rows[:40].copy(), rows[40:].copy(), k)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise WrongKind("the rows of training and test are wanted", got=type(got).__name__)
        train, test = (set(np.asarray(part).astype(int).ravel().tolist()) for part in got)
        if both := train & test:
            what = "a row that was lent to the training part is still in the test part"
            raise CheckFailed(what, expected="no common row", got=f"{len(both)} of them")
        if len(test) != 20 - k or len(train) != 40 + k:
            what = "another number of rows moved"
            raise CheckFailed(
                what, expected=f"{40 + k} and {20 - k} rows", got=f"{len(train)} and {len(test)}"
            )
        if not set(rows[:40].tolist()) <= train or train | test != set(rows.tolist()):
            raise CheckFailed("rows got lost: train keeps its own and gains k of the test part")
    return "k rows join the training part and are no longer tested"
