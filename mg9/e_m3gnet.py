"""M3GNet: three-body terms and smooth cutoffs make a potential (slides 29, 30).

    e_ij~ = sum_k j_l(z_ln r_ik / r_cut) Y_l0(theta_jik) * sigmoid(W v_k + b) f_c(r_ij) f_c(r_ik)
    e_ij' = e_ij + g(W_1 e_ij~) * sigmoid(W_2 e_ij~)                  angles -> bonds,  g(x) = x sigmoid(x)
    e_ij'' = e_ij' + phi_e([v_i, v_j, e_ij']) * W_e h(r_ij)           atoms -> bonds
    v_i'  = v_i + sum_j phi_v([v_i, v_j, e_ij'']) * W_v h(r_ij)       bonds -> atoms
    E = sum_i E_i

h(r_ij), the radial basis, is zero at 5 Å, f_c at 4 Å: no neighbour, and no pair of neighbours, appears with a
jump. Forces and stress come by differentiating E (slide 31).

Paper: Chen and Ong, Nat. Comput. Sci. 2, 718 (2022) [chen2022m3gnet], Eqs. 2 and 3 for
the three-body terms.
Read in order: `GatedMLP`, `ThreeBody`, `Convolution`, `M3GNet` (its five slots), `ReleasedM3GNet`.
A blind spot: sums over neighbours of P_l(cos) with l < 3 know the second moments of an atom's bonds, no more.
fcc and hcp copper, with first neighbours only, have the same ones and the same energy.
Differs from the paper: no global state, which the published potential does not use either.
`ReleasedM3GNet` is the potential as it was released: its radial basis ends at the cutoff with a slope, so its
forces jump there, and the angles of a bond are those at the atom that sends, not at the one that receives.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS, UnknownElement
from mg9.a_graph import crystals_of, edge_vectors, sum_over_crystals
from mg9.c_radial import PolynomialEnvelope
from mg9.e_angles import SmoothBesselBasis, SphericalBesselBasis, harmonics

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

DEGREES, COUNT = 3, 3  # l < 3, n = 1 to 3


class GatedMLP(nn.Module):
    """phi(x) = layers(x) * gate(x): dense layers times dense layers that end in a sigmoid (slide 30)
    [chen2022m3gnet].

    sizes: of the input and of each layer; activate_last: whether the last layer's value passes the swish.
    """

    def __init__(self, *sizes: int, bias: bool = True, activate_last: bool = True) -> None:
        super().__init__()
        self.value, self.gate = self._dense(sizes, bias), self._dense(sizes, bias)
        self.value = self.value if activate_last else self.value[:-1]
        self.gate[-1] = nn.Sigmoid()

    @staticmethod
    def _dense(sizes: tuple[int, ...], bias: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(before, after, bias=bias), nn.SiLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * self.gate(x)

    def on_edges(self, v: Tensor, e: Tensor, edge_index: Tensor) -> Tensor:
        """phi([v_i, v_j, e_ij]) for each edge: W_i v_i and W_j v_j are taken per atom."""
        F = v.size(1)
        j, i = edge_index
        weight = torch.cat([self.value[0].weight, self.gate[0].weight])  # (2H, 3F)
        bias = torch.cat([self.value[0].bias, self.gate[0].bias])
        W_i, W_j, W_e = weight.split([F, F, e.size(1)], dim=1)
        z_ij = torch.addmm(bias, v, W_i.T).index_select(0, i)  # (E, 2H); sums in place: it is large
        z_ij += (v @ W_j.T).index_select(0, j)
        value, gate = z_ij.addmm_(e, W_e.T).chunk(2, dim=1)
        return self.value[1:](value) * self.gate[1:](gate)


class Near(NamedTuple):
    """The P edges that take part in angles: numbers, atoms at the angle and at the far end, (P,) each; f_c
    (P, 1); j_l Y_l0(0) f_c (P, L n); C_lm of their directions (P, 9) (slide 30)."""

    edges: Tensor
    centre: Tensor
    far: Tensor
    weight: Tensor
    radial: Tensor
    directions: Tensor


class ThreeBody(nn.Module):
    """Angles -> bonds (slide 30) [chen2022m3gnet, Eqs. 2, 3].

    w_k = j_l Y_l0(0) f_c(r_ik) sigmoid(W v_k + b),     M_lm = sum_k w_k C_lm(r_ik)
    e_ij~ = (sum_m C_lm(r_ij) M_lm - w_j) f_c(r_ij),    w_j takes out k = j

    By the addition theorem the sum over k is taken once for an atom: the cost is linear in edges, no triplet
    is ever made. forward: v (N, F), e (E, F), near to (E, F); without two near edges, nothing changes.
    """

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.far_atom = nn.Sequential(nn.Linear(features, DEGREES * COUNT), nn.Sigmoid())
        self.update = GatedMLP(DEGREES * COUNT, features, bias=False)
        of_degree = torch.eye(DEGREES).repeat_interleave(torch.tensor([1, 3, 5]), dim=1)  # (L, 9), 1 for lm
        spread = torch.kron(of_degree, torch.eye(COUNT))  # (L n, 9 n): a copy for each m
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, v: Tensor, e: Tensor, near: Near) -> Tensor:
        w = near.radial * self.far_atom(v).index_select(0, near.far)  # (P, L n)
        C = near.directions.repeat_interleave(COUNT, dim=1)  # (P, 9 n)
        moments = v.new_zeros(len(v), C.size(1)).index_add(0, near.centre, C * (w @ self.spread))
        summed = (C * moments.index_select(0, near.centre)) @ self.spread.T - w
        return e.index_add(0, near.edges, self.update(summed * near.weight))


class Convolution(nn.Module):
    """Atoms -> bonds, then bonds -> atoms (slide 30) [chen2022m3gnet].

    forward: v (N, F), e (E, F), h (E, K), edge_index (2, E) = [j, i] to v' and e'.
    """

    def __init__(self, *, features: int, radial: int) -> None:
        super().__init__()
        sizes = 3 * features, features, features, features
        self.bond, self.message = GatedMLP(*sizes), GatedMLP(*sizes)
        self.bond_weight = nn.Linear(radial, features, bias=False)
        self.message_weight = nn.Linear(radial, features, bias=False)

    def forward(self, v: Tensor, e: Tensor, h: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        e = e + self.bond.on_edges(v, e, edge_index) * self.bond_weight(h)
        message = self.message.on_edges(v, e, edge_index) * self.message_weight(h)  # (E, F)
        return v + torch.zeros_like(v).index_add(0, edge_index[1], message), e


class M3GNet(nn.Module):
    """The network of slides 29 and 30; forward: a radius graph or a batch of them to (B,), extensive.

    Reads z, edge_index, distance, and the edge vectors from pos, cell and shift. cutoff: of bonds; angles:
    of both bonds of a triplet; in Å, the graph's cutoff must not be smaller. [chen2022m3gnet]
    """

    elements = N_ELEMENTS

    def __init__(
        self, *, features: int = 64, blocks: int = 3, cutoff: float = 5.0, angles: float = 4.0
    ) -> None:
        super().__init__()
        self.basis = self._radial_basis(cutoff)
        radial = self.basis(torch.ones(1)).size(1)
        self.three_body_radial = SphericalBesselBasis(cutoff=cutoff, degrees=DEGREES, count=COUNT)
        norm = torch.tensor([sqrt((2 * l + 1) / (4 * pi)) for l in range(DEGREES)])  # Y_l0(0)
        self.register_buffer("norm", norm.repeat_interleave(COUNT), persistent=False)
        self.envelope = PolynomialEnvelope(cutoff=angles, p=3)
        self.atoms = nn.Embedding(self.elements, features)
        self.bonds = nn.Sequential(nn.Linear(radial, features), nn.SiLU())
        self.three_body = nn.ModuleList(ThreeBody(features=features) for _ in range(blocks))
        self.convolutions = nn.ModuleList(
            Convolution(features=features, radial=radial) for _ in range(blocks)
        )
        self.atomwise = GatedMLP(*[features] * 4, 1, activate_last=False)

    def _radial_basis(self, cutoff: float) -> nn.Module:
        return SmoothBesselBasis(cutoff=cutoff, count=COUNT)

    def angle_ends(self, edge_index: Tensor) -> Tensor:
        """[far end, centre] of the angles of each edge, (2, E): they are at the atom that receives."""
        return edge_index

    def element_rows(self, z: Tensor) -> Tensor:
        """Rows of the embedding (N,) for atomic numbers z (N,)."""
        return z - 1

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)  # slot 1, the graph: built by a_crystal.py
        v = self.atoms(self.element_rows(graph.z))  # slot 2, node features (N, F)
        h = self.basis(graph.distance)  # (E, K)
        e = self.bonds(h)  # slot 3, edge features (E, F)
        near = self.near_edges(graph)
        for three_body, convolution in zip(self.three_body, self.convolutions, strict=True):
            e = three_body(v, e, near)  # slot 4, message and update
            v, e = convolution(v, e, h, graph.edge_index)
        return sum_over_crystals(self.atomwise(v).squeeze(-1), batch, n_crystals)  # slot 5, readout (B,)

    def near_edges(self, graph: Data | Batch) -> Near:
        weight = self.envelope(graph.distance)  # (E,)
        edges = torch.nonzero(weight).squeeze(1)
        weight = weight.index_select(0, edges).unsqueeze(1)
        far, centre = self.angle_ends(graph.edge_index).index_select(1, edges)
        radial = self.three_body_radial(graph.distance.index_select(0, edges)) * self.norm * weight
        directions = harmonics(edge_vectors(graph).index_select(0, edges))
        return Near(edges, centre, far, weight, radial, directions)


class ReleasedM3GNet(M3GNet):
    """The network as released with weights: 89 elements, a radial basis whose slope jumps at the cutoff,
    angles at the sending end (slide 30) [chen2022m3gnet].

    Errors: `UnknownElement` for Po, At, Rn, Fr, Ra and beyond Pu, which it never saw.
    """

    elements = 89

    def __init__(self, *, features: int = 64) -> None:
        super().__init__(features=features)
        known = [z for z in range(1, 95) if not 84 <= z <= 88]
        place = torch.full((N_ELEMENTS + 1,), -1)
        place[known] = torch.arange(len(known))
        self.register_buffer("place", place, persistent=False)

    def _radial_basis(self, cutoff: float) -> nn.Module:
        return SphericalBesselBasis(cutoff=cutoff, degrees=DEGREES, count=COUNT)

    def angle_ends(self, edge_index: Tensor) -> Tensor:
        return edge_index.flip(0)

    def element_rows(self, z: Tensor) -> Tensor:
        rows = self.place[z]
        if (rows < 0).any():
            bad = int(z[rows < 0][0])
            raise UnknownElement(
                f"atomic number {bad}: this potential was not trained on it; use another one"
            )
        return rows
