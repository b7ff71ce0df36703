"""Who takes part in the course's leaderboard, and what each reads of a crystal (slides 07 to 43).

Networks have a size at which the budget of `benchmarks.leaderboard` pays for four epochs or more; sizes
were set by the cost of a step alone, before any error was known. Within 5 Å some crystals of caesium have no
neighbour, so radius graphs end at 5.5 Å.

Read in order: `Contender`, `PerAtom`, `frozen_vectors`, `CONTENDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mg9 import b_ladder
from mg9.a_crystal import cell_graph, crystal_graph, radius_graph
from mg9.a_graph import crystals_of
from mg9.c_schnet import SchNet
from mg9.d_cgcnn import CGCNN
from mg9.e_alignn import ALIGNN
from mg9.e_m3gnet import M3GNet
from mg9.e_megnet import MEGNet
from mg9.f_allegro import Allegro
from mg9.f_mace import MACE
from mg9.f_nequip import NequIP
from mg9.g_graphormer import Graphormer
from mg9.g_matformer import CellTransformer, Matformer
from mg9.report.models import magpie_features

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Batch, Data

CUTOFF = 5.5  # Å, of radius graphs
MEAN, FROZEN = "training mean", "MACE-MP-0, frozen, and ridge"


@dataclass(frozen=True)
class Contender:
    """A model of the course (slide 45).

    make: from the seed, something with fit and predict, or the untrained network where `reads` gives graphs;
    reads: from structures to what it is given, each crystal for itself; slides: that teach it; leaks: what a
    test part is to it, where it has seen those crystals.
    """

    make: Callable[..., Any]
    reads: Callable[[Sequence[Structure]], Sequence]
    slides: str
    network: bool = True
    leaks: str = ""


class PerAtom(nn.Module):
    """An extensive network, its value divided by the number of atoms; forward: a graph or a batch to (B,)
    (slide 22)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, B = crystals_of(graph)
        return self.model(graph) / torch.bincount(batch, minlength=B)


def graphs(structures: Sequence[Structure], build: Callable[[Structure], Data]) -> list[Data]:
    return [build(structure) for structure in structures]


def frozen_vectors(structures: Sequence[Structure]) -> np.ndarray:
    """The vectors (n, F) of MACE-MP-0, as `mg9 embed` writes them (slides 43, 48)."""
    from mg9.g_foundation import load

    return load("mace-mp-0-small", dtype=torch.float32).embed(structures).double().numpy()


def ridge_on_vectors(seed: int) -> Any:
    """Its penalty is chosen by leave-one-out inside the training part, as `b_ladder.ridge` does."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-3, 3, 13)))


def on_magpie(rung: Callable[..., Any], *, drawn: bool = True) -> Contender:
    make = (lambda seed: rung(seed=seed)) if drawn else (lambda seed: rung())
    return Contender(make, magpie_features, "07", network=False)


SHELLS = partial(graphs, build=crystal_graph)
CELL = partial(graphs, build=cell_graph)
RADIUS = partial(graphs, build=partial(radius_graph, cutoff=CUTOFF))


def potential(model: Callable[..., nn.Module], slides: str, **size: Any) -> Contender:
    """A network whose value grows with the cell, on radius graphs."""
    return Contender(lambda: PerAtom(model(cutoff=CUTOFF, **size)), RADIUS, slides)


CONTENDERS: dict[str, Contender] = {
    MEAN: on_magpie(b_ladder.constant, drawn=False),
    "ridge": on_magpie(b_ladder.ridge, drawn=False),
    "boosted trees": on_magpie(b_ladder.boosted_trees),
    "random forest": on_magpie(b_ladder.random_forest),
    "MLP": on_magpie(b_ladder.mlp),
    "SchNet": potential(SchNet, "12 to 18"),
    "CGCNN": Contender(CGCNN, SHELLS, "21"),
    "MEGNet": Contender(partial(MEGNet, rounds=2), SHELLS, "27"),
    "ALIGNN": Contender(partial(ALIGNN, features=16, line_layers=1), SHELLS, "29"),
    "M3GNet": potential(M3GNet, "30", features=16, blocks=2),
    "NequIP": potential(NequIP, "37", features=16, layers=2),
    "Allegro": potential(Allegro, "38", features=8, scalars=32),
    "MACE": potential(MACE, "38", features=8, l_hidden=0, l_max=2),
    "CellTransformer": Contender(CellTransformer, CELL, "41"),
    "Matformer": Contender(partial(Matformer, features=24, layers=2), SHELLS, "41"),
    "Graphormer": Contender(Graphormer, SHELLS, "41"),
    FROZEN: Contender(
        ridge_on_vectors,
        frozen_vectors,
        "43",
        network=False,
        leaks="MPtrj, on which the potential was trained, holds most of these crystals: a fit, not a test",
    ),
}
COMPARED = ("CGCNN", "Matformer", "Graphormer")  # three seeds; the other networks have one
