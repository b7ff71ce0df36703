"""Checks of a strained crystal, and of what a stress is in GPa (slide 31); crystals as arrays.

The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_close, expect_tensor, known_crystals

GPA = 160.21766208  # GPa in one eV/Å^3


@dataclass(frozen=True)
class Cell:
    """A crystal as arrays: z (N,), pos (N, 3) Å, cell (3, 3) Å."""

    name: str
    z: np.ndarray
    pos: np.ndarray
    cell: np.ndarray

    def strained(self, strain: np.ndarray) -> Cell:
        deformation = np.eye(3) + strain
        return Cell(self.name, self.z, self.pos @ deformation, self.cell @ deformation)


def rattled(rng: np.random.Generator, *ids: str) -> list[Cell]:
    """Known crystals, their atoms moved and their cells sheared, so that no force and no stress is zero."""
    found = []
    for name, structure in known_crystals(*ids):
        pos = structure.cart_coords + rng.normal(scale=0.08, size=(len(structure), 3))
        cell = Cell(name, np.array(structure.atomic_numbers), pos, structure.lattice.matrix)
        found.append(cell.strained(rng.uniform(-0.03, 0.03, size=(3, 3))))
    return found


@register(
    "angles.strain",
    slide=31,
    outcome=5,
    cause="1 + (epsilon + epsilon^T) / 2 from the right, on the positions and on the lattice vectors",
)
def strain(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for at in rattled(rng, "mp-22865", "mp-5827"):
        holds_strain(student, rng, function, at)
    return "atoms and lattice are strained alike, and what turns the crystal is left out"


def holds_strain(student: Local, rng: np.random.Generator, function: Callable, at: Cell) -> None:
    """Positions, lattice, and a strain that is a small rotation."""
    epsilon = torch.from_numpy(rng.uniform(-0.05, 0.05, size=(3, 3)))
    pos, cell = torch.from_numpy(at.pos), torch.from_numpy(at.cell)
    got = student.call(function, pos, cell, epsilon)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise CheckFailed("return two things, positions and cell", expected="2", got=type(got).__name__)
    new = [
        expect_tensor(one, tuple(old.shape), what).double()
        for one, old, what in zip(got, (pos, cell), ("the positions", "the cell"), strict=True)
    ]
    if torch.allclose(new[1], cell, atol=1e-9):
        what = "the lattice vectors were not strained: the images of the atoms stay where they were"
        raise CheckFailed(what, crystal=at.name)
    if torch.allclose(new[0], pos, atol=1e-9):
        raise CheckFailed("the atoms were not strained, only the lattice", crystal=at.name)
    whole, symmetric = torch.eye(3) + epsilon, torch.eye(3) + 0.5 * (epsilon + epsilon.T)
    if torch.allclose(new[0], pos @ whole, atol=1e-9) or torch.allclose(new[0], pos @ whole.T, atol=1e-9):
        what = "epsilon was not made symmetric: its other part turns the crystal, which costs no energy"
        raise CheckFailed(what, crystal=at.name)
    for one, old, what in zip(new, (pos, cell), ("a position", "a lattice vector"), strict=True):
        expect_close(
            one, old @ symmetric, f"{what} is somewhere else", unit="Å", crystal=at.name, tolerance=1e-6
        )


@register(
    "angles.pressure",
    slide=31,
    outcome=5,
    cause="P = -(sigma_xx + sigma_yy + sigma_zz) / 3, times 160.21766 GPa per eV/Å^3",
)
def pressure(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_pressure(student, rng, function)
    return "a crystal under pressure has a negative stress; 1 eV/Å^3 is 160.2 GPa"


def holds_pressure(student: Local, rng: np.random.Generator, function: Callable) -> None:
    """Squeezed, pulled, sheared, at random."""
    tensors: Sequence[np.ndarray] = (
        -0.01 * np.eye(3),
        np.diag([1.0, 0, 0]),
        np.eye(3)[::-1] - np.diag([0, 1.0, 0]),
        rng.normal(scale=0.1, size=(3, 3)),
    )
    for sigma in tensors:
        truth = -GPA * np.trace(sigma) / 3
        got = student.call(function, torch.from_numpy(sigma))
        got = torch.as_tensor(got, dtype=torch.float64) if isinstance(got, float) else got
        got = got.reshape(()) if isinstance(got, Tensor) and got.numel() == 1 else got
        got = expect_tensor(got, (), "the pressure").double()
        for what, wrong in {
            "the pressure is minus the mean stress: squeezed crystals push back": -truth,
            "this is in eV/Å^3: 1 eV/Å^3 is 160.2 GPa": truth / GPA,
            "take the mean of the three diagonal entries, not their sum": 3 * truth,
        }.items():
            if abs(truth) > 1e-9 and abs(float(got) - wrong) < 1e-6 * abs(wrong):
                raise CheckFailed(what, expected=f"{truth:.3f} GPa", got=f"{float(got):.4g}")
        expect_close(got, torch.tensor(truth).double(), "the pressure", unit="GPa", tolerance=1e-3)
