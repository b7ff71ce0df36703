"""Every model of the package with what it promises (slides 08 to 11, 16, 17, 22).

The contract suite (tests/test_contract.py) holds each row to its promises. A new model is a new row here:

    "MyModel": Promises(MyModel, cutoff=5.0, smooth=True)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from mg9.a_crystal import cell_graph, crystal_graph, radius_graph
from mg9.c_radial import PolynomialEnvelope
from mg9.c_schnet import MeanSchNet, SchNet, SlideSchNet
from mg9.d_atoms import LearnedAtoms, OneHotAtoms, PriorAtoms
from mg9.d_cgcnn import CGCNN, ReleasedCGCNN
from mg9.d_readout import AttentionReadout, Set2SetReadout, SumReadout
from mg9.e_alignn import ALIGNN
from mg9.e_m3gnet import M3GNet, ReleasedM3GNet
from mg9.e_megnet import MEGNet
from mg9.e_megnet_paper import ReleasedMEGNet
from mg9.f_allegro import Allegro
from mg9.f_mace import MACE
from mg9.f_nequip import NequIP
from mg9.g_graphormer import Graphormer
from mg9.g_matformer import CellTransformer, Matformer, NeighbourMatformer

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data


@dataclass(frozen=True)
class Promises:
    """What a model promises beyond the invariances, of which `breaks` are those that it does not keep
    (slides 08, 16, 17, 22, 41).

    make: the model, untrained; it maps a graph or a batch to (B,). cutoff: of its graphs, in Å. extensive: a
    supercell of n cells has n times the value, else the same. smooth: the energy and its slope are continuous
    where an atom enters the cutoff, so that it can be a potential; then its graph is the radius graph, else
    whole shells. sees_size: a stretch changes the value of every crystal; False where gates that sum to one
    make a crystal of equal atoms look alike at every lattice constant. builder: another way to build the
    graph, from a structure. breaks: names of `b_symmetry.ACTIONS` that change its value, by its design.
    """

    make: Callable[[], nn.Module]
    cutoff: float = 8.0
    extensive: bool = False
    smooth: bool = False
    sees_size: bool = True
    builder: Callable[[Structure], Data] | None = None
    breaks: tuple[str, ...] = ()

    def graph(self, structure: Structure) -> Data:
        """The graph that the model is meant for, in float64."""
        if self.builder is not None:
            return self.builder(structure)
        build = radius_graph if self.smooth else crystal_graph
        return build(structure, cutoff=self.cutoff, dtype=torch.float64)

    def model(self, seed: int = 0) -> nn.Module:
        """The model in float64, ready to predict, with normalisations as after some training."""
        torch.manual_seed(seed)
        model = self.make()
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
        return model.double().eval().requires_grad_(False)


SMALL = {"features": 16, "layers": 2}
CLOSE = {"features": 16, "layers": 2, "cutoff": 5.0}

MODELS: dict[str, Promises] = {
    "CGCNN": Promises(CGCNN),
    "CGCNN, sum": Promises(lambda: CGCNN(readout=SumReadout(features=64)), extensive=True),
    "CGCNN, attention": Promises(lambda: CGCNN(readout=AttentionReadout(features=64))),
    "CGCNN, Set2Set": Promises(lambda: CGCNN(readout=Set2SetReadout(features=64))),
    "CGCNN, one-hot atoms": Promises(lambda: CGCNN(atoms=OneHotAtoms(), **SMALL)),
    "CGCNN, learned atoms": Promises(lambda: CGCNN(atoms=LearnedAtoms(), **SMALL)),
    "CGCNN, prior atoms": Promises(lambda: CGCNN(atoms=PriorAtoms(), **SMALL)),
    "ReleasedCGCNN": Promises(ReleasedCGCNN),
    "SchNet": Promises(partial(SchNet, **CLOSE), cutoff=5.0, extensive=True, smooth=True),
    "SchNet, polynomial envelope": Promises(
        lambda: SchNet(envelope=PolynomialEnvelope(cutoff=5.0), **CLOSE),
        cutoff=5.0,
        extensive=True,
        smooth=True,
    ),
    "SlideSchNet": Promises(partial(SlideSchNet, **CLOSE), cutoff=5.0, extensive=True, smooth=True),
    "MeanSchNet": Promises(partial(MeanSchNet, **CLOSE), cutoff=5.0, smooth=True),
    "MeanSchNet, whole shells": Promises(partial(MeanSchNet, features=16, layers=2, cutoff=8.0)),
    "ALIGNN": Promises(partial(ALIGNN, features=16), sees_size=False),
    "MEGNet": Promises(partial(MEGNet, features=16, rounds=2, hidden=32)),
    "ReleasedMEGNet": Promises(ReleasedMEGNet, cutoff=5.0),
    "M3GNet": Promises(partial(M3GNet, features=16, blocks=2), cutoff=5.0, extensive=True, smooth=True),
    "ReleasedM3GNet": Promises(
        ReleasedM3GNet,
        cutoff=5.0,
        extensive=True,
        builder=partial(radius_graph, cutoff=5.0, dtype=torch.float64),
    ),
    "NequIP": Promises(partial(NequIP, features=8), cutoff=5.0, extensive=True, smooth=True),
    "NequIP, l up to 2, harmonics' parity": Promises(
        partial(NequIP, features=8, l_max=2, layers=2, parity=False), cutoff=5.0, extensive=True, smooth=True
    ),
    "Allegro": Promises(partial(Allegro, features=8), cutoff=5.0, extensive=True, smooth=True),
    "MACE": Promises(partial(MACE, features=8), cutoff=5.0, extensive=True, smooth=True),
    "CellTransformer": Promises(
        partial(CellTransformer, **SMALL),
        sees_size=False,
        builder=partial(cell_graph, dtype=torch.float64),
        breaks=("supercell",),
    ),
    "Matformer": Promises(partial(Matformer, **SMALL), breaks=("another cell", "supercell")),
    "NeighbourMatformer": Promises(partial(NeighbourMatformer, **SMALL)),
    "Graphormer": Promises(partial(Graphormer, **SMALL), breaks=("supercell",)),
}
