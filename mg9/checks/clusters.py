"""Small clusters of copper and gold, with energies and forces to learn (slides 15, 16).

The labels are those of the effective-medium theory in ASE: many-body, smooth, and computed in a millisecond,
so that nothing is downloaded. It is a model of metals from the 1980s, not DFT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COPPER, GOLD = 29, 79


@dataclass(frozen=True)
class Cluster:
    """z (N,) atomic numbers, pos (N, 3) Å, energy in eV, forces (N, 3) in eV/Å."""

    z: np.ndarray
    pos: np.ndarray
    energy: float
    forces: np.ndarray


def cluster(rng: np.random.Generator, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """z (N,) and pos (N, 3) of a random cluster: each atom 2.3 to 3.2 Å from one before, none closer."""
    pos = [np.zeros(3)]
    while len(pos) < atoms:
        step = rng.normal(size=3)
        new = pos[rng.integers(len(pos))] + step / np.linalg.norm(step) * rng.uniform(2.3, 3.2)
        if min(np.linalg.norm(new - old) for old in pos) > 2.3:
            pos.append(new)
    return rng.choice([COPPER, GOLD], size=atoms), np.array(pos)


def labelled_clusters(number: int, seed: int) -> list[Cluster]:
    """`number` random clusters of 4 to 8 atoms with their energies and forces."""
    from ase import Atoms
    from ase.calculators.emt import EMT

    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        z, pos = cluster(rng, int(rng.integers(4, 9)))
        molecule = Atoms(z, pos, calculator=EMT())
        found.append(Cluster(z, pos, float(molecule.get_potential_energy()), molecule.get_forces()))
    return found
