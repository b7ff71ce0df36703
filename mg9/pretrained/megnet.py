"""Four models released with MEGNet, in our own `ReleasedMEGNet` (slides 26, 27).

    model = load("formation-energy-per-atom")
    model.predict([structure])          # eV/atom, by the published rule: all neighbours within 4 Å

Paper: Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564 (2019) [chen2019megnet]; data: Materials Project, June
2018 [jain2013materialsproject]. The files are HDF5 in the BSD-licensed package megnet, which is neither
installed nor run.
Read in order: `released`, `load`, `published_graph`, then how it is done: `read_weights`, `renamed`; a model
itself is a `states.ReleasedModel`.
Differs from the release: moduli are given in GPa, not as the log10 that was trained on; an element whose row
of the embedding is still as it started, since training never showed it, is refused.

How the release computes cannot be read off the paper: bumps of width 0.5 Å on centres 0.05 Å apart; state
(0, 0); no activation after the last layer of phi_e, phi_v, phi_u; Set2Set with hard sigmoids and a memory
that is never kept. Above all a bond's update must reach the atom that stands first in [v_i, v_j, e_ij, u]. A
library that hands it to the other end is exact for elements, whose atoms are alike, and off by 0.2 eV/atom
for compounds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mg9.a_crystal import radius_graph
from mg9.data.cache import Archive, folder, member, obtain
from mg9.e_megnet_paper import ReleasedMEGNet
from mg9.pretrained import states
from mg9.pretrained.states import Property, ReleasedModel

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data

MEGNET = Archive(
    package="megnet",
    version="1.1.2",
    file="megnet-1.1.2-py3-none-any.whl",
    sha256="61ed3cf532bf3cdd77aa31a50313e6a539b789aa712f6f1cfa8469a5294ed8cc",
    size=15_021_784,
)
FORMAT = 1  # part of a converted file's name: a change of the names below never meets an old file
UNTRAINED = 0.05  # Keras starts the rows of an embedding between -0.05 and 0.05

FILES = {
    "band-gap": "band_gap_regression",
    "bulk-moduli": "log10K",
    "formation-energy-per-atom": "formation_energy",
    "shear-moduli": "log10G",
}
PROPERTIES = {
    "band-gap": Property("band gap (PBE)", "eV"),
    "bulk-moduli": Property("bulk modulus", "GPa", lambda log10: 10**log10),
    "formation-energy-per-atom": Property("formation energy per atom", "eV/atom"),
    "shear-moduli": Property("shear modulus", "GPa", lambda log10: 10**log10),
}


def released() -> list[str]:
    """The names that `load` knows (slide 27)."""
    return sorted(PROPERTIES)


def load(name: str, *, dtype: torch.dtype | None = None) -> ReleasedModel:
    """A released model, ready to predict (slides 26, 27); fetched once (15 MB), then read from the cache.

    dtype: of its parameters, by default torch's.
    Errors: KeyError for an unknown name; `mg9.data.cache.FetchError` and `ChecksumError`; ValueError for a
    damaged file in the cache.
    """
    if name not in PROPERTIES:
        raise KeyError(f"no released model {name!r}; there are: {', '.join(released())}")
    path = folder() / f"megnet-{name}-{MEGNET.version}-format{FORMAT}.safetensors"
    if not path.exists():
        theirs, steps = read_weights(name)
        states.keep(path, renamed(theirs), {"set2set_steps": steps})
    state, about = states.read(path)
    model = ReleasedMEGNet(**about)
    model.load_state_dict(state)
    return ReleasedModel(
        name=name, model=states.ready(model, dtype), says=PROPERTIES[name], rule=published_graph
    )


def published_graph(structure: Structure, **kwargs: object) -> Data:
    """All neighbours within 4 Å; arguments, result and errors of `radius_graph`."""
    return radius_graph(structure, cutoff=4.0, **kwargs)


def read_weights(name: str) -> tuple[dict[str, Tensor], int]:
    """The released file's arrays under its own names, and the steps of its Set2Set.

    HDF5 holds numbers and text only; the archive is held to a sha256 before it is opened.
    """
    import h5py

    content = member(obtain(MEGNET), f"mvl_models/mp-2018.6.1/{FILES[name]}.hdf5")
    theirs: dict[str, Tensor] = {}

    def take(path: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            layer, last = path.split("/")[0], path.split("/")[-1]
            theirs[f"{layer}/{last.removesuffix(':0')}"] = torch.from_numpy(item[:])

    with h5py.File(io.BytesIO(content)) as file:
        file["model_weights"].visititems(take)
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    return theirs, next(layer["config"]["T"] for layer in layers if layer["class_name"] == "Set2Set")


# Keras numbers its dense layers in the order in which they were made.
DENSE = [f"encode.{part}.{layer}" for part in range(3) for layer in (0, 2)]
DENSE += [f"before.{block}.{part}.{layer}" for block in (1, 2) for part in range(3) for layer in (0, 2)]
DENSE += [f"head.{layer}" for layer in (0, 2, 4)]


def renamed(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released arrays under the names of `ReleasedMEGNet` (slide 26); Keras multiplies from the other
    side, so matrices are transposed. `seen` tells which rows of the embedding training has moved."""
    kernels: dict[str, tuple[str, str]] = {}
    for number, ours in enumerate(DENSE, start=1):
        kernels[ours] = f"dense_{number}/kernel", f"dense_{number}/bias"
    for block in range(3):
        for update, letter in enumerate("evu"):
            for layer in range(3):
                of = f"meg_net_layer_{block + 1}"
                kernels[f"blocks.{block}.{update}.layers.{2 * layer}"] = (
                    f"{of}/weight_{letter}_{layer}",
                    f"{of}/bias_{letter}_{layer}",
                )
    for number, of in ((1, "of_atoms"), (2, "of_bonds")):
        layer = f"set2_set_{number}"
        kernels[f"{of}.project"] = f"{layer}/x_to_m_weight", f"{layer}/x_to_m_bias"
        kernels[f"{of}.gates"] = f"{layer}/recurrent_kernel", f"{layer}/recurrent_bias"
    rows = theirs["embedding_1/embeddings"]
    ours = {"atoms.weight": rows, "seen": rows.abs().amax(dim=1) > UNTRAINED}
    for name, (kernel, bias) in kernels.items():
        ours[f"{name}.weight"], ours[f"{name}.bias"] = theirs[kernel].T, theirs[bias]
    return ours
