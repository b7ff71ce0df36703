"""Checks of the transformations that only a crystal has: images, cells, supercells (slides 11, 22).

As in `symmetry.py`: what each was asked to do, and the usual mistakes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mg9.checks import CheckFailed, Local, register
from mg9.checks.descriptions import (
    change_of,
    expect_caught,
    expect_cell,
    expect_pos,
    holds_same,
    known,
    near,
    transformed,
)


@register(
    "symmetry.wrap",
    slide=11,
    outcome=1,
    cause="pos + shift @ cell: each atom has its own row of whole numbers, and rows of cell are lattice "
    "vectors",
)
def wrap(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_wrap(student, rng, function, known(rng))


def holds_wrap(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """Each atom moved by its own whole number of lattice vectors."""
    pairs = []
    for c in crystals:
        shift = rng.integers(-2, 3, size=(len(c.z), 3))
        shift[0], shift[1] = (2, 0, -1), (0, -1, 2)  # two atoms at least part company
        other = transformed(student, function, c, shift)
        expect_cell(other, c.cell, {})
        mistakes = {
            "not a symmetry: shift was added in Å, it counts lattice vectors": c.pos + shift,
            "not a symmetry: cell is used as if its columns were the lattice vectors": c.pos
            + shift @ c.cell.T,
        }
        for mistake, wrong in mistakes.items():
            if near(other.pos, wrong) and not near(wrong, c.pos + shift @ c.cell):
                raise CheckFailed(mistake, crystal=c.name)
        moved = other.pos - c.pos
        if near(moved, np.broadcast_to(moved[0], moved.shape)):
            what = "all atoms moved together: that is a translation, and forgotten images stay hidden"
            raise CheckFailed(what, crystal=c.name)
        holds_same(c, other)
        if not near(moved, shift @ c.cell):
            raise CheckFailed("an atom moved by other lattice vectors than its row of shift", crystal=c.name)
        pairs.append((c, other))
    return expect_caught("forgotten_images", pairs)


@register(
    "symmetry.other_cell",
    slide=11,
    outcome=1,
    cause="the new lattice vectors are matrix @ cell; the atoms do not move",
)
def other_cell(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_other_cell(student, rng, function, known(rng))


def holds_other_cell(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """Other lattice vectors of the same lattice."""
    pairs = []
    for c in crystals:
        matrix = unimodular(rng)
        other = transformed(student, function, c, matrix)
        mistakes = {
            "not a symmetry: cell @ matrix mixes x, y and z; matrix @ cell mixes lattice vectors": c.cell
            @ matrix,
            "the matrix was transposed: row k of matrix makes lattice vector k": matrix.T @ c.cell,
        }
        expect_cell(other, matrix @ c.cell, mistakes)
        sheared = c.pos @ np.linalg.inv(c.cell) @ other.cell
        mistakes = {"not a symmetry: fractional coordinates were kept, so the atoms moved": sheared}
        expect_pos(other, c.pos, "not a symmetry: an atom moved", mistakes)
        holds_same(c, other)
        pairs.append((c, other))
    return expect_caught("lattice_vectors", pairs)


def unimodular(rng: np.random.Generator) -> np.ndarray:
    """Whole numbers (3, 3) with determinant one, neither symmetric nor trivial: two shears."""
    matrix = np.eye(3, dtype=int)
    a, b, c = rng.permutation(3)
    matrix[a] += int(rng.choice([-1, 1])) * matrix[b]
    matrix[b] += int(rng.choice([-1, 1])) * matrix[c]
    return matrix


@register(
    "symmetry.supercell",
    slide=22,
    outcome=1,
    cause="one copy of all atoms for each (a, b, c), moved by (a, b, c) @ cell, and each lattice vector "
    "times its number of repeats",
)
def supercell(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_supercell(student, rng, function, known(rng))


def holds_supercell(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """n copies: the same distances n times, the energy per atom the same, the total n times as large."""
    pairs, repeats = [], np.array([1, 2, 3])[rng.permutation(3)]
    for c in crystals:
        other = transformed(student, function, c, repeats, copies=6)
        expect_cell(
            other,
            repeats[:, None] * c.cell,
            {
                "not a symmetry: the atoms were copied, the cell is still the small one": c.cell,
                "columns of cell were multiplied; the lattice vectors are its rows": c.cell * repeats,
            },
        )
        holds_same(c, other, copies=6)
        kept = change_of("total", c, other, 6)
        if kept > 1e-8:
            raise CheckFailed("a total energy is not six times as large", crystal=c.name)
        pairs.append((c, other))
    return expect_caught("sum_for_mean", pairs, 6)
