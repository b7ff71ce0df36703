"""Crystals and molecules as graphs (slides 04, 05, 11, 41).

Every atom i of the unit cell is a node; every neighbour j within the cutoff, in this cell or in a periodic
image, sends along an edge to i:

    r_ij = pos[j] + shift @ cell - pos[i]        (Å; shift counts lattice vectors: it names the image of j)

The one edge convention of the course, `edge_index = [j, i]`, is PyTorch Geometric's source to target. Only
this file builds atom edges.

Paper: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018) [xie2018cgcnn], "crystal graph", 12 nearest
neighbours.
Read in order: `crystal_graph` (what the course uses), `twelve_nearest_graph` (the published rule and its
flaw), `radius_graph` (for potentials), `cell_graph` and `lattice_edges` (for attention), `molecule_graph`,
`read_crystal`. The errors for bad input are in `a_errors.py`; what is done with a graph is in `a_graph.py`.
Differs from the paper: "the 12 nearest neighbours" is arbitrary where the 12th and the 13th are equally
far, so `crystal_graph` keeps whole shells. Such a graph is invariant but not smooth in the positions: it
serves properties, never forces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mg9.a_errors import EmptyList as EmptyList
from mg9.a_errors import (
    UnreadableFile,
    atomic_numbers,
    atoms_of_molecule,
    refuse_bad_limits,
    refuse_odd_distances,
    refuse_one_place,
)
from mg9.a_graph import batch_graphs as batch_graphs
from mg9.a_graph import edge_vectors as edge_vectors

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Batch, Data

SHELL_TOLERANCE = 0.01  # Å: neighbours whose distances differ by less belong to one shell


def crystal_graph(
    structure: Structure,
    *,
    cutoff: float = 8.0,
    neighbors: int = 12,
    name: str = "",
    dtype: torch.dtype | None = None,
) -> Data:
    """The periodic graph of slide 05 with whole shells: for each atom all neighbours that are at most 0.01
    Å farther than its `neighbors`-th nearest one (all within the cutoff where it has fewer).

    structure: an ordered crystal; name: what error messages call it; dtype: of the floating-point tensors,
    by default torch's.
    Returns Data: z (N,), pos (N, 3) Å, cell (1, 3, 3) Å, edge_index (2, E) = [j, i], shift (E, 3),
    distance (E,) Å, edges sorted by centre, then distance. Errors: the subclasses of `CrystalError`.
    [xie2018cgcnn]
    """
    refuse_bad_limits(cutoff, neighbors)
    z = atomic_numbers(structure, name)
    i, j, shift, distance = _nearest_shells(structure, cutoff, neighbors, name)
    count = np.bincount(i)
    last_kept = distance[np.cumsum(count) - count + np.minimum(neighbors, count) - 1]
    keep = distance <= np.repeat(last_kept, count) + SHELL_TOLERANCE
    return _data(structure, z, i[keep], j[keep], shift[keep], distance[keep], dtype)


def twelve_nearest_graph(
    structure: Structure,
    *,
    cutoff: float = 8.0,
    neighbors: int = 12,
    name: str = "",
    dtype: torch.dtype | None = None,
) -> Data:
    """The published rule: exactly `neighbors` edges for each atom, ties cut wherever the list happens to
    end (slide 05).

    It changes under a rotation or another numbering of the atoms where a shell is cut, so it is here to be
    compared with `crystal_graph`, which has the same arguments, result and errors. [xie2018cgcnn]
    """
    refuse_bad_limits(cutoff, neighbors)
    z = atomic_numbers(structure, name)
    i, j, shift, distance = _nearest_shells(structure, cutoff, neighbors, name)
    keep = _rank_in_shell_order(i) < neighbors
    return _data(structure, z, i[keep], j[keep], shift[keep], distance[keep], dtype)


def radius_graph(
    structure: Structure, *, cutoff: float, name: str = "", dtype: torch.dtype | None = None
) -> Data:
    """All neighbours within the cutoff (Å): the graph of potentials, smooth when an envelope weights its
    edges (slides 05, 17).

    Result and errors as for `crystal_graph`.
    """
    refuse_bad_limits(cutoff)
    z = atomic_numbers(structure, name)
    found = _sorted_neighbors(structure, cutoff)
    refuse_odd_distances(structure, found[0], found[1], found[3], cutoff, name)
    return _data(structure, z, *found, dtype)


def cell_graph(structure: Structure, *, name: str = "", dtype: torch.dtype | None = None) -> Data:
    """Every atom with every atom of the cell, each at its nearest image: N^2 edges (slide 41).

    An atom is its own neighbour, at a distance of zero; its images are not. Where several images are equally
    near, any of them is named: they have one distance. Result and errors as for `crystal_graph`, but atoms
    may be as far apart as the cell has them.
    """
    from pymatgen.util.coord import pbc_shortest_vectors

    z, fractional = atomic_numbers(structure, name), structure.frac_coords
    vectors = pbc_shortest_vectors(structure.lattice, fractional, fractional)  # (N, N, 3), from i to j
    along = structure.lattice.get_fractional_coords(vectors) - (fractional[None, :] - fractional[:, None])
    i, j = np.indices(vectors.shape[:2]).reshape(2, -1)
    distance = np.linalg.norm(vectors, axis=-1)
    np.fill_diagonal(distance, 0.0)
    others = i != j
    refuse_one_place(i[others], j[others], distance[i, j][others], name or structure.formula)
    shift = np.round(along).reshape(-1, 3)
    return _data(structure, z, i, j, shift * others[:, None], distance.reshape(-1), dtype)


def lattice_edges(graph: Data | Batch) -> tuple[Tensor, Tensor]:
    """Six edges from each atom to its own images along a, b, c, a + b, b + c and c + a: Matformer's
    self-connecting edges (slide 41) [yan2022matformer].

    Returns edge_index (2, 6N) and distance (6N,) in Å, differentiable in `graph.cell`. Another choice of cell
    has other edges.
    """
    batch = getattr(graph, "batch", None)
    a, b, c = graph.cell.unbind(dim=1)  # (B, 3) each
    lengths = torch.stack([a, b, c, a + b, b + c, c + a], dim=1).norm(dim=2)  # (B, 6)
    own = torch.arange(len(graph.z), device=graph.z.device).repeat_interleave(6)
    distance = lengths[torch.zeros_like(graph.z) if batch is None else batch].flatten()
    return torch.stack([own, own]), distance


def molecule_graph(
    z: Sequence[int], pos: np.ndarray, *, cutoff: float, name: str = "", dtype: torch.dtype | None = None
) -> Data:
    """The graph of a molecule: no lattice, so no images (slides 04, 12).

    z (N,) atomic numbers; pos (N, 3) Å. Result as for `crystal_graph`, with a cell and shifts of zero; an
    atom without neighbours is allowed, since a free atom is a molecule too. Errors: `EmptyList`,
    `UnknownElement`, `NotFinite`, `AtomsCoincide`.
    """
    from torch_geometric.data import Data

    z, pos = atoms_of_molecule(z, pos, name)
    distance = np.linalg.norm(pos[None, :] - pos[:, None], axis=-1)
    i, j = np.nonzero((distance <= cutoff) & ~np.eye(len(z), dtype=bool))
    order = np.lexsort((j, distance[i, j], i))
    i, j = i[order], j[order]
    refuse_one_place(i, j, distance[i, j], name or "molecule")
    dtype = dtype or torch.get_default_dtype()
    return Data(
        z=torch.from_numpy(z),
        pos=torch.from_numpy(pos).to(dtype),
        cell=torch.zeros(1, 3, 3, dtype=dtype),
        edge_index=torch.from_numpy(np.stack([j, i])),
        shift=torch.zeros(len(i), 3, dtype=dtype),
        distance=torch.from_numpy(distance[i, j]).to(dtype),
    )


def read_crystal(path: str | Path) -> Structure:
    """The crystal in a file that pymatgen reads, CIF or POSCAR for instance (slide 05).

    Errors: `UnreadableFile`, which says what the parser found.
    """
    from pymatgen.core import Structure

    try:
        return Structure.from_file(path)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnreadableFile(
            f"{path}: not readable as a crystal ({reason}); export it again as CIF or POSCAR"
        ) from error


def _nearest_shells(
    structure: Structure, cutoff: float, neighbors: int, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sorted neighbours that contain the `neighbors` nearest of every atom and the rest of that shell.

    The radius is grown from a guess: a sphere of 1.25 times the radius that holds `neighbors` atoms at the
    crystal's density. Dense crystals have 150 neighbours within 8 Å of which 12 are wanted, so most of the
    search at the full cutoff is wasted.
    """
    density = len(structure) / structure.volume
    radius = min(cutoff, 1.25 * (3 * neighbors / (4 * np.pi * density)) ** (1 / 3))
    while True:
        i, j, shift, distance = _sorted_neighbors(structure, radius)
        if radius < cutoff:
            count = np.bincount(i, minlength=len(structure))
            if count.min() >= neighbors:
                last = distance[np.cumsum(count) - count + neighbors - 1]
                if last.max() + SHELL_TOLERANCE < radius:
                    break
            radius = min(cutoff, 1.3 * radius)
        else:
            break
    refuse_odd_distances(structure, i, j, distance, cutoff, name)
    return i, j, shift, distance


def _sorted_neighbors(
    structure: Structure, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """i (E,), j (E,), shift (E, 3), distance (E,) of pymatgen's list, sorted by centre, then distance."""
    i, j, shift, distance = structure.get_neighbor_list(radius)
    order = np.lexsort((distance, i))
    return i[order], j[order], shift[order], distance[order]


def _rank_in_shell_order(i: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal centres of a sorted list (E,)."""
    count = np.bincount(i)
    return np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)


def _data(
    structure: Structure,
    z: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    shift: np.ndarray,
    distance: np.ndarray,
    dtype: torch.dtype | None,
) -> Data:
    from torch_geometric.data import Data

    dtype = dtype or torch.get_default_dtype()
    return Data(
        z=torch.from_numpy(z),
        pos=torch.tensor(structure.cart_coords, dtype=dtype),
        cell=torch.tensor(structure.lattice.matrix, dtype=dtype).unsqueeze(0),
        edge_index=torch.from_numpy(np.stack([j, i])),
        shift=torch.from_numpy(shift).to(dtype),
        distance=torch.from_numpy(distance).to(dtype),
    )
