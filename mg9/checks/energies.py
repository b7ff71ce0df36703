"""Checks of a whole SchNet: its energy, its forces, the way across the cutoff (slides 09, 14, 16, 17).

The student's `energy` takes z (N,) and pos (N, 3) in Å and returns a number in eV; `forces` takes the same
and returns (N, 3) in eV/Å. The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, figures, register
from mg9.checks.clusters import COPPER, GOLD, cluster
from mg9.checks.tools import expect_change, expect_close, expect_tensor

CUTOFF = 5.0  # Å, of the student's network
APART = 100.0  # Å


def value(student: Local, energy: Callable, z: np.ndarray, pos: np.ndarray) -> Tensor:
    """The student's energy of a cluster, if it is one number."""
    got = student.call(energy, torch.from_numpy(z), torch.from_numpy(pos))
    if isinstance(got, float):
        got = torch.tensor(got, dtype=torch.float64)
    if isinstance(got, Tensor | np.ndarray) and torch.as_tensor(got).numel() == 1:
        got = torch.as_tensor(got).reshape(())
    return expect_tensor(got, (), "the energy").double()


def force(student: Local, forces: Callable, z: np.ndarray, pos: np.ndarray) -> Tensor:
    """The student's forces on a cluster, if they have its shape."""
    got = student.call(forces, torch.from_numpy(z), torch.from_numpy(pos))
    return expect_tensor(got, pos.shape, "the forces").double()


def told(z: np.ndarray) -> str:
    """What a cluster is called in a message."""
    return f"a cluster of {int((z == COPPER).sum())} Cu and {int((z == GOLD).sum())} Au"


@register(
    "schnet.energy",
    slide=14,
    outcome=2,
    cause="the readout is a sum over atoms, and only distances go in: a layer above is not yet right",
)
def invariances(student: Local, rng: np.random.Generator, energy: Callable) -> str:
    for atoms in (3, 6):
        holds_energy(student, rng, energy, *cluster(rng, atoms))
    return "the same in every position and numbering, twice as large for two clusters far apart"


def holds_energy(
    student: Local, rng: np.random.Generator, energy: Callable, z: np.ndarray, pos: np.ndarray
) -> None:
    """Symmetries, two copies far apart, and the twin: another cluster has another energy."""
    before, n = value(student, energy, z, pos), len(z)
    turn, mirror = (b_symmetry.random_rotation(rng, reflect=reflect) for reflect in (False, True))
    order = rng.permutation(n)

    def turned() -> dict:
        return figures.rotation(lambda turns: [value(student, energy, z, pos @ R.T) for R in turns], "eV")

    for action, other in {
        "turning it": (z, pos @ turn.T),
        "reflecting it": (z, pos @ mirror.T),
        "moving it": (z, pos + rng.normal(size=3)),
        "renumbering its atoms": (z[order], pos[order]),
    }.items():
        what, picture = f"{action} changed the energy", turned if action == "turning it" else None
        more = {"unit": "eV", "crystal": told(z), "tolerance": 1e-6, "figure": picture}
        expect_close(value(student, energy, *other), before, what, **more)
    twice = value(student, energy, np.concatenate([z, z]), np.concatenate([pos, pos + [APART, 0, 0]]))
    if abs(float(twice - before)) < 1e-6 < abs(float(before)):
        what = "two clusters far apart have the energy of one: the readout is a mean"
        raise CheckFailed(
            what, crystal=told(z), expected=f"{2 * float(before):.4f} eV", got=f"{float(twice):.4f} eV"
        )
    what = "two clusters 100 Å apart do not have twice the energy"
    expect_close(twice, 2 * before, what, unit="eV", crystal=told(z), tolerance=1e-6)
    expect_change(
        value(student, energy, z, 1.05 * pos), before, "every bond was stretched by 5 %", crystal=told(z)
    )
    exchanged = np.where(np.arange(n) == 0, COPPER + GOLD - z, z)
    expect_change(value(student, energy, exchanged, pos), before, "an element was exchanged", crystal=told(z))


@register(
    "schnet.forces",
    slide=14,
    outcome=2,
    cause="F = -dE/dr: torch.autograd.grad of the energy with respect to pos, with the minus sign, and "
    "create_graph=True so that a loss on forces can be trained",
)
def autograd_forces(student: Local, rng: np.random.Generator, energy: Callable, forces: Callable) -> str:
    worst = max(holds_forces(student, rng, energy, forces, *cluster(rng, atoms)) for atoms in (2, 5))
    return f"forces are minus the slope of the energy (to {worst:.0e} eV/Å) and sum to zero"


def holds_forces(
    student: Local,
    rng: np.random.Generator,
    energy: Callable,
    forces: Callable,
    z: np.ndarray,
    pos: np.ndarray,
) -> float:
    """Forces against finite differences of the energy; their sum; that they can be trained on."""
    got, slope, step = force(student, forces, z, pos), torch.zeros(pos.shape, dtype=torch.float64), 1e-4
    for atom, axis in np.ndindex(pos.shape):
        there, back = pos.copy(), pos.copy()
        there[atom, axis] += step
        back[atom, axis] -= step
        slope[atom, axis] = (value(student, energy, z, there) - value(student, energy, z, back)) / (2 * step)
    if float(slope.abs().max()) < 1e-9:
        raise CheckFailed("the energy does not depend on the positions at all", crystal=told(z))
    if torch.allclose(got, slope, atol=1e-6):
        what = "the forces point uphill: F = -dE/dr has a minus sign"
        raise CheckFailed(what, crystal=told(z), expected=_row(-slope[0]), got=_row(got[0]))
    what = "a force is not minus the slope of the energy; (atom, axis)"
    worst = expect_close(got, -slope, what, unit="eV/Å", crystal=told(z), tolerance=1e-5)
    what = "the forces do not sum to zero: the cluster would push itself away; (axis)"
    expect_close(got.sum(dim=0), torch.zeros(3).double(), what, unit="eV/Å", crystal=told(z), tolerance=1e-8)
    holds_trainable(student, rng, forces, z, pos)
    return worst


def holds_trainable(
    student: Local, rng: np.random.Generator, forces: Callable, z: np.ndarray, pos: np.ndarray
) -> None:
    """The forces can be differentiated once more, as a loss on forces needs, and right."""
    weight = torch.from_numpy(rng.normal(size=pos.shape))
    trainable = (
        "the forces cannot be differentiated again: a loss on them would train nothing (create_graph=True)"
    )
    try:
        _, slope = student.vjp(forces, (torch.from_numpy(z), torch.from_numpy(pos)), weight)
    except CheckFailed as failure:
        if "does not require grad" in failure.what:
            raise CheckFailed(trainable) from None
        raise
    if slope is None:
        raise CheckFailed(trainable)
    along, step = rng.normal(size=pos.shape), 1e-4
    ahead, behind = (
        float((weight * force(student, forces, z, pos + s * step * along)).sum()) for s in (1, -1)
    )
    got, wanted = (slope * torch.from_numpy(along)).sum(), (ahead - behind) / (2 * step)
    what = "the forces have another slope than they should"
    expect_close(got, torch.tensor(wanted).double(), what, unit="eV/Å^2", crystal=told(z), tolerance=1e-4)


@register(
    "schnet.smooth",
    slide=17,
    outcome=2,
    cause="the network was built with cosine_envelope, and the envelope multiplies the whole filter",
)
def smooth(student: Local, rng: np.random.Generator, energy: Callable, forces: Callable) -> str:
    jump = holds_smooth(student, energy, forces, np.array([COPPER, GOLD, COPPER]), height=2.2)
    return f"an atom crosses the cutoff: the energy moves by {jump:.0e} of what the whole way costs"


def holds_smooth(student: Local, energy: Callable, forces: Callable, z: np.ndarray, height: float) -> float:
    """An atom leaves along x and passes the cutoff of another: energy and force may not jump."""

    def at(x: float) -> np.ndarray:
        return np.array([[0.0, 0.0, 0.0], [0.5, height, 0.0], [x, 0.0, 0.0]])

    delta = 1e-5
    inside, before, after = (
        value(student, energy, z, at(x)) for x in (CUTOFF - 1.5, CUTOFF - delta, CUTOFF + delta)
    )
    scale = float((inside - after).abs())
    where = f"{told(z)}: two atoms {CUTOFF:.0f} Å apart"
    if scale < 1e-9:
        raise CheckFailed("an atom that comes closer than the cutoff makes no difference", crystal=where)
    jump = float((before - after).abs())
    if jump > 1e-3 * scale:
        what = f"the energy jumps by {jump:.2g} eV when an atom crosses the cutoff"
        raise CheckFailed(what, crystal=where, expected="0 eV", got=f"{jump:.3g} eV")
    pulls = [force(student, forces, z, at(x))[2, 0] for x in (CUTOFF - 1.5, CUTOFF - delta, CUTOFF + delta)]
    change, largest = float((pulls[1] - pulls[2]).abs()), max(float(p.abs()) for p in pulls)
    if change > 1e-2 * max(largest, scale):
        what = "the force jumps when an atom crosses the cutoff: the envelope arrives there with a slope"
        raise CheckFailed(what, crystal=where, expected="0 eV/Å", got=f"{change:.3g} eV/Å")
    return jump / scale


def predictions(student: Local, energy: Callable, forces: Callable, clusters: list) -> tuple:
    """The energies (B,) in eV/atom, and the components of all forces (3 N,) in eV/Å."""
    of_energy = [float(value(student, energy, c.z, c.pos)) / len(c.z) for c in clusters]
    of_forces = [force(student, forces, c.z, c.pos).numpy().ravel() for c in clusters]
    return np.array(of_energy), np.concatenate(of_forces)


def _row(v: Tensor) -> str:
    return "(" + ", ".join(f"{float(x):.4f}" for x in v) + ") eV/Å"
