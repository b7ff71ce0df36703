"""MACE-MP-0 small in our own `MACE` (slides 38, 42, 43).

    potential = load()                                  # a `Potential`, for graphs of 6 Å
    atoms.calc = PotentialCalculator(potential)

Paper: Batatia and others (2023) [batatia2024macemp]; trained on MPtrj [deng2023chgnet]. The file is MIT
licensed, and lies among the tests of the package aiida-mlip, which is neither installed nor run.
Read in order: `load`, then how it is done: `read_tensors`, `renamed`.
Differs from the release: its constant factors (1 over the root of a layer's width, 1.68 behind each swish)
are multiplied into the weights; of its 23 + 4 + 1 products those that differ only in the order of the factors
are one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mg9.a_errors import N_ELEMENTS
from mg9.data.cache import Archive, folder, member, obtain
from mg9.f_irreps import natural
from mg9.f_layers import RadialBasis
from mg9.f_mace import MACE, coupling_of, symmetric, triples
from mg9.potential import Potential
from mg9.pretrained import states

AIIDA = Archive(
    package="aiida-mlip",
    version="0.3.0",
    file="aiida_mlip-0.3.0.tar.gz",
    sha256="5473a0eb6165053de7780113aec86f409e04a1dcedf92c0d65b70380d0c292aa",
    size=29_112_738,
)
FILE = "aiida_mlip-0.3.0/tests/data/input_files/mace/mace_mp_small.model"
SHA256 = "2ddb079cee0e131eaaf6912ba581b394551ead283e95c99cfe78c605d10b5736"
FORMAT = 2  # part of the converted file's name: a change of the names below never meets an old file


def load(*, dtype: torch.dtype | None = None) -> Potential:
    """The released potential, ready for graphs of 6 Å (slides 38, 42); fetched once (29 MB), then read from
    the cache. 89 elements: all but Po, At, Rn, Fr, Ra and those beyond Pu.

    dtype: of its parameters, by default torch's; float64 for energy differences and curvatures.
    Errors: `mg9.data.cache.FetchError` and `ChecksumError`; ValueError for a damaged file in the cache.
    """
    state, about = states.read(converted())
    potential = Potential(MACE(**about), cutoff=about["cutoff"])
    potential.load_state_dict(state)
    return states.ready(potential, dtype)


def converted() -> Path:
    """The file in the cache folder, made if it is not there. Errors: `FetchError` and `ChecksumError`."""
    path = folder() / f"mace-mp-0-small-format{FORMAT}.safetensors"
    if not path.exists():
        content = member(obtain(AIIDA), FILE)
        states.verify_content(content, SHA256, FILE)
        state, about = renamed(read_tensors(content))
        states.keep(path, state, about)
    return path


# What the file names beside tensors: none of it is imported.
FOREIGN = """
    e3nn.math._normalize_activation.normalize2mom e3nn.nn._activation.Activation
    e3nn.nn._fc.FullyConnectedNet e3nn.nn._fc._Layer e3nn.o3._irreps.Irrep e3nn.o3._irreps.Irreps
    e3nn.o3._irreps._MulIr e3nn.o3._linear.Instruction e3nn.o3._linear.Linear
    e3nn.o3._spherical_harmonics.SphericalHarmonics e3nn.o3._tensor_product._instruction.Instruction
    e3nn.o3._tensor_product._sub.FullyConnectedTensorProduct
    e3nn.o3._tensor_product._tensor_product.TensorProduct mace.modules.blocks.AtomicEnergiesBlock
    mace.modules.blocks.EquivariantProductBasisBlock mace.modules.blocks.LinearNodeEmbeddingBlock
    mace.modules.blocks.LinearReadoutBlock mace.modules.blocks.NonLinearReadoutBlock
    mace.modules.blocks.RadialEmbeddingBlock mace.modules.blocks.RealAgnosticResidualInteractionBlock
    mace.modules.blocks.ScaleShiftBlock mace.modules.irreps_tools.reshape_irreps
    mace.modules.models.ScaleShiftMACE mace.modules.radial.BesselBasis mace.modules.radial.PolynomialCutoff
    mace.modules.symmetric_contraction.Contraction mace.modules.symmetric_contraction.SymmetricContraction
    torch.fx._symbolic_trace.Tracer torch.fx.graph_module.reduce_graph_module torch.nn.functional.silu
    torch.nn.modules.container.ModuleList torch.nn.modules.container.ParameterList
""".split()
KEPT = "avg_num_neighbors", "cst"  # numbers beside the tensors: the latter stands behind each swish


def read_tensors(content: bytes) -> dict[str, Tensor]:
    """The released file's parameters and buffers by name, and the numbers of `KEPT`.

    It is a pickle of a whole module, held to its sha256 before it comes here. Of what it names, torch revives
    tensors only; each class of mace and e3nn becomes an object without behaviour, that keeps its state.
    """
    with torch.serialization.safe_globals([set, *((_Inert, name) for name in FOREIGN)]):
        module = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    found: dict[str, Tensor] = {}

    def take(part: _Inert, path: str) -> None:
        state = getattr(part, "state", {})
        tensors = {**state.get("_parameters", {}), **state.get("_buffers", {})}
        found.update({path + name: tensor for name, tensor in tensors.items() if tensor is not None})
        found.update({path + name: torch.tensor(state[name]).double() for name in KEPT if name in state})
        for name, child in state.get("_modules", {}).items():
            take(child, f"{path}{name}.")

    take(module, "")
    return found


class _Inert:
    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}


def renamed(theirs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The released tensors under the names of `Potential(MACE(...))`, and the arguments of `MACE`
    (slides 38, 42).

    A layer of theirs divides its sum over n inputs by the root of n; here its weights are divided.
    """
    z = theirs["atomic_numbers"].tolist()
    n, features = len(z), theirs["node_embedding.linear.weight"].numel() // len(z)
    swish = theirs["interactions.0.conv_tp_weights.layer0.act.cst"]
    basis = RadialBasis(cutoff=float(theirs["r_max"])).scale

    def matrix(name: str, inputs: int = features) -> Tensor:
        return theirs[name].reshape(inputs, -1).T / inputs**0.5

    ours = {"atoms.weight": theirs["node_embedding.linear.weight"].reshape(n, features) / n**0.5}
    for k in range(2):
        block, own = f"interactions.{k}", f"rounds.{k}"
        ours[f"{own}.up.weight.0e"] = matrix(f"{block}.linear_up.weight")
        for layer in range(4):
            weight = theirs[f"{block}.conv_tp_weights.layer{layer}.weight"]
            size = len(weight) ** -0.5 * (swish if layer else 1.0 / basis)
            ours[f"{own}.convolution.filter.{2 * layer}.weight"] = weight.T * size
        degrees = theirs[f"{block}.linear.weight"].reshape(-1, features, features)
        for degree, weight in enumerate(degrees):
            ours[f"{own}.A.weight.{natural(degree)}"] = weight.T / features**0.5
        ours[f"{own}.B.weight.0"] = _products(theirs, f"products.{k}.symmetric_contractions.contractions.0")
        ours[f"{own}.mix.weight.0e"] = matrix(f"products.{k}.linear.weight")
        skip = theirs[f"{block}.skip_tp.weight"].reshape(features, n, features)
        ours[f"{own}.keep.weight.0e"] = skip.permute(1, 2, 0) / (features * n) ** 0.5
    ours["readouts.0.0.weight"] = matrix("readouts.0.linear.weight")
    ours["readouts.1.0.weight"] = matrix("readouts.1.linear_1.weight")
    hidden = len(ours["readouts.1.0.weight"])
    ours["readouts.1.2.weight"] = matrix("readouts.1.linear_2.weight", hidden) * swish
    e = torch.full((N_ELEMENTS + 1,), torch.nan, dtype=torch.float64)
    e[z] = theirs["atomic_energies_fn.atomic_energies"] + theirs["scale_shift.shift"]
    state = {f"model.{name}": tensor for name, tensor in ours.items()}
    about = {
        "features": features,
        "l_hidden": 0,
        "l_max": len(degrees) - 1,
        "cutoff": float(theirs["r_max"]),
        "radial": theirs["radial_embedding.bessel_fn.bessel_weights"].numel(),
        "readout": hidden,
        "mean_neighbors": float(theirs["interactions.0.avg_num_neighbors"]),
        "elements": z,
    }
    return state | {"references.e": e, "scale": theirs["scale_shift.scale"]}, about


def _products(theirs: Mapping[str, Tensor], name: str) -> Tensor:
    """Weights (elements, products, F) of one, two and three factors: the same sum of products as theirs,
    those that differ in the order of their factors taken together."""
    U = symmetric(theirs[f"{name}.U_matrix_3"]).flatten(0, 2)  # (M^3, theirs)
    l_max = round(len(theirs[f"{name}.U_matrix_1"]) ** 0.5) - 1
    own = [coupling_of(degrees, l_max, 0).flatten() for degrees in triples(l_max, 0)]
    together = torch.linalg.lstsq(torch.stack(own, dim=1), U).solution  # (ours, theirs)
    three = torch.einsum("ot,etf->eof", together, theirs[f"{name}.weights_max"])
    return torch.cat([theirs[f"{name}.weights.1"], theirs[f"{name}.weights.0"], three], dim=1)
