"""The checks as classifiers: right code passes however it is written, wrong code fails by its own name.

Right code comes from the solution notebook and from rewrites of it; wrong code is below, each piece with the
words that its message must contain. A check that catches no wrong code here fails
`test_every_check_catches_something`.
"""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from across import Across, Handle
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import nn
from torch.nn.functional import softplus

import course.hidden  # noqa: F401  registers the hidden checks
from course import blind
from mg9 import checks, data, splits
from mg9.checks import REGISTRY, CheckFailed, Local, WrongKind, check, find, register
from mg9.checks.tools import known_crystals, labelled
from mg9.checks.versions import holds_symmetries, versions
from mg9.d_cgcnn import GatedConvolution
from mg9.groups import chemistry_family

NOTEBOOK = Path(__file__).resolve().parents[1] / "solutions" / "cgcnn" / "cgcnn.ipynb"
TOPICS = ("mg9.checks.graph", "mg9.checks.convolution", "mg9.checks.network", "mg9.checks.evaluation")
TOPICS += ("course.hidden.cgcnn",)
find("graph.shells")  # registers the visible checks; the import above registered the hidden ones
CHECKS = sorted(name for name, one in REGISTRY.items() if one.function.__module__ in TOPICS)

RIGHT: list[tuple[str, Callable]] = []
WRONG: list[tuple[str, Callable, str]] = []


def right(*names: str):
    """The decorated function or class must pass these checks."""

    def enter(thing):
        RIGHT.extend((name, thing) for name in names)
        return thing

    return enter


def wrong(*names: str, says: str):
    """The decorated function or class must fail each of these checks with a message that matches `says`."""

    def enter(thing):
        WRONG.extend((name, thing, says) for name in names)
        return thing

    return enter


def idfn(value) -> str | None:
    return getattr(value, "__name__", None) if callable(value) else None


def both(topic: str, name: str) -> tuple[str, str]:
    """A visible check and the hidden one that repeats it."""
    return f"{topic}.{name}", f"hidden.{name}"


# Displacements

R_IJ = both("graph", "displacements")


@right(*R_IJ)
def one_edge_after_another(pos, cell, edge_index, shift):
    rows = []
    for e in range(edge_index.shape[1]):
        j, i = int(edge_index[0, e]), int(edge_index[1, e])
        image = pos[j] + shift[e, 0] * cell[0] + shift[e, 1] * cell[1] + shift[e, 2] * cell[2]
        rows.append(image - pos[i])
    return torch.stack(rows)


@right(*R_IJ)
def with_einsum(pos, cell, edge_index, shift):
    return pos[edge_index[0]] - pos[edge_index[1]] + torch.einsum("ec,cd->ed", shift, cell)


@right(*R_IJ)
def in_numpy(pos, cell, edge_index, shift):
    pos, cell, (j, i), shift = (np.asarray(x) for x in (pos, cell, edge_index, shift))
    return pos[j] + shift @ cell - pos[i]


@right(*R_IJ)
def in_single_precision(pos, cell, edge_index, shift):
    return with_einsum(pos.float(), cell.float(), edge_index, shift.float())


@right(*R_IJ)
def in_place_on_its_own_arguments(pos, cell, edge_index, shift):
    shift @= cell
    shift += pos[edge_index[0]]
    shift -= pos[edge_index[1]]
    return shift


@wrong(*R_IJ, says="from the neighbour j to the centre i")
def from_neighbour_to_centre(pos, cell, edge_index, shift):
    return -with_einsum(pos, cell, edge_index, shift)


@wrong(*R_IJ, says="from the neighbour j to the centre i")
def from_neighbour_to_centre_in_single_precision(pos, cell, edge_index, shift):
    return -in_single_precision(pos, cell, edge_index, shift)


@wrong(*R_IJ, says="images are dropped")
def without_images(pos, cell, edge_index, shift):
    return pos[edge_index[0]] - pos[edge_index[1]]


@wrong(*R_IJ, says="columns were the lattice vectors")
def cell_transposed(pos, cell, edge_index, shift):
    return with_einsum(pos, cell.T, edge_index, shift)


@wrong(*R_IJ, says="subtracted instead of added")
def image_subtracted(pos, cell, edge_index, shift):
    return with_einsum(pos, cell, edge_index, -shift)


@wrong(*R_IJ, says="a displacement differs.*\n.*where: mp-.*\n.*expected .* Å, got .* Å")
def shift_in_angstrom(pos, cell, edge_index, shift):
    return pos[edge_index[0]] + shift - pos[edge_index[1]]


@wrong(*R_IJ, says=r"another shape\n.*expected \(\d+, 3\), got \(\d+,\)")
def the_distance_itself(pos, cell, edge_index, shift):
    return with_einsum(pos, cell, edge_index, shift).norm(dim=1)


@wrong(*R_IJ, says="should be a tensor.*\n.*got list")
def as_a_list(pos, cell, edge_index, shift):
    return with_einsum(pos, cell, edge_index, shift).tolist()


@wrong(*R_IJ, says="NaN or infinite")
def divided_by_zero(pos, cell, edge_index, shift):
    return with_einsum(pos, cell, edge_index, shift) / 0.0


# Whole shells

SHELLS = both("graph", "shells")


@right(*SHELLS)
def shells_without_a_loop(i, distance, k):
    order = np.lexsort((distance, i))
    count = torch.bincount(i)
    nearest = distance[order]
    last = nearest[(count.cumsum(0) - count + count.clamp(max=k) - 1).clamp(min=0)]
    return distance - last[i] <= 0.01


@right(*SHELLS)
def shells_in_numpy(i, distance, k):
    i, distance = i.numpy(), distance.numpy()
    keep = np.zeros(len(i), dtype=bool)
    for atom in set(i.tolist()):
        own = np.sort(distance[i == atom])
        keep[(i == atom) & (distance <= own[:k][-1] + 0.01)] = True
    return keep


@right(*SHELLS)
def shells_in_single_precision(i, distance, k):
    return shells_without_a_loop(i, distance.float(), k)


def kept(i, distance, k, *, tolerance=0.01):
    own = {int(atom): distance[i == atom].sort().values for atom in i.unique()}
    last = torch.stack([own[int(atom)][min(k, len(own[int(atom)])) - 1] for atom in i])
    return distance <= last + tolerance


@wrong(*SHELLS, says="a shell is cut")
def exactly_k(i, distance, k):
    keep = torch.zeros(len(i), dtype=torch.bool)
    for atom in i.unique():
        own = torch.nonzero(i == atom).squeeze(1)
        keep[own[distance[own].argsort()[:k]]] = True
    return keep


@wrong(*SHELLS, says="another number of neighbours is kept")
def one_neighbour_too_many(i, distance, k):
    return kept(i, distance, k + 1)


@wrong(*SHELLS, says="another number of neighbours is kept")
def one_neighbour_too_few(i, distance, k):
    return kept(i, distance, k - 1)


@wrong(*SHELLS, says="another number of neighbours is kept")
def with_a_wide_tolerance(i, distance, k):
    return kept(i, distance, k, tolerance=0.5)


@wrong(*SHELLS, says="another number of neighbours is kept")
def all_neighbours(i, distance, k):
    return torch.ones(len(i), dtype=torch.bool)


@wrong(*SHELLS, says="another number of neighbours is kept")
def one_distance_for_all_atoms(i, distance, k):
    return distance <= kept_distance(i, distance, k) + 0.01


def kept_distance(i, distance, k):
    return min(distance[i == atom].sort().values[k - 1] for atom in i.unique())


@wrong(*SHELLS, says="number of neighbours|not the nearest ones")
def as_if_the_edges_were_sorted(i, distance, k):
    keep = torch.zeros(len(i), dtype=torch.bool)
    for atom in i.unique():
        own = torch.nonzero(i == atom).squeeze(1)
        keep[own] = distance[own] <= distance[own[k - 1]] + 0.01
    return keep


@wrong(*SHELLS, says="number of neighbours|not the nearest ones")
def the_farthest(i, distance, k):
    return kept(i, -distance, k)


@wrong(*SHELLS, says="the right number of neighbours, but not the nearest ones")
def as_many_but_the_farthest(i, distance, k):
    keep = torch.zeros(len(i), dtype=torch.bool)
    for atom in i.unique():
        own = torch.nonzero(i == atom).squeeze(1)
        number = int(kept(i, distance, k)[own].sum())
        keep[own[distance[own].argsort(descending=True)[:number]]] = True
    return keep


@wrong(*SHELLS, says="another shape")
def the_numbers_of_the_edges(i, distance, k):
    return torch.nonzero(kept(i, distance, k)).squeeze(1)


@wrong(*SHELLS, says="True and False")
def a_mask_of_ones_and_zeros(i, distance, k):
    return kept(i, distance, k).float()


@wrong("hidden.shells", says="another number of neighbours is kept")
def always_twelve(i, distance, k):
    return kept(i, distance, 12)


@wrong(*SHELLS, says="raised IndexError")
def stumbles_over_an_atom_with_few_neighbours(i, distance, k):
    """The docstring promises that such an atom keeps all of its neighbours."""
    own = {int(atom): distance[i == atom].sort().values[k - 1] for atom in i.unique()}
    return distance <= torch.stack([own[int(atom)] for atom in i]) + 0.01


# Atom features

ONE_HOT = both("atoms", "one_hot")


@right(*ONE_HOT)
def one_hot_of_torch(z):
    return nn.functional.one_hot(z - 1, 100).float()


@right(*ONE_HOT)
def one_hot_by_comparison(z):
    return (z[:, None] == torch.arange(1, 101)[None, :]).double()


@right(*ONE_HOT)
def one_hot_in_numpy(z):
    rows = np.zeros((len(z), 100))
    rows[np.arange(len(z)), z.numpy() - 1] = 1.0
    return rows


@wrong(*ONE_HOT, says="another column|raised IndexError")
def column_z(z):
    rows = torch.zeros(len(z), 100)
    rows[torch.arange(len(z)), z] = 1.0
    return rows


@wrong(*ONE_HOT, says=r"another shape\n.*100\), got .*101\)")
def a_hundred_and_one_columns(z):
    return nn.functional.one_hot(z, 101).float()


@wrong(*ONE_HOT, says="another column")
def columns_in_order_of_appearance(z):
    return torch.eye(100)[torch.unique(z, return_inverse=True)[1]]


@wrong(*ONE_HOT, says="another column")
def by_position_in_the_list(z):
    return torch.eye(100)[torch.arange(len(z))]


@wrong(*ONE_HOT, says="another column")
def all_ones(z):
    return torch.ones(len(z), 100)


@wrong(*ONE_HOT, says="another column")
def all_zeros(z):
    return torch.zeros(len(z), 100)


# Edge features

GAUSSIAN = both("edges", "gaussian")


@right(*GAUSSIAN)
def gaussian_by_outer_difference(distance, mu, beta):
    return torch.stack([(-beta * (distance - center) ** 2).exp() for center in mu], dim=1)


@right(*GAUSSIAN)
def gaussian_in_numpy(distance, mu, beta):
    return np.exp(-beta * np.subtract.outer(distance.numpy(), mu.numpy()) ** 2)


@right(*GAUSSIAN)
def gaussian_in_single_precision(distance, mu, beta):
    return gaussian_by_outer_difference(distance.float(), mu.float(), beta)


@wrong(*GAUSSIAN, says="a Gaussian has another value|NaN or infinite")
def growing(distance, mu, beta):
    return torch.exp(+beta * (distance[:, None] - mu) ** 2)


@wrong(*GAUSSIAN, says="a Gaussian has another value")
def squared_with_beta(distance, mu, beta):
    return torch.exp(-((beta * (distance[:, None] - mu)) ** 2))


@wrong(*GAUSSIAN, says="a Gaussian has another value")
def exponential(distance, mu, beta):
    return torch.exp(-beta * (distance[:, None] - mu).abs())


@wrong(*GAUSSIAN, says="a Gaussian has another value")
def half_beta(distance, mu, beta):
    return torch.exp(-0.5 * beta * (distance[:, None] - mu) ** 2)


@wrong(*GAUSSIAN, says="a Gaussian has another value")
def bins(distance, mu, beta):
    return ((distance[:, None] - mu).abs() < 0.1).double()


@wrong(*GAUSSIAN, says="a Gaussian has another value")
def scaled_to_one(distance, mu, beta):
    u = gaussian_by_outer_difference(distance, mu, beta)
    return u / u.sum(dim=1, keepdim=True)


@wrong(*GAUSSIAN, says="another shape")
def transposed(distance, mu, beta):
    return gaussian_by_outer_difference(distance, mu, beta).T


@wrong("hidden.gaussian", says="a Gaussian has another value")
def beta_is_always_25(distance, mu, beta):
    return gaussian_by_outer_difference(distance, mu, 25.0)


# The gated convolution

VISIBLE = tuple(f"convolution.{name}" for name in ("direction", "sum", "gate", "permutation"))
CONVOLUTION = (*VISIBLE, "hidden.convolution")


class Gated(nn.Module):
    """The given constructor; right and wrong code differ in `forward`."""

    def __init__(self, *, features, edge_features):
        super().__init__()
        self.gate = nn.Linear(2 * features + edge_features, features)
        self.content = nn.Linear(2 * features + edge_features, features)

    def message(self, v_i, v_j, u):
        z = torch.cat([v_i, v_j, u], dim=-1)
        return torch.sigmoid(self.gate(z)) * softplus(self.content(z))

    def messages(self, v, u, edge_index):
        return self.message(v[edge_index[1]], v[edge_index[0]], u)

    def add(self, v, i, messages):
        return v + torch.zeros_like(v).index_add(0, i, messages)

    def forward(self, v, u, edge_index):
        return self.add(v, edge_index[1], self.messages(v, u, edge_index))


RIGHT += [(name, Gated) for name in CONVOLUTION] + [(name, GatedConvolution) for name in CONVOLUTION]


@right(*CONVOLUTION)
class EdgeByEdge(Gated):
    def forward(self, v, u, edge_index):
        new = list(v)
        for e, (j, i) in enumerate(edge_index.T.tolist()):
            new[i] = new[i] + self.message(v[i], v[j], u[e])
        return torch.stack(new)


@right(*CONVOLUTION)
class WithEinsum(Gated):
    def forward(self, v, u, edge_index):
        receives = nn.functional.one_hot(edge_index[1], len(v)).to(v.dtype)
        return v + torch.einsum("en,ef->nf", receives, self.messages(v, u, edge_index))


@right(*CONVOLUTION)
class WithScatter(Gated):
    def add(self, v, i, messages):
        return v.scatter_add(0, i[:, None].expand_as(messages), messages)


@right(*CONVOLUTION)
class WithIndexPut(Gated):
    def add(self, v, i, messages):
        return v.clone().index_put((i,), messages, accumulate=True)


@right(*CONVOLUTION)
class IntoZerosOfTheDefaultType(Gated):
    """Right in the notebook, where everything is float32."""

    def add(self, v, i, messages):
        return v + torch.zeros(v.shape).index_add(0, i, messages)


@right(*CONVOLUTION)
class WithMatrixProducts(Gated):
    def message(self, v_i, v_j, u):
        weight = torch.cat([self.gate.weight, self.content.weight])
        both = torch.cat([v_i, v_j, u], dim=-1) @ weight.T + torch.cat([self.gate.bias, self.content.bias])
        gate, content = both.chunk(2, dim=-1)
        return 1 / (1 + torch.exp(-gate)) * torch.log1p(torch.exp(content))


@right(*CONVOLUTION)
def message_passing(**sizes):
    """PyTorch Geometric's way to write it; the import takes seconds, so it waits until it is needed."""
    from torch_geometric.nn import MessagePassing

    class WithMessagePassing(MessagePassing):
        def __init__(self, *, features, edge_features):
            super().__init__(aggr="add")
            self.gate = nn.Linear(2 * features + edge_features, features)
            self.content = nn.Linear(2 * features + edge_features, features)

        def forward(self, v, u, edge_index):
            return v + self.propagate(edge_index, v=v, u=u)

        def message(self, v_i, v_j, u):
            z = torch.cat([v_i, v_j, u], dim=1)
            return self.gate(z).sigmoid() * softplus(self.content(z))

    return WithMessagePassing(**sizes)


@wrong("convolution.direction", says="atom 1 sends to atom 0|only sends")
@wrong("hidden.convolution", says="v' has another value")
class FromCentreToNeighbour(Gated):
    def forward(self, v, u, edge_index):
        return super().forward(v, u, edge_index.flip(0))


@wrong("convolution.direction", says="only sends, yet its feature changed")
@wrong("hidden.convolution", says="v' has another value")
class BothReceive(Gated):
    def forward(self, v, u, edge_index):
        both = torch.cat([edge_index, edge_index.flip(0)], dim=1)
        return super().forward(v, torch.cat([u, u]), both)


@wrong("convolution.direction", says="centre|order")
@wrong("hidden.convolution", says="v' has another value")
class NeighbourBeforeCentre(Gated):
    def message(self, v_i, v_j, u):
        return super().message(v_j, v_i, u)


@wrong("convolution.direction", says="centre and neighbour were exchanged")
@wrong("hidden.convolution", says="v' has another value")
class SameForBothRoles(Gated):
    def message(self, v_i, v_j, u):
        return super().message(v_i + v_j, v_i + v_j, u)


@wrong("convolution.sum", says="the update must double[\\s\\S]*a mean would not notice coordination")
@wrong("hidden.convolution", says="v' has another value")
class Mean(Gated):
    def add(self, v, i, messages):
        return v + torch.zeros_like(v).index_reduce(0, i, messages, "mean", include_self=False)


@wrong("convolution.sum", says="the update must double")
@wrong("hidden.convolution", says="v' has another value")
class Largest(Gated):
    def add(self, v, i, messages):
        return v + torch.zeros_like(v).index_reduce(0, i, messages, "amax", include_self=False)


@wrong("convolution.sum", says=r"the update must double[\s\S]*new\[i\] \+= message")
@wrong("hidden.convolution", says="v' has another value")
class OneMessageForEachAtom(Gated):
    def add(self, v, i, messages):
        new = v.clone()
        new[i] += messages
        return new


@wrong("convolution.sum", "convolution.direction", says="the residual v_i .* is missing")
@wrong("hidden.convolution", says="v' has another value")
class NoResidual(Gated):
    def add(self, v, i, messages):
        return torch.zeros_like(v).index_add(0, i, messages)


@wrong("convolution.sum", says="the answer stayed the same")
@wrong("convolution.direction", says="the answer stayed the same")
@wrong("convolution.gate", says="the answer stayed the same")
@wrong("convolution.permutation", says="all edge features were changed, and the answer stayed the same")
@wrong("hidden.convolution", says="v' has another value")
class Constant(Gated):
    def forward(self, v, u, edge_index):
        return v + 0 * self.gate.bias


@wrong("convolution.gate", says="the sigmoid belongs to the gate")
@wrong("hidden.convolution", says="v' has another value")
class GateAndContentSwapped(Gated):
    def message(self, v_i, v_j, u):
        z = torch.cat([v_i, v_j, u], dim=-1)
        return torch.sigmoid(self.content(z)) * softplus(self.gate(z))


@wrong("convolution.gate", says="the gate is shut, yet something passes")
@wrong("hidden.convolution", says="v' has another value")
class ContentAlone(Gated):
    def message(self, v_i, v_j, u):
        return softplus(self.content(torch.cat([v_i, v_j, u], dim=-1)))


@wrong("convolution.gate", says=r"content is softplus\(...\) > 0")
@wrong("hidden.convolution", says="v' has another value")
class ContentWithoutSoftplus(Gated):
    def message(self, v_i, v_j, u):
        z = torch.cat([v_i, v_j, u], dim=-1)
        return torch.sigmoid(self.gate(z)) * self.content(z)


@wrong("convolution.gate", says="softplus")
@wrong("hidden.convolution", says="v' has another value")
class ContentWithRelu(Gated):
    def message(self, v_i, v_j, u):
        z = torch.cat([v_i, v_j, u], dim=-1)
        return torch.sigmoid(self.gate(z)) * torch.relu(self.content(z))


@wrong("convolution.permutation", says="the edges were listed in another order")
@wrong("hidden.convolution", says="v' has another value")
class LaterEdgesWeighLess(Gated):
    def messages(self, v, u, edge_index):
        fading = 0.9 ** torch.arange(len(u), dtype=v.dtype)
        return fading[:, None] * super().messages(v, u, edge_index)


@wrong("convolution.permutation", says="the atoms were numbered differently")
@wrong("hidden.convolution", says="v' has another value")
class AtomNumbersMatter(Gated):
    def add(self, v, i, messages):
        return super().add(v, i, messages * (1.0 + 0.1 * i[:, None]))


@wrong("convolution.permutation", says="all edge features were changed, and the answer stayed the same")
@wrong("hidden.convolution", says="v' has another value")
class BlindToEdges(Gated):
    def message(self, v_i, v_j, u):
        return super().message(v_i, v_j, 0 * u)


@wrong("hidden.convolution", says="v' has another value")
class SoftplusAroundTheWhole(Gated):
    def add(self, v, i, messages):
        return softplus(super().add(v, i, messages))


@wrong("hidden.convolution", says="no gradient flows back to u: is there a detach")
class DetachedEdges(Gated):
    def messages(self, v, u, edge_index):
        return super().messages(v, u.detach(), edge_index)


@wrong("hidden.convolution", says="the gradient with respect to v differs")
class DetachedMessages(Gated):
    def messages(self, v, u, edge_index):
        return super().messages(v.detach(), u, edge_index)


@wrong("hidden.convolution", says="gradient[\\s\\S]*detach|raised RuntimeError")
class WithoutGradients(Gated):
    @torch.no_grad()
    def forward(self, v, u, edge_index):
        return super().forward(v, u, edge_index)


@wrong("hidden.convolution", says="gradient")
class GradientIsNaN(Gated):
    """Right values; the derivative of the square root at 0 is infinite, and 0 times that is NaN."""

    def messages(self, v, u, edge_index):
        return super().messages(v, u + 0 * (u - u.detach()).abs().sqrt(), edge_index)


@right(*CONVOLUTION)
class ChangesItsInput(Gated):
    def add(self, v, i, messages):
        return v.index_add_(0, i, messages)


@wrong(*CONVOLUTION, says="None: is the return statement missing")
class ForgetsToReturn(Gated):
    def forward(self, v, u, edge_index):
        super().forward(v, u, edge_index)


@wrong(*CONVOLUTION, says="another shape")
class ReturnsMessages(Gated):
    def forward(self, v, u, edge_index):
        return torch.cat([self.messages(v, u, edge_index), v, v])


@wrong(*CONVOLUTION, says="raised RuntimeError: mat1 and mat2")
class LeavesTheEdgesOut(Gated):
    def message(self, v_i, v_j, u):
        return super().message(v_i, v_j, u[..., :0])


@wrong(*CONVOLUTION, says=r"other names or shapes\n.*gate.weight.*, got .*w_z.weight")
class OtherNames(nn.Module):
    def __init__(self, *, features, edge_features):
        super().__init__()
        self.w_z = nn.Linear(2 * features + edge_features, features)


@wrong(*CONVOLUTION, says="other names or shapes")
class WithBatchNorm(Gated):
    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.norm = nn.BatchNorm1d(sizes["features"])


@wrong(*CONVOLUTION, says="raised TypeError: .*edge_features")
class TakesOtherArguments(nn.Module):
    def __init__(self, features):
        super().__init__()


@wrong(*CONVOLUTION, says="raised NotImplementedError")
class Untouched(Gated):
    def forward(self, v, u, edge_index):
        raise NotImplementedError


# Readout

MEAN = ("readout.mean", "hidden.mean")


@right(*MEAN)
def crystal_by_crystal(contributions, batch, n_crystals):
    return torch.stack([contributions[batch == k].mean() for k in range(n_crystals)])


@right(*MEAN)
def with_scatter_reduce(contributions, batch, n_crystals):
    empty = contributions.new_zeros(n_crystals)
    return empty.scatter_reduce(0, batch, contributions, "mean", include_self=False)


@right(*MEAN)
def with_the_pooling_of_pytorch_geometric(contributions, batch, n_crystals):
    from torch_geometric.nn import global_mean_pool

    return global_mean_pool(contributions, batch, n_crystals)


@right(*MEAN)
def mean_in_numpy(contributions, batch, n_crystals):
    return np.bincount(batch, weights=contributions, minlength=n_crystals) / np.bincount(batch)


@right(*MEAN)
def summed_in_single_precision(contributions, batch, n_crystals):
    total, atoms = torch.zeros(n_crystals), torch.zeros(n_crystals)
    for value, k in zip(contributions, batch, strict=True):
        total[k] += value
        atoms[k] += 1
    return total / atoms


@right(*MEAN)
def into_zeros_of_the_default_type(contributions, batch, n_crystals):
    """Right in the notebook, where everything is float32."""
    total = torch.zeros(n_crystals).index_add(0, batch, contributions)
    return total / torch.bincount(batch)


@wrong(*MEAN, says="this is the sum: it grows with the cell")
def the_sum(contributions, batch, n_crystals):
    return contributions.new_zeros(n_crystals).index_add(0, batch, contributions)


@wrong(*MEAN, says="the mean over crystals of")
def mean_of_everything(contributions, batch, n_crystals):
    return contributions.mean().expand(n_crystals)


@wrong(*MEAN, says="the mean over crystals of")
def by_the_largest_crystal(contributions, batch, n_crystals):
    return the_sum(contributions, batch, n_crystals) / torch.bincount(batch).max()


@wrong(*MEAN, says="the mean over crystals of")
def by_one_atom_too_many(contributions, batch, n_crystals):
    return the_sum(contributions, batch, n_crystals) / (torch.bincount(batch) + 1)


@wrong(*MEAN, says="the mean over crystals of")
def always_zero(contributions, batch, n_crystals):
    return torch.zeros(n_crystals)


@wrong(*MEAN, says="another shape")
def a_value_for_each_atom(contributions, batch, n_crystals):
    return crystal_by_crystal(contributions, batch, n_crystals)[batch]


@wrong(*MEAN, says="another shape")
def a_column(contributions, batch, n_crystals):
    return crystal_by_crystal(contributions, batch, n_crystals)[:, None]


# The whole model: an energy of one crystal from raw arrays

SYMMETRIES = both("model", "symmetries")
ENERGIES: list[tuple[Callable, str | None]] = []


def energy(says: str | None = None):
    """The decorated energy keeps the symmetries, or breaks one and is told so in words that match `says`."""

    def enter(thing):
        ENERGIES.append((thing, says))
        return thing

    return enter


def by_pairs(z, distance, edge_index):
    """A made-up energy per atom: smooth pair terms that vanish at 6 Å, asymmetric in the two elements."""
    j, i = edge_index
    envelope = torch.where(distance < 6.0, (1 - distance / 6.0) ** 3, 0.0)
    pair = torch.sin(distance * (1 + 0.01 * z[i]) + 0.1 * z[j]) * envelope
    return torch.zeros(len(z), dtype=distance.dtype).index_add(0, i, pair)


def lengths(pos, cell, edge_index, shift):
    return with_einsum(pos, cell, edge_index, shift).norm(dim=1)


@energy()
def pair_energy(z, pos, cell, edge_index, shift):
    return by_pairs(z, lengths(pos, cell, edge_index, shift), edge_index).mean()


@energy(r"rotating it changed the energy by [\d.e+-]+ eV/atom")
def looks_at_x(z, pos, cell, edge_index, shift):
    r = with_einsum(pos, cell, edge_index, shift)
    return by_pairs(z, (r * torch.tensor([1.0, 0.9, 0.8])).norm(dim=1), edge_index).mean()


@energy("reflecting it changed the energy")
def tells_left_from_right(z, pos, cell, edge_index, shift):
    handedness = torch.linalg.det(cell).sign()
    return pair_energy(z, pos, cell, edge_index, shift) + 0.1 * handedness


@energy("(rotating|moving|reflecting) .*changed the energy")
def raw_coordinates(z, pos, cell, edge_index, shift):
    return pair_energy(z, pos, cell, edge_index, shift) + 0.01 * pos.sum(dim=1).sin().mean()


@energy("moving all atoms together changed the energy")
def distance_to_the_origin(z, pos, cell, edge_index, shift):
    return pair_energy(z, pos, cell, edge_index, shift) + 0.01 * pos.norm(dim=1).mean()


@energy("moving one atom by lattice vectors changed the energy")
def forgets_the_images(z, pos, cell, edge_index, shift):
    return by_pairs(z, without_images(pos, cell, edge_index, shift).norm(dim=1), edge_index).mean()


@energy("renumbering its atoms changed the energy")
def the_first_atom_alone(z, pos, cell, edge_index, shift):
    return by_pairs(z, lengths(pos, cell, edge_index, shift), edge_index)[0]


@energy("doubling its cell changed the energy")
def sum_over_atoms(z, pos, cell, edge_index, shift):
    return by_pairs(z, lengths(pos, cell, edge_index, shift), edge_index).sum()


@energy("changed the energy")
def exactly_twelve_neighbours(z, pos, cell, edge_index, shift):
    """Which of the equally far ones are kept is up to the order of the list and to rounding."""
    r = lengths(pos, cell, edge_index, shift)
    keep = exactly_k(edge_index[1], r, 12)
    vector = with_einsum(pos, cell, edge_index, shift)[keep]
    field = torch.zeros_like(pos).index_add(0, edge_index[1][keep], vector)
    return by_pairs(z, r[keep], edge_index[:, keep]).mean() + field.norm(dim=1).mean()


@energy("every bond was stretched by 4 %, and the answer stayed the same")
def the_same_for_everything(z, pos, cell, edge_index, shift):
    return torch.tensor(-1.0)


@energy("every bond was stretched by 4 %, and the answer stayed the same")
def composition_alone(z, pos, cell, edge_index, shift):
    return z.double().mean()


@energy("atom 0 became (Si|Ge), and the answer stayed the same")
def geometry_alone(z, pos, cell, edge_index, shift):
    return by_pairs(0 * z, lengths(pos, cell, edge_index, shift), edge_index).mean()


@pytest.mark.parametrize(("thing", "says"), ENERGIES, ids=idfn)
def test_an_energy_is_held_to_the_symmetries(thing, says):
    def model(crystals):
        return torch.stack([thing(c.z, c.pos, c.cell, c.edge_index, c.shift).double() for c in crystals])

    def hold():
        for name, structure in known_crystals("mp-22865", "mp-5827", "mp-390"):
            rng = np.random.default_rng(0)
            holds_symmetries(model, rng, versions(rng, name, structure), name)

    if says is None:
        hold()
        return
    with pytest.raises(CheckFailed, match=says) as caught:
        hold()
    figure = caught.value.figure
    assert (figure is not None) == caught.value.what.startswith("rotating it")
    if figure:  # one turn: it ends where it began, and is no level line in between
        assert figure["x"][0] == 0 and figure["x"][-1] == 360 and figure["unit"] == "eV/atom"
        assert figure["y"][-1] == pytest.approx(figure["y"][0], abs=1e-9) and np.ptp(figure["y"]) > 1e-6


def another_layer(forward):
    """The convolution with another `forward`."""
    return type("Layer", (GatedConvolution,), {"forward": forward})


def swapped_ends(self, v, u, edge_index):
    """Another mistake than one of symmetry: messages go to who sent them."""
    return GatedConvolution.forward(self, v, u, edge_index.flip(0))


def mean_of_messages(v, u, edge_index):
    """Another mistake than one of symmetry: an atom without neighbours gets 0/0."""
    j, i = edge_index
    total = torch.zeros_like(v).index_add(0, i, v[j].sigmoid() * u[:, : v.shape[1]])
    return total / torch.bincount(i, minlength=len(v))[:, None]


def whole_crystal(v, u, edge_index):
    """The mean edge of each crystal of a batch, for all of its atoms alike."""
    ends = (np.ones(len(u)), edge_index.numpy())
    n, whose = connected_components(coo_matrix(ends, shape=(len(v), len(v))), directed=False)
    own = torch.as_tensor(whose).long()[edge_index[1]]
    total = torch.zeros(n, u.shape[1]).index_add(0, own, u)
    return (total / torch.bincount(own, minlength=n)[:, None])[torch.as_tensor(whose).long()][:, : v.shape[1]]


PARTS = {  # the parts that are exchanged: what the check says, None if it holds
    "einsum and loops": ({"displacements": "with_einsum", "mean_readout": "crystal_by_crystal"}, None),
    "every neighbour is kept": ({"whole_shells": lambda i, r, k: torch.ones(len(i), dtype=torch.bool)}, None),
    "centre and neighbour swapped": ({"GatedConvolution": another_layer(swapped_ends)}, None),
    "a mean, and NaN where nobody is heard": (
        {"GatedConvolution": another_layer(lambda self, v, u, e: v + mean_of_messages(v, u, e))},
        None,
    ),
    "no images": ({"displacements": "without_images"}, "(moving one atom|doubling).*changed the energy"),
    "x counts more": (
        {"displacements": lambda *c: with_einsum(*c) * torch.tensor([1.0, 0.9, 0.8])},
        "rotating it changed the energy",
    ),
    "a sum": (
        {"mean_readout": lambda c, batch, n: torch.zeros(n).index_add(0, batch, c)},
        "doubling its cell changed the energy",
    ),
    "one number for all": (
        {"mean_readout": lambda c, batch, n: torch.ones(n)},
        "every bond was stretched by 4 %, and the answer stayed the same",
    ),
    "the mean over the batch": (
        {"mean_readout": lambda c, batch, n: c.mean().expand(n)},
        "readout says something else when it is given half",
    ),
    "all elements alike": (
        {"one_hot": lambda z: torch.eye(100)[0 * z]},
        "atom 0 became (Si|Ge), and the answer stayed the same",
    ),
    "no geometry": (
        {"gaussian_basis": lambda r, mu, beta: torch.ones(len(r), len(mu))},
        "every bond was stretched by 4 %, and the answer stayed the same",
    ),
    "the first atom alone": (
        {"mean_readout": lambda c, batch, n: torch.stack([c[batch == k][0] for k in range(n)])},
        "changed the energy",
    ),
    "an update by number": (
        {"GatedConvolution": another_layer(lambda self, v, u, e: v * torch.arange(len(v))[:, None])},
        "convolution says something else when it is given half",
    ),
    "the volume of an atom for each length": (
        {
            "displacements": lambda pos, cell, e, shift: (
                (cell.det().abs() / len(pos)) ** (1 / 3) * torch.eye(3)[0].expand(len(shift), 3)
            )
        },
        "displacements says something else when it is given half",
    ),
    "the shortest lattice vector for each length": (
        {
            "displacements": lambda pos, cell, e, shift: (
                cell.norm(dim=1).min() * torch.eye(3)[0].expand(len(shift), 3)
            )
        },
        "atom [0-9] alone was moved by 0.2 Å, and the answer stayed the same|doubling its cell changed",
    ),
    "a cutoff that grows with the crystal": (
        {"whole_shells": lambda i, r, k: r <= 3 + 0.1 * len(i.unique())},
        "whole_shells says something else when it is given half",
    ),
    "a layer that hears the whole crystal": (
        {"GatedConvolution": another_layer(lambda self, v, u, e: v + whole_crystal(v, u, e))},
        "convolution says something else when it is given half",
    ),
    "a readout that knows its batch": (
        {"mean_readout": lambda c, batch, n: crystal_by_crystal(c, batch, n) / n},
        "readout says something else when it is given half",
    ),
    "NaN": ({"mean_readout": lambda c, batch, n: c[:n] * float("nan")}, "NaN or infinite"),
    "None": ({"mean_readout": lambda c, batch, n: None}, "None"),
    "nothing written": ({"one_hot": "raises_in_a_helper"}, "raises_in_a_helper raised"),
}


def test_the_nearest_are_whole_shells_of_twelve(reference):
    for name, structure in known_crystals("mp-22865", "mp-5827", "mp-390", "mp-2133"):
        c = versions(np.random.default_rng(0), name, structure).crystal
        assert torch.equal(c.nearest, reference["whole_shells"](c.edge_index[1], c.distance, 12))


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("case", PARTS)
def test_the_network_is_put_together_from_the_parts(reference, graded, name, case):
    exchanged, says = PARTS[case]
    exchanged = {k: globals()[part] if isinstance(part, str) else part for k, part in exchanged.items()}
    parts = [(reference | exchanged)[argument] for argument in graded[name]]
    if says is None:
        check(name, *parts)
    else:
        with pytest.raises(CheckFailed, match=says):
            check(name, *parts)


# Errors by family

FAMILIES = ("report.families", "hidden.families")


@right(*FAMILIES)
def with_a_loop(target, prediction, family):
    found = {}
    for one, other, name in zip(target, prediction, family, strict=True):
        found.setdefault(name, []).append(abs(one - other))
    return {name: sum(errors) / len(errors) for name, errors in found.items()}


@right(*FAMILIES)
def with_pandas(target, prediction, family):
    import pandas as pd

    return pd.DataFrame({"e": np.abs(target - prediction), "f": family}).groupby("f")["e"].mean().to_dict()


@right(*FAMILIES)
def with_tensors(target, prediction, family):
    error = (torch.as_tensor(target) - torch.as_tensor(prediction)).abs()
    return {name: error[[f == name for f in family]].mean() for name in set(family)}


@wrong(*FAMILIES, says="another error for the family")
def signed(target, prediction, family):
    return with_pandas(0 * target, np.zeros(len(target)), family) | {
        name: (prediction - target)[np.array(family) == name].mean() for name in set(family)
    }


@wrong(*FAMILIES, says="another error for the family")
def root_mean_square(target, prediction, family):
    return {
        name: ((prediction - target)[np.array(family) == name] ** 2).mean() ** 0.5 for name in set(family)
    }


@wrong(*FAMILIES, says="another error for the family")
def one_error_for_all(target, prediction, family):
    return dict.fromkeys(family, float(np.abs(target - prediction).mean()))


@wrong(*FAMILIES, says="another error for the family")
def summed_errors(target, prediction, family):
    return {name: np.abs(target - prediction)[np.array(family) == name].sum() for name in set(family)}


@wrong(*FAMILIES, says="another error for the family[\\s\\S]*got nan eV")
def not_a_number_for_each(target, prediction, family):
    return dict.fromkeys(family, float("nan"))


@wrong(*FAMILIES, says="a pandas Series may not cross")
def still_in_pandas(target, prediction, family):
    import pandas as pd

    return pd.Series(with_a_loop(target, prediction, family))


@wrong(*FAMILIES, says="a dict from family to error is wanted")
def one_family_only(target, prediction, family):
    return {"oxide": with_a_loop(target, prediction, family)["oxide"]}


@wrong(*FAMILIES, says="dict|number")
def words_for_errors(target, prediction, family):
    return dict.fromkeys(family, "small")


# Objects that are not functions


@pytest.fixture(scope="module")
def formulas() -> list[str]:
    return list(labelled().table["formula"])


def parts(split: splits.Split) -> tuple:
    return split.train, split.validation, split.test


GOOD_SPLITS = {
    "oxides": lambda f: parts(splits.family_split(f)),
    "halides": lambda f: parts(splits.family_split(f, hold_out="halide")),
    "lists": lambda f: tuple(part.tolist() for part in parts(splits.family_split(f))),
    "tensors": lambda f: tuple(torch.as_tensor(part) for part in parts(splits.family_split(f))),
}
BAD_SPLITS = {
    "random": (lambda f: parts(splits.random_split(len(f))), "is in the train and in the test part"),
    "compositions": (lambda f: parts(splits.composition_split(f)), "the family .* is in the test part and"),
    "in two parts": (lambda f: (range(200), range(100, 300), range(300, 500)), "row 100 is in more than one"),
    "no test": (lambda f: (*parts(splits.family_split(f))[:2], []), "the test part is empty"),
    "few": (lambda f: with_few(parts(splits.family_split(f))), "too small to say anything"),
    "other table": (lambda f: ([0], [1], [10**6]), "out of bounds|row"),
    "nothing": (lambda f: (None, None, None), "must be lists of rows"),
    "the split itself": (lambda f: (splits.family_split(f),) * 3, "a Split may not cross"),
}


def with_few(rows: tuple) -> tuple:
    return rows[0], rows[1], rows[2][:50]


@pytest.mark.parametrize("case", GOOD_SPLITS)
def test_a_split_that_holds_a_family_out_passes(formulas, case, capsys):
    check("split.chemistry", formulas, *GOOD_SPLITS[case](formulas))
    assert "are new chemistry" in capsys.readouterr().out


@pytest.mark.parametrize("case", BAD_SPLITS)
def test_a_split_that_holds_no_family_out_fails(formulas, case):
    make, words = BAD_SPLITS[case]
    with pytest.raises(CheckFailed, match=words):
        check("split.chemistry", formulas, *make(formulas))


def test_formulas_sorted_to_suit_a_random_split_are_refused(formulas):
    """The course's own formulas, but every row of the test part is called an oxide."""
    split = splits.random_split(len(formulas))
    is_oxide = [splits.chemistry_family(formula) == "oxide" for formula in formulas]
    oxides = [f for f, yes in zip(formulas, is_oxide, strict=True) if yes]
    rest = [f for f, yes in zip(formulas, is_oxide, strict=True) if not yes]
    wanted, spare = np.zeros(len(formulas), dtype=bool), oxides[len(split.test) :]
    wanted[split.test] = True
    others = iter([*rest, *spare])
    sorted_to_suit = [oxides.pop(0) if yes else next(others) for yes in wanted]
    with pytest.raises(CheckFailed, match="not the formulas of the course's table in its order"):
        check("split.chemistry", sorted_to_suit, *parts(split))
    shuffled = list(labelled().table.sample(frac=1, random_state=0)["formula"])
    check("split.chemistry", shuffled, *parts(splits.family_split(shuffled)))


TARGETS = {"formation_energy": "formation_energy_per_atom", "band_gap": "band_gap"}


def truth(target: str) -> np.ndarray:
    return blind.labels(target)[TARGETS[target]].to_numpy()


GOOD_PREDICTIONS = {
    "tensor": lambda y: torch.tensor(y, dtype=torch.float32),
    "array": lambda y: y.copy(),
    "rough": lambda y: torch.tensor(y + 0.05 * np.random.default_rng(0).normal(size=len(y))),
}
BAD_PREDICTIONS = {
    "none": (lambda y: None, "None"),
    "list": (lambda y: y.tolist(), "should be a tensor"),
    "one too few": (lambda y: torch.tensor(y[:-1]), "another shape"),
    "a column": (lambda y: torch.tensor(y[:, None]), "another shape"),
    "NaN": (lambda y: torch.tensor(np.r_[y[:-1], np.nan]), "NaN or infinite"),
    "complex NaN": (lambda y: torch.full((len(y),), complex("nan")), "is complex"),
    "the mean": (lambda y: torch.full((len(y),), y.mean()), "that is the constant predictor"),
    "in meV": (lambda y: torch.tensor(1000 * y), "out of range"),
}


@pytest.mark.parametrize("name", ["blind.form", "hidden.blind"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", GOOD_PREDICTIONS)
def test_good_predictions_of_the_blind_crystals_pass(name, target, case):
    check(name, target, GOOD_PREDICTIONS[case](truth(target)))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", BAD_PREDICTIONS)
def test_predictions_that_are_none_fail(target, case):
    make, words = BAD_PREDICTIONS[case]
    with pytest.raises(CheckFailed, match=words):
        check("blind.form", target, make(truth(target)))


@pytest.mark.parametrize("budget", ["full", "tiny"])
@pytest.mark.parametrize("target", TARGETS)
def test_blind_accuracy_separates_a_network_from_guessing(target, budget, monkeypatch):
    """Errors of a small part of the spread pass; another order and constants never do."""
    monkeypatch.setenv("MG9_BUDGET", budget)
    y, rng = truth(target), np.random.default_rng(0)
    spread = np.abs(y - y.mean()).mean()
    noise = rng.normal(size=len(y)) * np.sqrt(np.pi / 2) * (0.15 if budget == "full" else 0.3) * spread
    check("hidden.blind", target, torch.tensor(y + noise))
    for guess in (rng.permutation(y), np.full(len(y), y.mean() + 0.5 * spread), (y - y.mean()) / y.std() - 3):
        with pytest.raises(CheckFailed, match="predicted too badly") as caught:
            check("hidden.blind", target, torch.tensor(guess))
        assert re.search(r"MAE of at most [\d.]+ eV, got [\d.]+ eV", str(caught.value))
        figure, formulas = caught.value.figure, data.blind(target).table["formula"]
        for family, error in zip(figure["x"], figure["y"], strict=True):  # and nothing of few crystals
            own = [chemistry_family(formula) == family for formula in formulas]
            assert sum(own) >= 5 and error == pytest.approx(np.abs(guess - y)[own].mean())
        few = {"formation_energy": "hydride", "band_gap": "boride"}[target]  # two and one of them
        assert "halide" in figure["x"] and few not in figure["x"]


# Every check against right and wrong code


@pytest.fixture(scope="module")
def notebook() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


@pytest.fixture(scope="module")
def reference(notebook) -> dict:
    """Names that the solution notebook defines: its imports, functions and classes, nothing that trains."""
    wanted = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    names: dict = {}
    for cell in notebook:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            tree.body = [node for node in tree.body if isinstance(node, wanted)]
            exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return names


@pytest.fixture(scope="module")
def graded(notebook) -> dict[str, list[str]]:
    """Check name -> names of the objects, from the graded cells of the notebook."""
    found = {}
    for cell in notebook:
        if cell["metadata"].get("nbgrader", {}).get("grade") and cell["cell_type"] == "code":
            (call,) = [n for n in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(n, ast.Call)]
            found[call.args[0].value] = [argument.id for argument in call.args[1:]]
    return found


@pytest.fixture
def objects(reference, graded, formulas) -> Callable:
    """What the notebook hands to a check, with labels in the place of a trained network's predictions."""
    split = splits.family_split(formulas)
    trained = {"formulas": formulas, "TARGET": "formation_energy"}
    trained |= {"train": split.train, "validation": split.validation, "test": split.test}
    trained["blind_prediction"] = torch.tensor(truth("formation_energy"))
    return lambda name: [(reference | trained)[argument] for argument in graded[name]]


def test_the_notebook_calls_every_check(graded):
    assert set(graded) == set(CHECKS)


def test_every_check_catches_something():
    elsewhere = {"split.chemistry", "blind.form", "hidden.blind", *SYMMETRIES}
    caught = {name for name, *_ in WRONG} | elsewhere
    assert caught == set(CHECKS)
    passed = {name for name, _ in RIGHT} | elsewhere
    assert passed == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_the_reference_passes_with_one_line_and_no_warning(name, objects, capsys):
    torch.set_warn_always(True)  # not once in a process
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(name, *objects(name))
    torch.set_warn_always(False)
    out, err = capsys.readouterr()
    assert re.fullmatch(rf"passed  {re.escape(name)}: .+\n", out) and err == ""
    assert not [str(one.message) for one in caught if one.category is not DeprecationWarning]


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_reference_passes_whatever_is_drawn(seed, objects, monkeypatch):
    monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
    for name in CHECKS:
        check(name, *objects(name))


@pytest.mark.parametrize(("name", "thing"), RIGHT, ids=idfn)
def test_right_code_passes_however_it_is_written(name, thing):
    check(name, thing)


@pytest.mark.parametrize(("name", "thing", "says"), WRONG, ids=idfn)
def test_wrong_code_fails_and_its_mistake_is_named(name, thing, says):
    with pytest.raises(CheckFailed) as caught:
        check(name, thing)
    message = str(caught.value)
    assert re.search(says, message), message
    assert message.startswith(f"{name}: ")
    cause = caught.value.cause
    assert (f"usual cause: {cause}" in message) == bool(cause)
    if isinstance(caught.value, WrongKind):
        assert cause == "", "a cause of something else"
    elif name != "hidden.convolution":  # which names what differs
        assert cause == REGISTRY[name].cause
    assert f"reread slide {REGISTRY[name].slide:02d}" in message


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("thing", [None, 3, "text"])
def test_something_else_altogether_is_a_failed_check(name, thing, graded):
    """NameError aside, whatever a student's variable holds must end in words."""
    first = {"blind.form": ("formation_energy",), "hidden.blind": ("formation_energy",)}.get(name, ())
    with pytest.raises(CheckFailed):
        check(name, *first, *[thing] * (len(graded[name]) - len(first)))


# How checks touch what they are given


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_reaches_the_object_through_the_five_verbs_alone(name, objects):
    handed = [Handle(thing) if callable(thing) else thing for thing in objects(name)]
    REGISTRY[name].function(Across(), np.random.default_rng(0), *handed)


def seen_by(name: str, seed: int | None, monkeypatch) -> list[torch.Tensor]:
    """The first argument of each call that the check makes."""
    if seed is None:
        monkeypatch.delenv("MG9_CHECK_SEED", raising=False)
    else:
        monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
    seen = []

    def spy(pos, cell, edge_index, shift):
        seen.append(pos.clone())
        return with_einsum(pos, cell, edge_index, shift)

    check(name, spy)
    return seen


def test_the_seed_decides_which_crystals_are_drawn(monkeypatch):
    def alike(one, other):
        return len(one) == len(other) and all(map(torch.equal, one, other))

    drawn = {seed: seen_by("hidden.displacements", seed, monkeypatch) for seed in (None, 0, 1, 2)}
    assert alike(drawn[None], drawn[0]) and alike(drawn[1], seen_by("hidden.displacements", 1, monkeypatch))
    assert not alike(drawn[0], drawn[1]) and not alike(drawn[1], drawn[2])
    assert len({tuple(pos.flatten().tolist()) for pos in drawn[1]}) == 6


def test_a_check_leaves_the_random_numbers_of_the_notebook_alone(objects):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    for name in CHECKS:
        check(name, *objects(name))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_call_hands_out_copies():
    given, inside = torch.zeros(3), {"a": torch.zeros(3)}
    Local().call(lambda x, d: (x.add_(1), d["a"].add_(1)), given, inside)
    assert not given.any() and not inside["a"].any()


def test_make_is_seeded_and_of_the_wanted_type():
    before = torch.random.get_rng_state()
    one, same, other = (Local().make(Gated, s, torch.float64, features=2, edge_features=1) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    states = [Local().state(module) for module in (one, same, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["gate.weight"], states[2]["gate.weight"])
    assert one.gate.weight.dtype == torch.float64
    states[0]["gate.weight"].zero_()
    assert one.gate.weight.any(), "the state is a copy"


def test_load_needs_the_same_names_and_shapes():
    module = Local().make(Gated, 0, torch.float64, features=2, edge_features=1)
    state = Local().state(module)
    Local().load(module, {key: 0 * value for key, value in state.items()})
    assert not module.gate.weight.any()
    for bad in ({"gate.weight": state["gate.weight"]}, state | {"gate.bias": torch.zeros(3)}):
        with pytest.raises(CheckFailed, match="other names or shapes"):
            Local().load(module, bad)


def test_vjp_is_the_gradient_of_a_weighted_sum():
    x, n, y = torch.tensor([1.0, 2.0]), torch.tensor([2, 3]), torch.tensor([5.0])
    slopes = Local().vjp(lambda x, n, y: x**n, (x, n, y), torch.tensor([1.0, 10.0]))
    assert torch.equal(slopes[0], torch.tensor([2.0, 120.0])) and slopes[1] is None and slopes[2] is None
    assert not x.requires_grad


# Messages


def raises_in_a_helper(z):
    return a_helper(z)


def a_helper(z):
    return z.reshape(7, 7)


def failure_of(name: str, *things) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        check(name, *things)
    return caught.value


def test_a_failure_says_what_where_expected_why_and_what_to_reread():
    failure = failure_of("graph.displacements", without_images)
    assert isinstance(failure, AssertionError)
    assert failure.name == "graph.displacements" and failure.slide == 11
    assert "images are dropped" in failure.what and re.match(r"mp-\d+ \(\w+\)", failure.crystal)
    lines = str(failure).splitlines()
    assert [line.split(":")[0].split()[0] for line in lines] == [
        "graph.displacements", "where", "expected", "usual", "reread",
    ]  # fmt: skip
    assert "Å, got" in lines[2] and lines[4] == "  reread slide 11"


def test_an_exception_is_told_with_the_line_of_the_student():
    failure = failure_of("atoms.one_hot", raises_in_a_helper)
    assert "raises_in_a_helper raised RuntimeError: shape" in failure.what
    shown = failure._render_traceback_()
    assert (
        all(isinstance(line, str) for line in shown)
        and shown[: len(str(failure).splitlines())] == str(failure).splitlines()
    )
    number = inspect.getsourcelines(a_helper)[1] + 1
    assert any("a_helper" in line and f"line {number}" in line and "reshape(7, 7)" in line for line in shown)


def test_only_lines_of_the_student_are_called_theirs():
    """torch's own frames lie between the check and `forward`; they are not "in your code"."""
    lines = failure_of("convolution.sum", Untouched).student_lines
    assert lines and all("forward" in line and "_call_impl" not in line for line in lines)


def test_a_notebook_shows_the_message_and_no_stack(tmp_path):
    code = "from mg9.checks import check; check('readout.mean', lambda values, batch, n: values.new_zeros(n))"
    command = [
        sys.executable,
        "-m",
        "IPython",
        "--HistoryManager.enabled=False",
        "--colors=nocolor",
        "-c",
        code,
    ]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path)}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment)
    failure = failure_of("readout.mean", lambda values, batch, n: values.new_zeros(n))
    assert str(failure) in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stdout + shown.stderr


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="no check is called 'graph.shell'.*graph.shells"):
        find("graph.shell")
    with pytest.raises(KeyError):
        check("", None)


def test_two_checks_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(checks, "REGISTRY", dict(REGISTRY))
    with pytest.raises(ValueError, match="two checks are called 'graph.shells'"):
        register("graph.shells", slide=1, outcome=1, cause="")(lambda student, rng: "")


def test_every_check_names_a_slide_an_outcome_and_a_cause():
    of_course = ("mg9.", "course.")  # another test may have registered its own
    for name, entry in REGISTRY.items():
        if not entry.function.__module__.startswith(of_course):
            continue
        assert entry.name == name and 1 <= entry.slide <= 50 and entry.outcome >= 1 and len(entry.cause) > 20
        assert entry.function.__module__.startswith("course.hidden.") == name.startswith("hidden.")
