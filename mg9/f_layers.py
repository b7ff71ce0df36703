"""What a layer may do with irreps, and still turn with the crystal (slides 36, 37).

    W x                         features of one irrep mixed, each component alike
    W_Z x                       the same, with a matrix for each element
    Gate(x)                     scalars pass a nonlinearity and scale what has a direction
    sum_j R(r_ij) (h_j ⊗ Y)     a message with directions

Paper: Batzner and others, Nat. Commun. 13, 2453 (2022) [batzner2022nequip], for the gate and the convolution.
Read in order: `EquivariantLinear`, `ElementLinear`, `Gate`, `paths`, `Convolution`; then the small parts,
`RadialBasis`, `perceptron` and `ElementRows`.
Differs from the paper: factors such as one over the root of a width are in how weights start, not in the
layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS, UnknownElement
from mg9.a_graph import Neighbours
from mg9.c_radial import BesselBasis, PolynomialEnvelope
from mg9.f_irreps import PSEUDOSCALAR, SCALAR, Features, Irrep, clebsch_gordan, natural


class EquivariantLinear(nn.Module):
    """A matrix over the features of each irrep, the same for each of its components (slide 36).

    before, after: the number of features of each irrep. Different irreps never mix: only zero commutes with
    every rotation between them (Schur). No bias, which would be a fixed direction in space. forward:
    {irrep: (N, F, 2l + 1)} to the irreps that both sides have.
    """

    def __init__(self, before: Mapping[Irrep, int], after: Mapping[Irrep, int]) -> None:
        super().__init__()
        self.irreps = [irrep for irrep in after if irrep in before]
        self.weight = nn.ParameterDict(
            {str(ir): torch.randn(after[ir], before[ir]) / before[ir] ** 0.5 for ir in self.irreps}
        )

    def forward(self, x: Features) -> dict[Irrep, Tensor]:
        return {ir: torch.einsum("nfm,gf->ngm", x[ir], self.weight[str(ir)]) for ir in self.irreps}


class ElementLinear(EquivariantLinear):
    """An `EquivariantLinear` with matrices of their own for each element (slides 37, 38).

    forward: features as above and the row of each atom's matrices, (N,).
    """

    def __init__(self, before: Mapping[Irrep, int], after: Mapping[Irrep, int], *, elements: int) -> None:
        super().__init__(before, after)
        for name, weight in self.weight.items():
            self.weight[name] = torch.randn(elements, *weight.shape) / weight.size(1) ** 0.5

    def forward(self, x: Features, element: Tensor) -> dict[Irrep, Tensor]:
        return {
            ir: torch.einsum("nfm,ngf->ngm", x[ir], self.weight[str(ir)].index_select(0, element))
            for ir in self.irreps
        }


class Gate(nn.Module):
    """A nonlinearity that keeps directions: scalars pass a swish, a vector or tensor is only made longer or
    shorter, by a scalar (slide 36) [batzner2022nequip].

    widths: features of each irrep that come out. `before`: those to put in, with one more true scalar for
    each feature with l > 0, at the end. Pseudoscalars pass tanh, which is odd as they are. forward:
    {irrep: (N, F, 2l + 1)} to the same without the gates.
    """

    def __init__(self, widths: Mapping[Irrep, int]) -> None:
        super().__init__()
        self.gated = [(ir, F) for ir, F in widths.items() if ir.l > 0]
        self.scalars = widths.get(SCALAR, 0)
        self.before = {**widths, SCALAR: self.scalars + sum(F for _, F in self.gated)}

    def forward(self, x: Features) -> dict[Irrep, Tensor]:
        sizes = [self.scalars, *(F for _, F in self.gated)]
        scalars, *gates = x[SCALAR].split(sizes, dim=1)
        found = {SCALAR: torch.nn.functional.silu(scalars)} if self.scalars else {}
        if PSEUDOSCALAR in x:
            found[PSEUDOSCALAR] = torch.tanh(x[PSEUDOSCALAR])
        return found | {
            ir: torch.sigmoid(gate) * x[ir]
            for (ir, _), gate in zip(self.gated, gates, strict=True)
            if ir in x
        }


def paths(before: Iterable[Irrep], wanted: Iterable[Irrep], l_max: int) -> list[tuple[Irrep, Irrep, Irrep]]:
    """(x, y, to): every way to make a wanted irrep of a feature x and a harmonic y up to l_max (slide 37)."""
    harmonics = [natural(degree) for degree in range(l_max + 1)]
    return [(x, y, to) for to in wanted for x in before for y in harmonics if to in x * y]


class Convolution(nn.Module):
    """sum_j R(r_ij) (h_j ⊗ Y(r_ij)) over the neighbours j of i (slide 37) [batzner2022nequip].

    before: features of each irrep of h; wanted: the irreps to make; l_max: of Y; sizes: of the layers that
    make R from the K radial functions. forward: h {irrep: (N, F, 2l + 1)}, Y a list over l of (E, 2l + 1),
    basis (E, K), around the edges of each atom; to {irrep: (N, F * paths, 2l + 1)}, whose widths are `after`.

    The coefficients C do not depend on the neighbour, so products are summed over j first and coupled once
    for each atom, not for each edge.
    """

    def __init__(
        self, before: Mapping[Irrep, int], wanted: Sequence[Irrep], *, l_max: int, sizes: Sequence[int]
    ) -> None:
        super().__init__()
        self.paths = paths(before, wanted, l_max)
        self.widths = [before[x] for x, _, _ in self.paths]
        self.after: dict[Irrep, int] = {}
        for (_, _, to), width in zip(self.paths, self.widths, strict=True):
            self.after[to] = self.after.get(to, 0) + width
        self.filter = perceptron(*sizes, sum(self.widths))

    def forward(
        self, h: Features, Y: Sequence[Tensor], basis: Tensor, around: Neighbours
    ) -> dict[Irrep, Tensor]:
        h_j = {irrep: x.index_select(0, around.j) for irrep, x in h.items()}  # (E, F, 2l + 1)
        R = self.filter(basis).unsqueeze(2).split(self.widths, dim=1)  # (E, F, 1) for each path
        sums: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.after}
        for (x, y, to), R_path in zip(self.paths, R, strict=True):
            pairs = around.sum_of_products((R_path * h_j[x]).flatten(1), Y[y.l])  # (N, F (2l1 + 1), 2l2 + 1)
            C = clebsch_gordan(x.l, y.l, to.l).to(pairs)
            sums[to].append(torch.einsum("nfab,abc->nfc", pairs.unflatten(1, (-1, x.dim)), C))
        return {irrep: torch.cat(parts, dim=1) for irrep, parts in sums.items()}


class RadialBasis(nn.Module):
    """Bessel functions of the distance that fade out at the cutoff, of mean square one within it (slide
    37) [gasteiger2020dimenet].

    cutoff in Å; functions: K; p: of the polynomial envelope. forward: distance (E,) in Å to (E, K).
    """

    def __init__(self, *, cutoff: float, functions: int = 8, p: int = 6) -> None:
        super().__init__()
        self.waves = BesselBasis(cutoff=cutoff, functions=functions)
        self.envelope = PolynomialEnvelope(cutoff=cutoff, p=p)
        self.scale = (cutoff**3 / 3) ** 0.5  # the waves are orthonormal over a sphere of that volume / 4 pi

    def forward(self, distance: Tensor) -> Tensor:
        return self.scale * self.waves(distance) * self.envelope(distance).unsqueeze(1)


SWISH = 1.68  # brings the mean square of swish(x), for x of mean square one, back to one


def perceptron(*sizes: int) -> nn.Sequential:
    """Dense layers without bias with a swish between them; they start so that sizes are kept (slide 37).

    Without a bias the result fades out where the radial basis does.
    """
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers += [nn.Linear(before, after, bias=False), nn.SiLU()]
        nn.init.normal_(layers[-2].weight, std=(SWISH if place else 1.0) * before**-0.5)
    return nn.Sequential(*layers[:-1])


class ElementRows(nn.Module):
    """Atomic numbers (N,) to the rows of weights that a network has for its elements (slide 37).

    Errors: `UnknownElement` for an element without weights.
    """

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        place = torch.full((N_ELEMENTS + 1,), -1)
        place[list(elements)] = torch.arange(len(elements))
        self.register_buffer("place", place, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        rows = self.place[z]
        if (rows < 0).any():
            raise UnknownElement(
                f"atomic number {int(z[rows < 0][0])}: this network has no weights for it; use another one"
            )
        return rows
