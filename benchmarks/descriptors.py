"""A potential without a network (slides 06, 39, 46): the energy is linear in a power spectrum.

    c_i,kl = sum_j R_k(r_ij) Y_l(r_ij)          what the atom sees, in directions
    p_i,kql = c_i,kl . c_i,ql                   a scalar for each pair of radial functions: three bodies
    E = sum_i w . [c_i,k0, p_i]                 ridge regression on energies and forces

Descriptors of the kind of SOAP and SNAP, with the course's own radial functions and harmonics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mg9.a_graph import Neighbours, edge_vectors
from mg9.f_irreps import spherical_harmonics
from mg9.f_layers import RadialBasis

if TYPE_CHECKING:
    from torch_geometric.data import Data

K, L_MAX, CUTOFF = 6, 4, 5.0
RIDGES = 10.0 ** np.arange(-8, 3)
WEIGHT = 10.0  # of the mean square of energies per atom beside that of forces, as in the networks' loss


def spectrum(graph: Data) -> Tensor:
    """Sums over the atoms, (D,)."""
    vectors = edge_vectors(graph)
    around = Neighbours(graph.edge_index, len(graph.z))
    basis = RadialBasis(cutoff=CUTOFF, functions=K).to(vectors)(vectors.norm(dim=1))
    c = [around.sum_of_products(basis, Y) for Y in spherical_harmonics(vectors, L_MAX)]  # (N, K, 2l + 1) each
    k, q = torch.triu_indices(K, K)
    parts = [c[0].squeeze(2), *((c_l[:, k] * c_l[:, q]).sum(dim=2) for c_l in c)]
    return torch.cat(parts, dim=1).sum(dim=0)


def rows(graph: Data) -> tuple[np.ndarray, np.ndarray]:
    """Equations (1 + 3N, 1 + D) of the weights and what they are to give: the energy per atom, the forces."""
    graph = graph.clone()
    for key in ("pos", "cell", "shift"):
        graph[key] = graph[key].double()
    graph.pos.requires_grad_()
    found, N = spectrum(graph), len(graph.z)
    slopes = [torch.autograd.grad(one, graph.pos, retain_graph=True)[0].flatten() for one in found]
    energy = torch.cat([torch.ones(1).to(found), found / N])
    forces = torch.cat([torch.zeros(1, 3 * N).to(found), -torch.stack(slopes)])
    equations = torch.cat([energy.unsqueeze(0), forces.T])
    wanted = torch.cat([graph.energy.double() / N, graph.forces.double().flatten()])
    return equations.detach().numpy(), wanted.numpy()


def ridge(
    train: list[tuple[np.ndarray, np.ndarray]],
    held: list[tuple[np.ndarray, np.ndarray]],
    test: list[tuple[np.ndarray, np.ndarray]],
) -> dict[str, float]:
    """Test errors as `benchmarks.silicon.errors`, from the `rows` of the frames of each part; the ridge that
    is best on the held-out frames' forces is taken."""
    A, b = (np.concatenate(parts) for parts in zip(*train, strict=True))
    weight = np.concatenate([[(WEIGHT * (len(one) - 1)) ** 0.5, *np.ones(len(one) - 1)] for _, one in train])
    A, b = A * weight[:, None], b * weight
    size = np.sqrt((A**2).mean(axis=0))
    left, s, right = np.linalg.svd(A / size, full_matrices=False)
    fits = [right.T @ (s / (s**2 + len(A) * a**2) * (left.T @ b)) / size for a in RIDGES]
    best = min(fits, key=lambda w: errors(w, held)["forces"])
    return errors(best, test)


def errors(w: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    off = [np.abs(A @ w - b) for A, b in parts]
    return {
        "forces": round(float(np.concatenate([one[1:] for one in off]).mean()), 5),
        "energy": round(float(np.mean([one[0] for one in off])), 5),
    }
