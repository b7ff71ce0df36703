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
from mg9.checks import CheckFailed, Local, Raised, WrongKind, register
from mg9.checks.tools import expect_numbers

TOLERANCE = 1e-3  # eV: an answer in single precision is right


NOT_SOLVED = (
    "there are more crystals than elements, and elements that no training crystal has are columns of zeros: "
    "take those columns out, and use np.linalg.lstsq, which needs no square matrix and no inverse"
)


def drawn_counts(
    rng: np.random.Generator, elements: np.ndarray, n: int, atoms: int | None = None
) -> np.ndarray:
    """(n, 101): crystals of one to three of the elements, and each element alone in one of the first.

    atoms: of every crystal; by default they differ.
    """
    counts = np.zeros((n, N_ELEMENTS + 1))
    for row in range(n):
        some = rng.choice(elements, size=int(rng.integers(2, 4)), replace=False)
        some = some if row >= len(elements) else elements[row : row + 1]
        counts[row, some] = rng.integers(1, 5, size=len(some))
        if atoms is not None:
            counts[row, some] = 1 + rng.multinomial(atoms - len(some), [1 / len(some)] * len(some))
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
    """Cells of different sizes, then of six atoms each: there an intercept, which has nothing to explain in
    energies that are known exactly, could be any number and is found out."""
    for size in (None, 6):
        _holds_on(student, rng, function, elements, missing, size)


def _holds_on(
    student: Local,
    rng: np.random.Generator,
    function: Callable,
    elements: np.ndarray,
    missing: int,
    size: int | None,
) -> None:
    """Energies that are known exactly; the rows outside the training part are 1 eV/atom off, and one element
    occurs only there."""
    n = 8 * len(elements)
    counts, train = drawn_counts(rng, elements, n, size), np.arange(n * 3 // 4)
    counts[n - 2 :, missing] = 2
    atoms, target = counts.sum(axis=1), rng.uniform(-3, 0, size=n)
    truth = np.full(N_ELEMENTS + 1, np.nan)
    truth[elements] = rng.uniform(-9, -2, size=len(elements))
    energy = counts @ np.nan_to_num(truth) + atoms * target
    energy[len(train) :] += atoms[len(train) :]
    try:
        value = student.call(function, counts.copy(), energy.copy(), target.copy(), train.copy())
    except Raised as failure:
        if "LinAlgError" in failure.what:
            failure.cause = NOT_SOLVED
        raise
    got = array_of(value, N_ELEMENTS + 1, "the references")

    def fitted(rows: np.ndarray, right_side: np.ndarray, constant: str = "none") -> np.ndarray:
        columns = [*elements, *[missing] * (len(rows) == n)]
        A, b = counts[rows][:, columns], right_side[rows]
        if constant == "a column of ones":
            A = np.column_stack([A, np.ones(len(A))])
        elif constant == "means taken off":
            A, b = A - A.mean(axis=0), b - b.mean()
        return np.linalg.lstsq(A, b, rcond=None)[0][: len(elements)]

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
        "energy alone was fitted: take the formation energies of the cells off it first": fitted(
            train, no_target
        ),
        "target alone was fitted: energy minus atoms * target is what the elements owe": fitted(
            train, target
        ),
        "the sign: these are minus the energies": -truth[elements],
    }
    for constant in ("a column of ones", "means taken off"):
        what = f"a constant is fitted beside the references ({constant}): each eV is an element's"
        mistakes[what] = fitted(train, energy - atoms * target, constant)
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
