"""Hidden checks of the assignment "angles": the visible statements again, on graphs, strains and crystals
drawn from the seed. Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mg9.checks import Local, angles, register, strain, stress
from mg9.checks.tools import labelled


@register(
    "hidden.angles.lines",
    slide=28,
    outcome=4,
    cause="edge a ends where edge b begins, whatever the numbering",
)
def lines(student: Local, rng: np.random.Generator, function: Callable, cosine: Callable) -> str:
    for atoms in (3, 6, 9):
        edges = torch.from_numpy(rng.integers(0, atoms, size=(2, 4 * atoms)))
        angles.holds_lines(student, function, edges, f"a random graph of {atoms} atoms")
        vectors = torch.from_numpy(rng.normal(size=(4 * atoms, 3)))
        pairs = torch.tensor(angles.pairs_of(edges)).T
        angles.holds_cosine(student, rng, cosine, vectors, pairs)
    return "random graphs of three, six and nine atoms"


@register(
    "hidden.angles.strain",
    slide=31,
    outcome=5,
    cause="a number that should come from the argument, or a sign",
)
def strained(student: Local, rng: np.random.Generator, function: Callable, pressure: Callable) -> str:
    for at in strain.rattled(rng, *small(rng, 3)):
        strain.holds_strain(student, rng, function, at)
        strain.holds_pressure(student, rng, pressure)
    return "three other crystals"


@register(
    "hidden.angles.contract",
    slide=31,
    outcome=5,
    cause="one of the three is not a derivative of the same energy on crystals with a skew cell",
)
def contract(student: Local, rng: np.random.Generator, energy: Callable, derivatives: Callable) -> str:
    for at in strain.rattled(rng, *small(rng, 2)):
        stress.holds_energy(student, rng, energy, at)
        stress.holds_forces(student, energy, derivatives, at)
        stress.holds_stress(student, rng, energy, derivatives, at)
    return "energy, forces and stress of two other crystals hold together"


def small(rng: np.random.Generator, n: int) -> list[str]:
    """Crystals of two atoms with bonds well below the notebook's cutoff of 4 Å."""
    table, close = labelled().table, []
    for name in rng.permutation(table.index[table.nsites == 2]):
        if len(np.unique(labelled().structure(name).get_neighbor_list(3.3)[0])) == 2:
            close.append(name)
        if len(close) == n:
            break
    return close
