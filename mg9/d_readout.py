"""Readouts: from atom features to one number for a crystal (slide 22).

    sum        E = sum_i E_i           extensive: total energy, magnetisation; a supercell has n times as much
    mean       E = (1/N) sum_i E_i     intensive: band gap, energy per atom; a supercell has the same
    attention  E = sum_i a_i E_i       a = softmax over the atoms of a crystal: a weighted mean
    Set2Set    an LSTM asks the set of atoms several times and remembers what it was told

Paper: Vinyals, Bengio, Kudlur, ICLR (2016) [vinyals2016set2set], Eqs. 3 to 7, for Set2Set.
Read in order: `AtomContributions`, `SumReadout`, `MeanReadout`, `AttentionReadout`, `Set2SetReadout`.
Differs from the paper: Set2Set is PyTorch Geometric's layer; the number comes from a small MLP after it.

Every readout maps v (N, F) and batch (N,), the number of the crystal of each atom, to (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mg9.a_graph import sum_over_crystals


class AtomContributions(nn.Module):
    """The atom-wise MLP of slide 22: v_i (N, F) to E_i (N,)."""

    def __init__(self, *, features: int, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.Softplus(), nn.Linear(hidden, 1))

    def forward(self, v: Tensor) -> Tensor:
        return self.layers(v).squeeze(-1)


class SumReadout(AtomContributions):
    """E = sum_i E_i, for extensive properties (slide 22)."""

    def forward(self, v: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        return sum_over_crystals(super().forward(v), batch, n_crystals)


class MeanReadout(AtomContributions):
    """E = (1/N) sum_i E_i, for intensive properties (slide 22)."""

    def forward(self, v: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        atoms = torch.bincount(batch, minlength=n_crystals)  # (B,)
        return sum_over_crystals(super().forward(v), batch, n_crystals) / atoms


class AttentionReadout(AtomContributions):
    """E = sum_i a_i E_i with weights a_i >= 0 that sum to one in each crystal: intensive, but not every
    atom counts
    the same (slide 22)."""

    def __init__(self, *, features: int, hidden: int = 128) -> None:
        super().__init__(features=features, hidden=hidden)
        self.score = nn.Linear(features, 1)

    def forward(self, v: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        score = self.score(v).squeeze(-1)
        largest = score.new_full((n_crystals,), -torch.inf).scatter_reduce(0, batch, score, "amax")
        weight = torch.exp(score - largest.detach()[batch])  # (N,), in (0, 1]: exp cannot overflow
        total = sum_over_crystals(weight, batch, n_crystals)
        return sum_over_crystals(weight * super().forward(v), batch, n_crystals) / total


class Set2SetReadout(nn.Module):
    """Set2Set with an MLP behind it: intensive (slide 22) [vinyals2016set2set, Eqs. 3-7]."""

    def __init__(self, *, features: int, hidden: int = 128, steps: int = 3) -> None:
        super().__init__()
        from torch_geometric.nn.aggr import Set2Set

        self.set2set = Set2Set(features, processing_steps=steps)
        self.layers = nn.Sequential(nn.Linear(2 * features, hidden), nn.Softplus(), nn.Linear(hidden, 1))

    def forward(self, v: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        return self.layers(self.set2set(v, batch, dim_size=n_crystals)).squeeze(-1)
