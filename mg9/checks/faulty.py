"""Energies with one fault each: what a symmetry test must catch (slides 08 to 11, 22).

Every energy takes a crystal as plain arrays and returns one number in eV, per atom unless it says "total":

    z (N,) atomic numbers; pos (N, 3) in Å; cell (3, 3) in Å, its rows are the lattice vectors

They are toys, pair potentials that never saw a material, but each fault was made in a real program. Read in
order: `atom_energies` (what is right), the faulty energies, `MODELS` (their names), `mixture`, `Replay`,
`forces`, `virial` and `forces_through_a_network` (vectors and tensors, slide 09).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

CUTOFF = 4.5  # Å
NEAREST = 8

Energy = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def neighbours(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """i (E,), j (E,) and r_ij (E, 3) in Å of all neighbours within the cutoff, periodic images included."""
    z, pos, cell = np.asarray(z, dtype=int), np.asarray(pos, dtype=float), np.asarray(cell, dtype=float)
    return _neighbours(z.tobytes(), pos.tobytes(), cell.tobytes())


@lru_cache(maxsize=4)  # a mixture of faults asks several times about one crystal
def _neighbours(z: bytes, pos: bytes, cell: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import torch
    from pymatgen.core import Structure

    from mg9.a_crystal import radius_graph
    from mg9.a_graph import edge_vectors

    positions, lattice = np.frombuffer(pos).reshape(-1, 3), np.frombuffer(cell).reshape(3, 3)
    structure = Structure(lattice, np.frombuffer(z, dtype=int), positions, coords_are_cartesian=True)
    graph = radius_graph(structure, cutoff=CUTOFF, dtype=torch.float64)
    j, i = graph.edge_index.numpy()
    return i, j, edge_vectors(graph).numpy()


def pair_energy(z_i: np.ndarray, z_j: np.ndarray, r: np.ndarray) -> np.ndarray:
    """A repulsion in eV that depends on both elements and vanishes smoothly at the cutoff (slide 17)."""
    envelope = np.where(r < CUTOFF, 0.5 * (1 + np.cos(np.pi * r / CUTOFF)), 0.0)
    return (z_i + z_j + 0.1 * z_i * z_j) / 10 * np.exp(-r) * envelope


def atom_energies(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The share of each atom (N,) in eV: half of each of its pairs. Right under every symmetry."""
    i, j, r_ij = neighbours(z, pos, cell)
    shares = 0.5 * pair_energy(z[i], z[j], np.linalg.norm(r_ij, axis=1))
    return np.bincount(i, weights=shares, minlength=len(z))


def right(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """The mean over the atoms: nothing to catch."""
    return float(atom_energies(z, pos, cell).mean())


def total(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """The sum over the atoms, a total energy: nothing to catch either."""
    return float(atom_energies(z, pos, cell).sum())


def raw_coordinates(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """A small network that is fed x, y and z."""
    return float(np.tanh(pos @ np.array([[0.3, -0.2], [0.5, 0.1], [0.2, 0.4]])).mean())


def forgotten_images(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """Pairs in the home cell only: the crystal is taken for a molecule."""
    r = np.linalg.norm(pos[None, :] - pos[:, None], axis=2)
    pairs = pair_energy(z[:, None], z[None, :], r)
    return float(0.5 * (pairs.sum() - np.trace(pairs)) / len(z))


def order_of_the_atoms(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """The first atom in the list counts a little more."""
    energies = atom_energies(z, pos, cell)
    return float(energies.mean() + 0.1 * energies[0])


def sum_for_mean(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """Meant per atom, but summed."""
    return float(atom_energies(z, pos, cell).sum())


def mean_for_sum(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """Meant as a total energy, but averaged."""
    return float(atom_energies(z, pos, cell).mean())


def handedness(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """Left-handed surroundings get another energy than right-handed ones: a triple product (slide 10)."""
    i, j, r_ij = neighbours(z, pos, cell)
    r = np.linalg.norm(r_ij, axis=1, keepdims=True)
    a, b, c = (np.zeros((len(z), 3)) for _ in range(3))
    for vector, decay in ((a, 0.5), (b, 1.0), (c, 2.0)):
        np.add.at(vector, i, r_ij * pair_energy(z[i], z[j], r[:, 0])[:, None] * np.exp(-decay * r))
    return right(z, pos, cell) + 1e6 * float(np.einsum("na,na->n", a, np.cross(b, c)).mean())


def lattice_vectors(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """The lengths of the lattice vectors are used as features."""
    return right(z, pos, cell) + 0.01 * float(np.linalg.norm(cell, axis=1).sum())


def cut_shells(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """The eight nearest neighbours, by `sorted`: where distances tie, Python compares x, then y, then z."""
    i, j, r_ij = neighbours(z, pos, cell)
    r = np.linalg.norm(r_ij, axis=1)
    pairs = pair_energy(z[i], z[j], r)
    x, y, height = np.round(r_ij.T, 6)
    order = np.lexsort((height, y, x, np.round(r, 6), i))
    rank = np.arange(len(i)) - np.searchsorted(i[order], i[order])
    kept = order[rank < NEAREST]
    return float(np.sqrt(np.bincount(i[kept], weights=pairs[kept], minlength=len(z))).mean())


def constant(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
    """Every crystal has the same energy. No symmetry can catch this one."""
    return -1.0


MODELS: dict[str, Energy] = {
    f.__name__: f
    for f in (
        *(right, total, raw_coordinates, forgotten_images, order_of_the_atoms, sum_for_mean, mean_for_sum),
        *(handedness, lattice_vectors, cut_shells, constant),
    )
}
TOTAL = ("total", "mean_for_sum")  # extensive: n copies have n times the energy. The others are per atom.
MIXED = ("raw_coordinates", "forgotten_images", "order_of_the_atoms", "sum_for_mean", "handedness")
MIXED += ("lattice_vectors", "cut_shells")


def mixture(weights: Mapping[str, float]) -> Energy:
    """An energy per atom with some of the faults in it, each in that measure (1 is the whole fault)."""

    def energy(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
        base = right(z, pos, cell)
        return base + sum(weight * (MODELS[name](z, pos, cell) - base) for name, weight in weights.items())

    return energy


class Replay:
    """A model that stands elsewhere, where a check runs: find out which symmetries it breaks.

    `said` has the crystals about which it was asked so far, as (z, pos, cell, energy). Those of which it has
    yet to speak are kept in `missing`; until then they have the energy -1.
    """

    def __init__(self, said: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, float]]) -> None:
        self.energies = {self._key(z, pos, cell): energy for z, pos, cell, energy in said}
        self.missing: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def __call__(self, z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> float:
        crystal = np.array(z), np.array(pos, dtype=float), np.array(cell, dtype=float)
        if self._key(*crystal) not in self.energies:
            self.energies[self._key(*crystal)] = -1.0
            self.missing.append(crystal)
        return self.energies[self._key(*crystal)]

    def _key(self, z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> tuple[bytes, ...]:
        return np.asarray(z, dtype=float).tobytes(), pos.tobytes(), cell.tobytes()


def forces(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """F_i = -dE/dr_i (N, 3) in eV/Å of `total` (slide 09)."""
    i, _, r_ij, slope = _slopes(z, pos, cell)
    force = np.zeros((len(z), 3))
    np.add.at(force, i, slope[:, None] * r_ij)  # where the pair energy grows with r, j pulls i
    return force


def virial(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """dE/d(strain) of `total` (3, 3) in eV, the stress times the volume (slide 09)."""
    _, _, r_ij, slope = _slopes(z, pos, cell)
    return 0.5 * (slope[:, None] * r_ij).T @ r_ij


def _slopes(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, ...]:
    """i, j, r_ij and the slope of each pair energy over r, (E,) in eV/Å^2."""
    i, j, r_ij = neighbours(z, pos, cell)
    r, step = np.linalg.norm(r_ij, axis=1), 1e-4
    slope = (pair_energy(z[i], z[j], r + step) - pair_energy(z[i], z[j], r - step)) / (2 * step)
    return i, j, r_ij, slope / r


def forces_through_a_network(z: np.ndarray, pos: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The components of each force went through a nonlinearity as if they were three scalars."""
    return np.tanh(2 * forces(z, pos, cell))
