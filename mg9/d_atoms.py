"""Atom features: where chemistry enters the graph (slide 20).

Each class turns atomic numbers z (N,) into v (N, F0). Geometry enters elsewhere, through the edges.

Paper: Xie and Grossman (2018) [xie2018cgcnn], supplement, table of atom features.
Read in order: `OneHotAtoms`, `LearnedAtoms`, `TableAtoms`, `PriorAtoms`.
Differs from the paper: only `TableAtoms` is the published choice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS


class OneHotAtoms(nn.Module):
    """A one in column z - 1: elements are all equally different (slide 20)."""

    width = N_ELEMENTS

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.eye(N_ELEMENTS), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.table.index_select(0, z - 1)


class LearnedAtoms(nn.Module):
    """A trained row for each element: similar elements end up with similar rows, if the data show them
    (slide 20)."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.table = nn.Embedding(N_ELEMENTS, width)

    def forward(self, z: Tensor) -> Tensor:
        return self.table(z - 1)


class TableAtoms(nn.Module):
    """The published 92-dim table: group, period, electronegativity, radius, ..., each cut into bins
    (slides 20, 23)."""

    width = 92

    def __init__(self) -> None:
        super().__init__()
        from mg9.data import atom_table

        self.register_buffer(
            "table", torch.tensor(atom_table(), dtype=torch.get_default_dtype()), persistent=False
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.table.index_select(0, z - 1)


class PriorAtoms(nn.Module):
    """One-hot enriched with group, period, Pauling electronegativity and atomic radius (slide 20).

    Each prior is scaled to mean 0 and variance 1 over the elements; where it is not known (the
    electronegativity of a noble gas) it is 0.
    """

    width = N_ELEMENTS + 4

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.cat([torch.eye(N_ELEMENTS), _priors()], dim=1), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.table.index_select(0, z - 1)


def _priors() -> Tensor:
    """Group, period, electronegativity, radius (100, 4), scaled."""
    import warnings

    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns once for every element without an electronegativity
        elements = [Element.from_Z(z) for z in range(1, N_ELEMENTS + 1)]
        rows = [(e.group, e.row, e.X, float(e.atomic_radius or "nan")) for e in elements]
    values = torch.tensor(rows, dtype=torch.get_default_dtype())
    mean = values.nanmean(0)
    deviation = (values - mean).square().nanmean(0).sqrt()
    return torch.nan_to_num((values - mean) / deviation)
