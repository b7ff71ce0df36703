"""Energy, forces and stress from one energy (slide 31).

    E = sum_i E_i + sum_i e(Z_i),     F_i = -dE/dr_i,     sigma = +(1/V) dE/d epsilon

Positions and cell are strained by (1 + epsilon), and one backward pass gives both derivatives at epsilon = 0.
The sign of the stress is ASE's (a crystal that is stretched has a positive stress, it pulls); slide 31 prints
a minus, the paper that it follows [chen2022m3gnet] a plus.

Read in order: `Prediction`, `differentiate`, `ElementReferences`, `Potential`, `three_term_loss`. Training is
`train.fit_potential`; relaxation and molecular dynamics are ASE's, through `calculator.PotentialCalculator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS, CrystalError
from mg9.a_graph import crystals_of, edge_vectors, sum_over_crystals

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

GPA = 160.21766208  # GPa in one eV/Å^3


class NoCell(CrystalError):
    """A stress was asked of a molecule: without a cell there is no volume (slide 31)."""


class NoReference(ValueError):
    """An element whose reference energy was not fitted, since training does not show it (slide 31)."""


@dataclass(frozen=True)
class Prediction:
    """energy (B,) in eV, forces (N, 3) in eV/Å, stress (B, 3, 3) in eV/Å^3 or None (slide 31)."""

    energy: Tensor
    forces: Tensor
    stress: Tensor | None = None


def differentiate(
    energy: Callable[[Data], Tensor], graph: Data | Batch, *, stress: bool = True, training: bool = False
) -> Prediction:
    """The energy of a graph or a batch with its forces and stress (slide 31) [chen2022m3gnet].

    energy: any function from a graph to (B,) in eV that reads `pos`, `cell` or `distance`, all of which are
    differentiable here, or `edge_vectors(graph)`. training: the derivatives can be differentiated again, as a
    loss on forces needs. Errors: `NoCell` when a molecule is asked for a stress.
    """
    batch, B = crystals_of(graph)
    volume = torch.linalg.det(graph.cell).abs()  # (B,)
    if stress and not (volume > 0).all():
        where = int(torch.nonzero(volume == 0)[0])
        raise NoCell(f"graph {where} of the batch has no cell, hence no stress; ask with stress=False")
    with torch.enable_grad():
        strain = graph.pos.new_zeros(B, 3, 3).requires_grad_()
        deformation = torch.eye(3).to(strain) + 0.5 * (strain + strain.transpose(1, 2))
        pos = graph.pos.detach().requires_grad_()
        strained = graph.clone()
        strained.pos = torch.einsum("nc,ncd->nd", pos, deformation[batch])
        strained.cell = graph.cell @ deformation
        strained.distance = edge_vectors(strained).norm(dim=1)
        total = energy(strained)
        slopes = torch.autograd.grad(
            total.sum(), [pos, strain] if stress else [pos], create_graph=training, materialize_grads=True
        )
    if not training:
        total = total.detach()
    return Prediction(total, -slopes[0], slopes[1] / volume[:, None, None] if stress else None)


class ElementReferences(nn.Module):
    """e(Z): what a total energy owes to its elements alone, by least squares on training data (slide 31).

    DFT energies of -10 eV per atom hide the 0.01 eV of a bond that a network is to learn. forward: z (N,),
    batch (N,), B to (B,) in eV. Errors: `NoReference` for an element that the fit did not see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("e", torch.zeros(N_ELEMENTS + 1))

    def fit(self, graphs: Sequence[Data], energy: Sequence[float]) -> ElementReferences:
        """Fit to graphs and total energies (len(graphs),) in eV: of the training part only.

        Where compositions do not determine the elements one by one (A and B always together), the smallest
        solution is taken. Errors: ValueError for another number of energies, or none.
        """
        if len(graphs) == 0 or len(graphs) != len(energy):
            raise ValueError(
                f"{len(energy)} energies for {len(graphs)} graphs; give one energy for each graph"
            )
        counts = np.stack([np.bincount(graph.z.numpy(), minlength=N_ELEMENTS + 1) for graph in graphs])
        seen = counts.any(axis=0)
        e = np.full(N_ELEMENTS + 1, np.nan)
        e[seen] = np.linalg.lstsq(counts[:, seen].astype(float), np.asarray(energy, float), rcond=None)[0]
        self.e.copy_(torch.from_numpy(e))
        return self

    def forward(self, z: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        e_i = self.e[z]
        if torch.isnan(e_i).any():
            missing = sorted(set(z[torch.isnan(e_i)].tolist()))
            raise NoReference(
                f"no reference energy for {', '.join(map(symbol, missing))}: the training part has no "
                "crystal with it; add some, or leave these crystals out"
            )
        return sum_over_crystals(e_i, batch, n_crystals)


class Potential(nn.Module):
    """A model of the energy with references per element: E = scale * model(graph) + sum_i e(Z_i) (slide 31).

    model: any module from a graph to an extensive energy (B,), smooth in the positions (an envelope on a
    radius graph); cutoff: that of its graphs, in Å; scale: eV for each unit of the model's output. forward: a
    graph or a batch to a `Prediction`; with stress where every crystal has a cell, unless told otherwise.
    """

    def __init__(self, model: nn.Module, *, cutoff: float, scale: float = 1.0) -> None:
        super().__init__()
        self.model, self.cutoff = model, cutoff
        self.references = ElementReferences()
        self.register_buffer("scale", torch.tensor(float(scale)))

    def fit_references(self, graphs: Sequence[Data]) -> Potential:
        """References and scale from `labelled` graphs, of the training part only: the scale is the root mean
        square of their forces (over an Å), so that the model's own output is of order one."""
        self.references.fit(graphs, [float(graph.energy) for graph in graphs])
        size = float(torch.cat([graph.forces for graph in graphs]).square().mean().sqrt())
        self.scale.fill_(size or 1.0)
        return self

    def energy(self, graph: Data | Batch) -> Tensor:
        """(B,) in eV."""
        batch, B = crystals_of(graph)
        return self.scale * self.model(graph) + self.references(graph.z, batch, B)

    def forward(self, graph: Data | Batch, *, stress: bool | None = None) -> Prediction:
        if stress is None:
            stress = bool(graph.cell.any(dim=(1, 2)).all())
        return differentiate(self.energy, graph, stress=stress, training=self.training)


def labelled(graph: Data, *, energy: float, forces: np.ndarray, stress: np.ndarray | None = None) -> Data:
    """A copy of the graph that carries what a potential is trained on (slide 31).

    energy in eV, of the whole cell; forces (N, 3) in eV/Å; stress (3, 3) in eV/Å^3 with ASE's sign, NaN where
    there is none. Errors: ValueError for another shape.
    """
    forces = np.asarray(forces, dtype=float)
    stress = np.full((3, 3), np.nan) if stress is None else np.asarray(stress, dtype=float)
    if forces.shape != (len(graph.z), 3) or stress.shape != (3, 3):
        raise ValueError(
            f"forces of shape {forces.shape} and stress of shape {stress.shape} for {len(graph.z)} atoms; "
            "give (N, 3) and (3, 3)"
        )
    graph = graph.clone()
    graph.energy = graph.pos.new_tensor([energy])
    graph.forces, graph.stress = graph.pos.new_tensor(forces), graph.pos.new_tensor(stress).unsqueeze(0)
    return graph


def three_term_loss(
    prediction: Prediction,
    batch: Batch,
    *,
    energy: float = 1.0,
    forces: float = 1.0,
    stress: float = 1.0,
) -> Tensor:
    """lambda_E |E/N - E_ref/N|^2 + lambda_F |F - F_ref|^2 + lambda_s |s - s_ref|^2, each a mean (slide 31).

    batch: of `labelled` graphs; energy, forces, stress: the three weights, in 1/eV^2, Å^2/eV^2, Å^6/eV^2. The
    slide takes total energies and sums; per atom and as means, the weights do not depend on the size of the
    cells. Crystals without a stress do not count in the third term.
    """
    atoms = torch.bincount(batch.batch, minlength=batch.num_graphs)
    loss = energy * ((prediction.energy - batch.energy) / atoms).square().mean()
    loss = loss + forces * (prediction.forces - batch.forces).square().mean()
    if prediction.stress is not None:
        known = ~torch.isnan(batch.stress).any(dim=(1, 2))
        if known.any():
            loss = loss + stress * (prediction.stress[known] - batch.stress[known]).square().mean()
    return loss


def symbol(z: int) -> str:
    """The symbol of an atomic number: 54 is "Xe (Z = 54)"."""
    from pymatgen.core import Element

    return f"{Element.from_Z(z).symbol} (Z = {z})"
