"""Local environments by hand: what descriptors see before anything is learned (slide 06).

    G1_i = sum_j f(r_ij)                                                    how many neighbours
    G2_i = sum_j exp(-eta (r_ij - R_s)^2) f(r_ij)                           how far they are
    G4_i = 2^(1-zeta) sum_{j<k} (1 + lambda cos theta_jik)^zeta
           exp(-eta (r_ij^2 + r_ik^2 + r_jk^2)) f(r_ij) f(r_ik) f(r_jk)     at which angles
    f(r) = (cos(pi r / r_cut) + 1) / 2 within the cutoff, else 0

Each is a number for atom i that does not change when the crystal is rotated, moved or renumbered: the
symmetry is put in by hand, and so is the choice of eta, R_s, zeta and lambda. A message-passing layer learns
that choice.

Paper: Behler, J. Chem. Phys. 134, 074106 (2011) [behler2011acsf], the functions G1, G2 and G4; Bartók, Kondor
and Csányi, Phys. Rev. B 87, 184115 (2013) [bartok2013soap] for SOAP.
Read in order: `Environment` and `environments` (what an atom sees), `cosine_cutoff`, `g1`, `g2`, `g4`,
`acsf` (all of them as a vector), `soap`, `voronoi`.
Differs from the paper: one G2 for each element of the neighbour and one G4 for each pair of elements, as
codes do; the sum of G4 runs over pairs j < k, not over both orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mg9.a_crystal import edge_vectors

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data

Radial = Sequence[tuple[float, float]]  # (eta in 1/Å², R_s in Å)
Angular = Sequence[tuple[float, float, int]]  # (eta in 1/Å², zeta, lambda: 1 or -1)


@dataclass(frozen=True)
class Environment:
    """The neighbours of one atom (slide 06): z (n,) and the vectors to them (n, 3) in Å, images included."""

    z: Tensor
    vectors: Tensor

    def of(self, element: int) -> Tensor:
        """The vectors to the neighbours with that atomic number."""
        return self.vectors[self.z == element]


def environments(graph: Data) -> list[Environment]:
    """What each atom of a graph of `mg9.a_crystal` sees (slide 06), in the order of the atoms."""
    j, i = graph.edge_index
    vectors = edge_vectors(graph)
    return [Environment(graph.z[j[i == atom]], vectors[i == atom]) for atom in range(len(graph.z))]


def cosine_cutoff(r: Tensor, cutoff: float) -> Tensor:
    """f(r), from 1 at the atom smoothly to 0 at the cutoff (Å), like r (slides 06, 17)."""
    return 0.5 * (torch.cos(torch.pi * r / cutoff) + 1) * (r < cutoff)


def g1(vectors: Tensor, *, cutoff: float) -> Tensor:
    """G1, a smooth count of neighbours, from vectors (n, 3) in Å (slide 06) [behler2011acsf]."""
    return cosine_cutoff(vectors.norm(dim=1), cutoff).sum()


def g2(vectors: Tensor, *, cutoff: float, eta: float, shift: float) -> Tensor:
    """G2, neighbours at distances near `shift` (Å) (slide 06) [behler2011acsf]."""
    r = vectors.norm(dim=1)
    return (torch.exp(-eta * (r - shift) ** 2) * cosine_cutoff(r, cutoff)).sum()


def g4(one: Tensor, other: Tensor, *, cutoff: float, eta: float, zeta: float, sign: int) -> Tensor:
    """G4, pairs of neighbours at angles near 0 (lambda = `sign` = 1) or 180 degrees (-1) (slide 06).

    one (n, 3), other (m, 3): vectors to the neighbours of the two elements, in Å. For a pair of one element
    give the same vectors twice; each pair of different neighbours then counts once. [behler2011acsf]
    """
    r_ij, r_ik = one.norm(dim=1)[:, None], other.norm(dim=1)[None, :]
    r_jk = (one[:, None] - other[None, :]).norm(dim=2)  # (n, m)
    cosine = (one @ other.T) / (r_ij * r_ik)
    near = cosine_cutoff(r_ij, cutoff) * cosine_cutoff(r_ik, cutoff) * cosine_cutoff(r_jk, cutoff)
    term = (1 + sign * cosine) ** zeta * torch.exp(-eta * (r_ij**2 + r_ik**2 + r_jk**2)) * near
    if one is other:
        term = term.triu(diagonal=1)
    return 2 ** (1 - zeta) * term.sum()


def acsf(
    graph: Data,
    elements: Sequence[int],
    *,
    cutoff: float = 5.0,
    radial: Radial = ((1.0, 1.0), (1.0, 2.0), (1.0, 3.0)),
    angular: Angular = ((0.02, 1.0, 1), (0.02, 1.0, -1), (0.02, 4.0, 1), (0.02, 4.0, -1)),
) -> Tensor:
    """Atom-centred symmetry functions of each atom, (N, D) (slide 06).

    graph: from `radius_graph` with at least the cutoff (Å); elements: atomic numbers, in whose order the
    columns come: for each element G1 and one G2 for each of `radial`, then for each pair of elements one G4
    for each of `angular`. Errors: ValueError for an atom that is none of the elements. [behler2011acsf]
    """
    unknown = sorted(set(graph.z.tolist()) - set(elements))
    if unknown:
        raise ValueError(f"the crystal holds Z = {unknown[0]}, which is not among the elements {elements}")
    described = []
    for atom in environments(graph):
        by_element = {element: atom.of(element) for element in elements}
        values = []
        for element in elements:
            values.append(g1(by_element[element], cutoff=cutoff))
            values += [g2(by_element[element], cutoff=cutoff, eta=eta, shift=shift) for eta, shift in radial]
        for one, other in combinations_with_replacement(elements, 2):
            values += [
                g4(by_element[one], by_element[other], cutoff=cutoff, eta=eta, zeta=zeta, sign=sign)
                for eta, zeta, sign in angular
            ]
        described.append(torch.stack(values))
    return torch.stack(described)


def soap(
    structure: Structure,
    elements: Sequence[str],
    *,
    cutoff: float = 5.0,
    radial: int = 6,
    angular: int = 4,
    sigma: float = 0.5,
) -> np.ndarray:
    """The SOAP power spectrum of each atom, (N, D), by the package DScribe (slide 06).

    elements: symbols; `radial` functions and spherical harmonics up to degree `angular`; sigma: the width of
    the Gaussian on each neighbour, in Å. [bartok2013soap]
    """
    from dscribe.descriptors import SOAP
    from pymatgen.io.ase import AseAtomsAdaptor

    describe = SOAP(
        species=list(elements), r_cut=cutoff, n_max=radial, l_max=angular, sigma=sigma, periodic=True
    )
    return describe.create(AseAtomsAdaptor.get_atoms(structure, msonable=False))


def voronoi(structure: Structure, *, cutoff: float = 8.0) -> dict[str, np.ndarray]:
    """Statistics of each atom's Voronoi cell, by pymatgen, each (N,) (slide 06).

    faces: how many neighbours share a face; coordination: (sum w)² / sum w² with the solid angles w of the
    faces, so that slivers hardly count; volume in Å³: the volumes of a unit cell add up to the cell's.
    Errors: RuntimeError (pymatgen's) where the cutoff (Å) is too small to close a cell.
    """
    from pymatgen.analysis.local_env import VoronoiNN

    finder = VoronoiNN(cutoff=cutoff, compute_adj_neighbors=False)
    cells = finder.get_all_voronoi_polyhedra(structure)
    angles = [np.array([face["solid_angle"] for face in cell.values()]) for cell in cells]
    return {
        "faces": np.array([len(w) for w in angles], dtype=float),
        "coordination": np.array([w.sum() ** 2 / (w**2).sum() for w in angles]),
        "volume": np.array([sum(face["volume"] for face in cell.values()) for cell in cells]),
    }
