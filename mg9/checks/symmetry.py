"""Checks of the transformations that describe one crystal in another way (slides 08, 10).

What is asked of all of them is in `descriptions.py`; here is what each was asked to do, and the usual
mistakes. Those that need a lattice are in `periodicity.py`. The functions `holds_...` are the part that
hidden checks repeat on other crystals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mg9 import b_symmetry
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
from mg9.checks.tools import expect_tensor

IDENTITY = np.eye(3)


@register(
    "symmetry.permute",
    slide=8,
    outcome=1,
    cause="z[order] and pos[order]: the elements move with their atoms, the cell stays",
)
def permute(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_permute(student, rng, function, known(rng))


def holds_permute(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """Another numbering in which no atom keeps its number."""
    pairs = []
    for c in crystals:
        ring, order = rng.permutation(len(c.z)), np.empty(len(c.z), dtype=int)
        order[ring] = np.roll(ring, 1)
        other = transformed(student, function, c, order)
        expect_cell(other, c.cell, {})
        moved, stayed = not near(other.pos, c.pos), np.array_equal(other.z, c.z)
        if moved and stayed and not np.array_equal(c.z[order], c.z):
            raise CheckFailed("not a symmetry: pos was reordered, z was not", crystal=c.name)
        if not moved:
            raise CheckFailed("not a symmetry: z was reordered, pos was not", crystal=c.name)
        holds_same(c, other)
        expect_pos(other, c.pos[order], "atom k of the answer is atom order[k] of the crystal", {})
        pairs.append((c, other))
    return expect_caught("order_of_the_atoms", pairs)


@register(
    "symmetry.random_rotation",
    slide=8,
    outcome=1,
    cause="Q of a QR decomposition of Gaussian numbers needs the signs of R's diagonal, then det = +1; "
    "uniform Euler angles crowd at the poles",
)
def random_rotation(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_random_rotation(student, function, range(300))


def holds_random_rotation(student: Local, function: Callable, seeds: Sequence[int]) -> str:
    """Proper rotations, reproducible, and uniform: moments of the matrix against those of SO(3)."""
    found = np.stack([expect_tensor(student.call(function, s), (3, 3), "R").numpy() for s in seeds])
    if not near(found @ found.transpose(0, 2, 1), np.broadcast_to(IDENTITY, found.shape)):
        raise CheckFailed("not a rotation: R @ R.T is not the identity, so lengths change")
    if (np.linalg.det(found) < 0).any():
        raise CheckFailed("a reflection is among the rotations", expected="det R = +1", got="det R = -1")
    if np.ptp(found, axis=0).max() < 1e-9:
        raise CheckFailed("every seed gives the same matrix" + " (the identity)" * near(found[0], IDENTITY))
    if not near(expect_tensor(student.call(function, seeds[0]), (3, 3), "R").numpy(), found[0]):
        raise CheckFailed(
            "the same seed gives another rotation the second time: a failure cannot be repeated"
        )
    error = 1 / np.sqrt(len(found))  # of a mean of numbers with variance one
    mean, square = found.mean(axis=0), (found**2).mean(axis=0)
    trace = np.trace(found, axis1=1, axis2=2)
    for what, got, wanted, width in (
        ("the mean of an entry of R", mean.flat[np.abs(mean).argmax()], 0, 0.58),
        ("the mean of an entry squared", square.flat[np.abs(square - 1 / 3).argmax()], 1 / 3, 0.3),
        ("the mean trace 1 + 2 cos(angle)", trace.mean(), 0, 1.0),
        ("the mean squared trace", (trace**2).mean(), 1, 1.42),
    ):
        if abs(got - wanted) > 6 * width * error:
            what = f"some directions are preferred: {what} over {len(found)} seeds"
            raise CheckFailed(what, expected=f"{wanted:.2f}", got=f"{got:.2f}")
    return f"{len(found)} seeds give proper rotations without a preferred direction"


@register(
    "symmetry.rotate",
    slide=8,
    outcome=1,
    cause="r' = R r for every row: pos @ R.T, and the same for the lattice vectors",
)
def rotate(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_rotate(student, rng, function, known(rng))


def holds_rotate(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """Atoms and lattice turned together, in the sense that was asked for."""
    pairs = []
    for c in crystals:
        turn = b_symmetry.random_rotation(rng)
        other = transformed(student, function, c, turn)
        mistakes = {
            "not a symmetry: the atoms were turned, the lattice was not": c.cell,
            "turned the other way round: for rows, r' = R r is pos @ R.T": c.cell @ turn,
        }
        expect_cell(other, c.cell @ turn.T, mistakes)
        mistakes = {"not a symmetry: the lattice was turned, the atoms were not": c.pos}
        expect_pos(other, c.pos @ turn.T, "an atom is not at R r", mistakes)
        holds_same(c, other)
        pairs.append((c, other))
    return expect_caught("raw_coordinates", pairs)


@register(
    "symmetry.reflect",
    slide=10,
    outcome=1,
    cause="r' = r - 2 (n . r) n with a normal of length one, for atoms and lattice vectors",
)
def reflect(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_reflect(student, rng, function, known(rng))


def holds_reflect(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """The mirror image in a plane through the origin; the normal comes in any length."""
    pairs = []
    for c in crystals:
        normal = rng.uniform(0.5, 3) * b_symmetry.random_rotation(rng)[0]
        unit = normal / np.linalg.norm(normal)
        mirror, flat = IDENTITY - 2 * np.outer(unit, unit), IDENTITY - np.outer(unit, unit)
        other = transformed(student, function, c, normal)
        mistakes = {
            "not a symmetry: the normal was not brought to length one": c.cell
            @ (IDENTITY - 2 * np.outer(normal, normal)),
            "not a symmetry: the crystal was pressed flat onto the plane; the factor is 2": c.cell @ flat,
            "the inversion r' = -r was asked of another test: reflect in the plane given": -c.cell,
            "this is half a turn, a rotation: it cannot tell left from right": -c.cell @ mirror,
            "not a symmetry: the atoms were reflected, the lattice was not": c.cell,
        }
        expect_cell(other, c.cell @ mirror, mistakes)
        mistakes = {"not a symmetry: the lattice was reflected, the atoms were not": c.pos}
        expect_pos(other, c.pos @ mirror, "an atom is not at its mirror image", mistakes)
        holds_same(c, other)
        pairs.append((c, other))
    return expect_caught("handedness", pairs)


@register(
    "symmetry.translate",
    slide=8,
    outcome=1,
    cause="pos + vector: all atoms together, in Å, without folding back; lattice vectors are differences and "
    "do not move",
)
def translate(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_translate(student, rng, function, known(rng))


def holds_translate(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """All atoms moved, the lattice left where it is."""
    pairs = []
    for c in crystals:
        vector = rng.uniform(1, 4, size=3) * rng.choice([-1, 1], size=3)
        other = transformed(student, function, c, vector)
        expect_cell(other, c.cell, {"not a symmetry: the lattice vectors were moved too": c.cell + vector})
        mistakes = {"the vector is in Å, not in lattice vectors": c.pos + vector @ c.cell}
        expect_pos(other, c.pos + vector, "not every atom moved by the vector", mistakes)
        pairs.append((c, other))
    return expect_caught("raw_coordinates", pairs)


@register(
    "symmetry.stretch",
    slide=8,
    outcome=1,
    cause="factor times pos and factor times cell: every distance grows, nothing is cut",
)
def stretch(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return holds_stretch(student, rng, function, known(rng))


def holds_stretch(student: Local, rng: np.random.Generator, function: Callable, crystals: list) -> str:
    """Another crystal: every length times the factor."""
    smallest = np.inf
    for c in crystals:
        factor = float(rng.uniform(1.02, 1.1))
        other = transformed(student, function, c, factor)
        if not np.array_equal(other.z, c.z):
            raise CheckFailed("stretching exchanged elements", crystal=c.name)
        expect_cell(other, factor * c.cell, {"the atoms were stretched, the lattice was not": c.cell})
        expect_pos(other, factor * c.pos, "an atom is not where the stretched crystal has it", {})
        smallest = min(smallest, change_of("right", c, other))
    return f"another crystal: a right model notices ({smallest:.2g} eV/atom), a constant does not"
