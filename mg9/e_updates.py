"""What MEGNet's networks are made of: updates of bonds, atoms and the state (slide 26).

    e_ij' = phi_e(v_i, v_j, e_ij, u)                      atoms -> bonds
    v_i'  = phi_v(mean over j of e_ij', v_i, u)           bonds -> atoms
    u'    = phi_u(mean of e_ij', mean of v_i', u)         atoms and bonds -> state

Paper: Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564 (2019) [chen2019megnet].
Read in order: `ShiftedSoftplus`, `dense`, `mean_at`, then `BondUpdate`, `AtomUpdate`, `StateUpdate`.
Differs from the paper: nothing; in which order the updates follow each other is said in `e_megnet.py` (the
deck's round) and `e_megnet_paper.py` (the paper's block).
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class ShiftedSoftplus(nn.Module):
    """log(1 + exp(x)) - log 2, which is 0 at 0: the activation of MEGNet (slide 26) [chen2019megnet]."""

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x).sub_(log(2.0))


def dense(*sizes: int, activate_last: bool = True) -> nn.Sequential:
    """Linear layers with the shifted softplus between them, and after the last if asked (slide 26)."""
    layers: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), ShiftedSoftplus()]
    return nn.Sequential(*layers if activate_last else layers[:-1])


def mean_at(values: Tensor, place: Tensor, n: int) -> Tensor:
    """The mean of those values (M, F) that have the same place (M,), (n, F); 0 where there are none
    (slide 26)."""
    count = torch.bincount(place, minlength=n).clamp(min=1).unsqueeze(1)
    return values.new_zeros(n, values.size(1)).index_add(0, place, values) / count


class BondUpdate(nn.Module):
    """e_ij' = phi_e(v_i, v_j, e_ij, u) (slide 26) [chen2019megnet].

    The first product is split: W_i v_i, W_j v_j and W_u u are taken per atom, not per bond.
    """

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = dense(4 * features, hidden, hidden, features, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, state: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        j, i = edge_index
        first = self.layers[0]
        W_i, W_j, W_e, W_u = first.weight.split(v.size(1), dim=1)
        centre = torch.addmm(first.bias, v, W_i.T) + (state @ W_u.T).index_select(0, batch)  # (N, H)
        z_ij = centre.index_select(0, i)  # (E, H); sums in place: it is large
        z_ij += (v @ W_j.T).index_select(0, j)
        return self.layers[1:](z_ij.addmm_(e, W_e.T))


class AtomUpdate(nn.Module):
    """v_i' = phi_v(mean over j of e_ij', v_i, u) (slide 26) [chen2019megnet].

    The mean is over the bonds that end in i, those whose e_ij' was made from [v_i, v_j] in this order.
    """

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = dense(3 * features, hidden, hidden, features, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, state: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        bonds = mean_at(e, edge_index[1], len(v))  # (N, F)
        return self.layers(torch.cat([bonds, v, state.index_select(0, batch)], dim=1))


class StateUpdate(nn.Module):
    """u' = phi_u(mean of e_ij', mean of v_i', u), (B, F) (slide 26) [chen2019megnet]."""

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = dense(3 * features, hidden, hidden, features, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, state: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        B = len(state)
        bonds = mean_at(e, batch.index_select(0, edge_index[1]), B)
        return self.layers(torch.cat([bonds, mean_at(v, batch, B), state], dim=1))
