"""Two MEGNet states released with matgl, in our own `RetrainedMEGNet` (slides 26, 27).

    load("MP-2018.6.1-Eform").predict([structure])                              # eV/atom
    load("MP-2019.4.1-BandGap-mfi", functional="HSE").predict([structure])      # eV

Paper: Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564 (2019) [chen2019megnet]. The BSD-licensed states are
in no package: they have to be put into the cache folder. matgl is neither installed nor run.
Read in order: `RELEASED`, `load`, then how it is done: `renamed`.
Differs from the release: nothing, but from what matgl 4.1.2 computes with it.

These are not the weights of `pretrained/megnet.py`: matgl trained a network of another form anew. matgl 4.1.2
averages bonds at the other end than in training: elements do not notice, the formation energies of compounds
are off by 0.29 eV/atom on average (234 crystals of the default set), and by 0.012 at the right end.
PBE gaps are then off by 0.79 eV in place of 1.17 (95 crystals); why they are no better is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mg9.a_crystal import radius_graph
from mg9.data.cache import folder
from mg9.e_megnet_paper import RetrainedMEGNet
from mg9.pretrained import states
from mg9.pretrained.states import Property, ReleasedModel

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data

FORMAT = 1  # part of a converted file's name: a change of the names below never meets an old file
FUNCTIONALS = ("PBE", "GLLB-SC", "HSE", "SCAN")  # of the band gaps, in the order of their states


class Released(NamedTuple):
    """A state's file and what its own description says: mean and std of the labels, the graph's cutoff in Å,
    steps of Set2Set, kinds of labels."""

    sha256: str
    says: Property
    mean: float
    std: float
    cutoff: float
    set2set_steps: int
    kinds: int

    @property
    def form(self) -> dict[str, float]:
        """The arguments of `RetrainedMEGNet`."""
        return {"cutoff": self.cutoff, "set2set_steps": self.set2set_steps, "kinds": self.kinds}


RELEASED = {
    "MP-2018.6.1-Eform": Released(
        sha256="35381368b17a2783f9ee09af5556cf1d84b74bf786b82d3fadd4acb38c51d040",
        says=Property("formation energy per atom", "eV/atom"),
        mean=-1.65459073,
        std=1.07266128,
        cutoff=4.0,
        set2set_steps=2,
        kinds=0,
    ),
    "MP-2019.4.1-BandGap-mfi": Released(
        sha256="2927ab9646ec3e099a3e42b1358a3c477db7356e2413bfa540fe0106cde628f9",
        says=Property("band gap", "eV"),
        mean=1.57419002,
        std=1.85749567,
        cutoff=5.0,
        set2set_steps=3,
        kinds=len(FUNCTIONALS),
    ),
}


def released() -> list[str]:
    """The names that `load` knows (slide 27)."""
    return sorted(RELEASED)


def load(name: str, *, functional: str = "PBE", dtype: torch.dtype | None = None) -> ReleasedModel:
    """A released model, ready to predict (slides 26, 27).

    functional: whose band gaps to predict, one of `FUNCTIONALS`; without a meaning for the formation energy.
    dtype: of its parameters, by default torch's.
    Errors: KeyError for an unknown name or functional; `mg9.data.cache.FetchError` and `ChecksumError`;
    ValueError for a damaged file in the cache.
    """
    if name not in RELEASED:
        raise KeyError(f"no released model {name!r}; there are: {', '.join(released())}")
    if functional not in FUNCTIONALS:
        raise KeyError(f"no functional {functional!r}; there are: {', '.join(FUNCTIONALS)}")
    of, path = RELEASED[name], folder() / f"megnet-{name}-format{FORMAT}.safetensors"
    if not path.exists():
        states.keep(path, renamed(read_state(name)), {})
    model = RetrainedMEGNet(**of.form)
    model.load_state_dict(states.read(path)[0])
    kind = FUNCTIONALS.index(functional) if of.kinds else None
    return ReleasedModel(
        name=name,
        model=states.ready(model, dtype),
        says=of.says,
        rule=partial(published_graph, cutoff=of.cutoff, kind=kind),
        mean=of.mean,
        std=of.std,
    )


def published_graph(structure: Structure, *, kind: int | None, **kwargs: object) -> Data:
    """`radius_graph` with the number of the kind of label as its state (slide 27)."""
    graph = radius_graph(structure, **kwargs)
    if kind is not None:
        graph.state = torch.tensor([kind])
    return graph


def read_state(name: str) -> dict[str, Tensor]:
    """The released tensors under their own names, from a file that is held to its sha256."""
    advice = "copy the folder of that name from matgl's pretrained models into"
    return states.placed(f"MEGNet-{name}/state.pt", RELEASED[name].sha256, advice)


FOREIGN_NAMES = {
    "model.": "",
    "embedding.layer_state_embedding": "kinds",
    "node_encoder.layers": "encode.0",
    "edge_encoder.layers": "encode.1",
    "state_encoder.layers": "encode.2",
    "conv.edge_func": "0",
    "conv.node_func": "1",
    "conv.state_func": "2",
    "node_s2s": "of_atoms",
    "edge_s2s": "of_bonds",
    "_l0": "",
    "output_proj.layers": "head",
}
BEFORE = {"node_func.layers": "0", "edge_func.layers": "1", "state_func.layers": "2"}
ORDER = {"0.layers.0": [1, 0, 2, 3], "1.layers.0": [1, 0, 2], "2.layers.0": [1, 2, 0]}


def renamed(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released state under the names of `RetrainedMEGNet` (slide 26).

    Theirs concatenates [v_j, v_i, e_ij, u], where j sends and i receives, then [v, mean e, u] and
    [u, mean e, mean v]; ours has the centre first, and the order of slide 26.
    """
    ours = {}
    for name, tensor in theirs.items():
        for foreign, own in FOREIGN_NAMES.items():
            name = name.replace(foreign, own)
        _, _, layer = name.partition("blocks.")
        for foreign, own in BEFORE.items():
            if layer[2:].startswith(foreign):
                name = f"before.{layer[0]}.{own}{layer[2:].removeprefix(foreign)}"
        for end, order in ORDER.items():
            if name == f"blocks.{layer[:1]}.{end}.weight":
                parts = tensor.split(RetrainedMEGNet.width, dim=1)
                tensor = torch.cat([parts[k] for k in order], dim=1)
        ours[name] = tensor
    del ours["bond_expansion.rbf.centers"]
    known = [z for z in range(1, 95) if not 84 <= z <= 88]
    seen = torch.zeros(95, dtype=torch.bool)
    seen[known] = True
    rows = torch.zeros(95, 16)
    rows[known] = ours.pop("embedding.layer_node_embedding.weight")
    return ours | {"atoms.weight": rows, "seen": seen}
