"""The check of a network that is put together from a student's parts (slides 08, 23).

The network is put together here, where the check runs, with one part of the student's at a time: the others
are right. So no part can do another one's work, and what fails has a name. Before a part is given the whole,
it is asked about an excerpt, and has to stay with what it said: an edge knows its two ends, an atom its
neighbours, a crystal its own atoms, and none of them what the whole is.

Read in order: `holds_network`, `Network` (slide 23 once more), its slots in the order of the notebook, then
`ask`. What is asked about stands in `versions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mg9.checks import Local, register
from mg9.checks.tools import KNOWN, expect_close, expect_tensor, known_crystals
from mg9.checks.versions import Described, holds_symmetries, versions

if TYPE_CHECKING:
    from pymatgen.core import Structure

F, K, LAYERS = 16, 41, 3  # features, Gaussians, convolutions
LOCAL = {  # slot -> what its answers may depend on
    "displacements": "r_ij needs the two atoms of its edge, shift and cell; other atoms have no say in it",
    "whole_shells": "which neighbours an atom keeps is decided by its own distances, atom by atom",
    "one_hot": "the row of an atom depends on its own Z alone",
    "gaussian_basis": "the row of an edge depends on its own distance alone",
    "convolution": "the new v_i needs v_i and what its own neighbours send; nobody else is heard",
    "readout": "the energy of a crystal needs its own atoms; crystals of a batch do not mix",
}


@register(
    "model.symmetries",
    slide=8,
    outcome=1,
    cause="something other than Z, distances and neighbours goes in, or a step above is not yet right",
)
def symmetries(
    student: Local,
    rng: np.random.Generator,
    displacements: Callable,
    whole_shells: Callable,
    one_hot: Callable,
    gaussian_basis: Callable,
    convolution: type,
    readout: Callable,
) -> str:
    parts = (displacements, whole_shells, one_hot, gaussian_basis, convolution, readout)
    worst = holds_network(student, rng, parts, known_crystals(*KNOWN[:3]))
    return f"rotated, moved, wrapped, renumbered, doubled: the energy changes by at most {worst:.0e} eV/atom"


def holds_network(
    student: Local, rng: np.random.Generator, parts: Sequence[Any], crystals: Sequence[tuple[str, Structure]]
) -> float:
    """The largest change of an energy (eV/atom); each of the six parts has a network of its own."""
    worst, asked = 0.0, {name: versions(rng, name, structure) for name, structure in crystals}
    for slot, part in zip(LOCAL, parts, strict=True):
        for name, crystal in asked.items():
            network = Network(student, rng, slot, part, name)
            worst = max(worst, holds_symmetries(network, rng, crystal, network.where))
    return worst


class Network:
    """Crystals -> energies per atom (B,), with random weights and one part of the student's, in `slot`."""

    def __init__(
        self, student: Local, rng: np.random.Generator, slot: str, part: Any, crystal: str = ""
    ) -> None:
        from mg9.d_cgcnn import GatedConvolution  # not there where students' code runs

        self.student, self.rng, self.slot, self.part = student, rng, slot, part
        self.where = f"{crystal}, your {slot} in a network whose other parts are right"
        self.embed, self.hidden = (torch.from_numpy(rng.normal(size=(size, F))) for size in (100, F))
        make, cls = (student.make, part) if slot == "convolution" else (Local().make, GatedConvolution)
        seeds = rng.integers(2**31, size=LAYERS).tolist()
        self.layers = [make(cls, k, torch.float64, features=F, edge_features=K) for k in seeds]

    def __call__(self, crystals: Sequence[Described]) -> Tensor:
        atoms = torch.tensor([len(c.z) for c in crystals])
        first = torch.cumsum(atoms, 0) - atoms
        edge_index = torch.cat([c.edge_index + k for c, k in zip(crystals, first, strict=True)], dim=1)
        batch = torch.repeat_interleave(torch.arange(len(crystals)), atoms)
        mine = self.slot

        r = torch.cat([c.distance for c in crystals])
        r = self.distances(crystals) if mine == "displacements" else r
        keep = torch.cat([c.nearest for c in crystals])
        keep = self.shells(edge_index[1], r) if mine == "whole_shells" else keep
        edge_index, r, z = edge_index[:, keep], r[keep], torch.cat([c.z for c in crystals])
        rows = self.rows(z) if mine == "one_hot" else torch.eye(100, dtype=torch.float64)[z - 1]
        mu = torch.linspace(0.0, 8.0, K, dtype=torch.float64)
        u = torch.exp(-25.0 * (r[:, None] - mu) ** 2)
        u = self.features(r, mu) if mine == "gaussian_basis" else u
        v = rows @ self.embed
        for layer in self.layers:
            with torch.no_grad():
                v = (self.updated if mine == "convolution" else Local().call)(layer, v, u, edge_index)
        contributions = softplus(v @ self.hidden).mean(dim=1)
        if mine == "readout":
            return self.read_out(contributions, batch, len(crystals))
        return torch.zeros(len(crystals), dtype=r.dtype).index_add(0, batch, contributions) / atoms

    def distances(self, crystals: Sequence[Described]) -> Tensor:
        """r (E,); for all crystals the student is asked about half of the atoms, then about all of them."""
        few = [self.half(len(c.z)) for c in crystals]
        among = [torch.isin(c.edge_index, own).all(dim=0) for c, own in zip(crystals, few, strict=True)]
        before = [
            self.student.call(
                self.part, c.pos[own], c.cell, torch.searchsorted(own, c.edge_index[:, e]), c.shift[e]
            )
            for c, own, e in zip(crystals, few, among, strict=True)
        ]
        r_ij = [
            self.same(said, self.student.call(self.part, c.pos, c.cell, c.edge_index, c.shift), len(e), e, 3)
            for said, c, e in zip(before, crystals, among, strict=True)
        ]
        return torch.cat(r_ij).norm(dim=1)

    def shells(self, i: Tensor, r: Tensor) -> Tensor:
        """Which edges are kept (E,)."""
        few = self.half(int(i.max()) + 1)
        own = torch.isin(i, few)
        excerpt = (torch.searchsorted(few, i[own]), r[own], 12)
        return self.ask(self.part, excerpt, (i, r, 12), len(r), own).bool()

    def features(self, r: Tensor, mu: Tensor) -> Tensor:
        """u (E, K)."""
        own = self.half(len(r))
        return self.ask(self.part, (r[own], mu, 25.0), (r, mu, 25.0), len(r), own, K)

    def rows(self, z: Tensor) -> Tensor:
        """One row of 100 for each atom."""
        own = self.half(len(z))
        return self.ask(self.part, (z[own],), (z,), len(z), own, 100)

    def updated(self, layer: Any, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        """v' (N, F); the excerpt is half of the atoms with all of their edges, to and from others."""
        own = self.half(len(v))
        near = torch.isin(edge_index, own).any(dim=0)
        around = edge_index[:, near].unique()
        atoms = torch.cat([around[~torch.isin(around, own)], own])
        number = torch.empty(len(v), dtype=torch.long)
        number[atoms] = torch.arange(len(atoms))
        before = self.student.call(layer, v[atoms], u[near], number[edge_index[:, near]])
        if isinstance(before, Tensor | np.ndarray) and tuple(before.shape) == (len(atoms), F):
            before = before[
                -len(own) :
            ]  # of the others edges are missing: whatever became of them, NaN included
        return self.same(before, self.student.call(layer, v, u, edge_index), len(v), own, F)

    def read_out(self, contributions: Tensor, batch: Tensor, B: int) -> Tensor:
        """The energies (B,)."""
        few = self.half(B)
        own = torch.isin(batch, few)
        excerpt = (contributions[own], torch.searchsorted(few, batch[own]), len(few))
        return self.ask(self.part, excerpt, (contributions, batch, B), B, few)

    def half(self, n: int) -> Tensor:
        """Half of n rows, in their order."""
        return torch.from_numpy(np.sort(self.rng.permutation(n)[: (n + 1) // 2]))

    def ask(self, part: Any, excerpt: tuple, whole: tuple, rows: int, own: Tensor, *width: int) -> Tensor:
        """What a part says of the whole (rows, *width), after it was asked about the rows `own` alone."""
        before = self.student.call(part, *excerpt)
        return self.same(before, self.student.call(part, *whole), rows, own, *width)

    def same(self, before: Any, after: Any, rows: int, own: Tensor, *width: int) -> Tensor:
        """What was said of the whole, if it agrees with what was said of the excerpt."""
        what = f"what {self.slot} returns"
        after = expect_tensor(after, (rows, *width), what).double()
        before = expect_tensor(before, tuple(after[own].shape), what).double()
        changed = f"{self.slot} says something else when it is given half of it"
        largest = max(1.0, float(after.abs().max()))
        expect_close(
            before,
            after[own],
            changed,
            crystal=self.where,
            tolerance=1e-5 * largest,
            cause=LOCAL[self.slot],
        )
        return after
