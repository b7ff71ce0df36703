"""Checks that hold energy, forces and stress to each other (slides 31, 33).

The student's `energy` takes z (N,), pos (N, 3) in Å and cell (3, 3) in Å, rows are lattice vectors, and
returns a number in eV; `derivatives` takes the same and returns forces (N, 3) in eV/Å and a stress (3, 3) in
eV/Å^3. The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, register
from mg9.checks.strain import GPA, Cell, rattled
from mg9.checks.tools import expect_change, expect_close, expect_tensor

STEP = 1e-4
LEAST_FORCE = 1e-4  # eV/Å, which some atom of a rattled crystal feels


def value(student: Local, energy: Callable, at: Cell) -> Tensor:
    """The student's energy, if it is one number."""
    got = student.call(energy, *(torch.from_numpy(x) for x in (at.z, at.pos, at.cell)))
    if isinstance(got, float):
        got = torch.tensor(got, dtype=torch.float64)
    if isinstance(got, Tensor | np.ndarray) and torch.as_tensor(got).numel() == 1:
        got = torch.as_tensor(got).reshape(())
    return expect_tensor(got, (), "the energy").double()


def slopes(student: Local, derivatives: Callable, at: Cell) -> tuple[Tensor, Tensor]:
    """The student's forces and stress, if they have their shapes."""
    got = student.call(derivatives, *(torch.from_numpy(x) for x in (at.z, at.pos, at.cell)))
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise CheckFailed(
            "return two things, the forces and the stress", expected="2", got=type(got).__name__
        )
    forces = expect_tensor(got[0], at.pos.shape, "the forces").double()
    return forces, expect_tensor(got[1], (3, 3), "the stress").double()


@register(
    "angles.energy",
    slide=33,
    outcome=4,
    cause="only lengths and angles go in, by way of line_graph and angle_cosines",
)
def invariances(student: Local, rng: np.random.Generator, energy: Callable) -> str:
    for at in rattled(rng, "mp-22865"):
        holds_energy(student, rng, energy, at)
    what = "two atoms were turned about a third one, with every length kept: the angle is not seen"
    bent = [water(angle) for angle in (110.0, 140.0)]
    expect_change(
        value(student, energy, bent[0]), value(student, energy, bent[1]), what, crystal=bent[0].name
    )
    return "the same in every description, twice as large for two cells, and it sees an angle"


def holds_energy(student: Local, rng: np.random.Generator, energy: Callable, at: Cell) -> None:
    """Symmetries, a supercell, and the twin: stretched it has another energy."""
    before, R = value(student, energy, at), b_symmetry.random_rotation(rng, reflect=True)
    order, away = rng.permutation(len(at.z)), rng.integers(-1, 2, size=(len(at.z), 3))
    for action, other in {
        "turning and reflecting it": Cell(at.name, at.z, at.pos @ R.T, at.cell @ R.T),
        "moving it": Cell(at.name, at.z, at.pos + rng.normal(size=3), at.cell),
        "renumbering its atoms": Cell(at.name, at.z[order], at.pos[order], at.cell),
        "naming its atoms by other images": Cell(at.name, at.z, at.pos + away @ at.cell, at.cell),
    }.items():
        what = f"{action} changed the energy"
        expect_close(value(student, energy, other), before, what, unit="eV", crystal=at.name, tolerance=1e-6)
    doubled = Cell(
        at.name, np.tile(at.z, 2), np.concatenate([at.pos, at.pos + at.cell[0]]), at.cell * [[2], [1], [1]]
    )
    what = "a cell of two has not twice the energy"
    expect_close(
        value(student, energy, doubled), 2 * before, what, unit="eV", crystal=at.name, tolerance=1e-6
    )
    wide = value(student, energy, at.strained(0.03 * np.eye(3)))
    expect_change(wide, before, "the crystal was stretched by 3 %", crystal=at.name)
    sees_atoms(student, rng, energy, at)


def sees_atoms(student: Local, rng: np.random.Generator, energy: Callable, at: Cell) -> None:
    """Not an energy of the cell alone, whose forces are zero and whose stress needs no gradient."""
    pos = at.pos.copy()
    pos[0] += rng.normal(scale=0.1, size=3)
    moved = value(student, energy, Cell(at.name, at.z, pos, at.cell))
    what = "one atom was moved by about 0.1 Å, and with it its bonds and angles"
    expect_change(moved, value(student, energy, at), what, crystal=at.name)


def water(degrees: float) -> Cell:
    """Two unlike atoms 2.6 Å from an oxygen in an empty cell, too far apart to be neighbours themselves."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pos = np.array([[0.0, 0.0, 0.0], [2.6, 0.0, 0.0], [2.6 * c, 2.6 * s, 0.0]]) + 10
    return Cell("a molecule of O, Na and Cl in an empty cell", np.array([8, 11, 17]), pos, 20 * np.eye(3))


@register(
    "angles.forces",
    slide=31,
    outcome=5,
    cause="F = -dE/dr: the gradient of the energy with respect to pos, with the minus sign",
)
def forces(student: Local, rng: np.random.Generator, energy: Callable, derivatives: Callable) -> str:
    worst = max(holds_forces(student, energy, derivatives, at) for at in rattled(rng, "mp-22865"))
    return f"forces are minus the slope of the energy (to {worst:.0e} eV/Å) and sum to zero"


def holds_forces(student: Local, energy: Callable, derivatives: Callable, at: Cell) -> float:
    """Forces against finite differences, and their sum."""
    got, _ = slopes(student, derivatives, at)
    slope = torch.zeros(at.pos.shape, dtype=torch.float64)
    for atom, axis in np.ndindex(at.pos.shape):
        ends = []
        for step in (STEP, -STEP):
            pos = at.pos.copy()
            pos[atom, axis] += step
            ends.append(value(student, energy, Cell(at.name, at.z, pos, at.cell)))
        slope[atom, axis] = (ends[0] - ends[1]) / (2 * STEP)
    if torch.allclose(got, slope, atol=1e-6) and float(slope.abs().max()) > 1e-5:
        raise CheckFailed("the forces point uphill: F = -dE/dr has a minus sign", crystal=at.name)
    if float(slope.abs().max()) <= LEAST_FORCE:
        raise CheckFailed(
            "no atom of a rattled crystal feels a force: the energy does not depend on where the atoms are",
            crystal=at.name,
            expected=f"a force above {LEAST_FORCE:g} eV/Å",
            got=f"at most {float(slope.abs().max()):.1g} eV/Å",
        )
    what = "a force is not minus the slope of the energy; (atom, axis)"
    worst = expect_close(got, -slope, what, unit="eV/Å", crystal=at.name, tolerance=1e-5)
    what = "the forces do not sum to zero: the crystal would push itself away; (axis)"
    expect_close(got.sum(dim=0), torch.zeros(3).double(), what, unit="eV/Å", crystal=at.name)
    return worst


@register(
    "angles.stress",
    slide=31,
    outcome=5,
    cause="sigma = +(1/V) dE/d epsilon at epsilon = 0, V = |det(cell)|, and atoms and cell strained alike",
)
def stress(student: Local, rng: np.random.Generator, energy: Callable, derivatives: Callable) -> str:
    worst = max(holds_stress(student, rng, energy, derivatives, at) for at in rattled(rng, "mp-22865"))
    return f"the stress is the slope of the energy per volume (to {worst:.0e} eV/Å^3), symmetric, and turns"


def holds_stress(
    student: Local, rng: np.random.Generator, energy: Callable, derivatives: Callable, at: Cell
) -> float:
    """Sign, volume, symmetry, every component against finite differences, and what a rotation does."""
    sees_atoms(student, rng, energy, at)
    _, got = slopes(student, derivatives, at)
    V, truth = abs(np.linalg.det(at.cell)), np.zeros((3, 3))
    for a, b in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * STEP
        strain[b, a] += 0.5 * STEP
        ends = [float(value(student, energy, at.strained(sign * strain))) for sign in (1, -1)]
        truth[a, b] = (ends[0] - ends[1]) / (2 * STEP * V)
    wanted, size = torch.from_numpy(truth), float(np.abs(truth).max())
    for what, wrong in {
        "this is the sign that slide 31 prints, that of a pressure. This course has ASE's: a crystal that is "
        "stretched has a positive stress": -wanted,
        "the stress was not divided by the volume: this is an energy": V * wanted,
        "this is in GPa; return eV/Å^3": GPA * wanted,
        "this is the derivative for each atom: divide by the volume, not by N": wanted * V / len(at.z),
    }.items():
        if torch.allclose(got, wrong, atol=1e-4 * float(wrong.abs().max())) and size > 1e-6:
            raise CheckFailed(what, crystal=at.name, expected=_told(wanted), got=_told(got))
    what = "the stress is not symmetric: it would turn the crystal without end; (axis, axis)"
    expect_close(got, got.T, what, unit="eV/Å^3", crystal=at.name, tolerance=1e-8)
    what = "a stress is not the slope of the energy per volume; (axis, axis)"
    worst = expect_close(got, wanted, what, unit="eV/Å^3", crystal=at.name, tolerance=1e-6)
    R = b_symmetry.random_rotation(rng)
    _, turned = slopes(student, derivatives, Cell(at.name, at.z, at.pos @ R.T, at.cell @ R.T))
    rotation = torch.from_numpy(R)
    what = "the crystal was turned, and the stress is not R sigma R^T; (axis, axis)"
    expect_close(turned, rotation @ got @ rotation.T, what, unit="eV/Å^3", crystal=at.name, tolerance=1e-6)
    return worst


def _told(stress: Tensor) -> str:
    return f"sigma_xx = {float(stress[0, 0]):.5f}"
