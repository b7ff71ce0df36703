"""Pretrained potentials behind one interface: predict, embed, freeze, fine-tune (slides 42, 43, 44).

    backbone = load("mace-mp-0-small")
    backbone.energy(crystals), backbone.forces(crystals), backbone.stress(crystals)      eV, eV/Å, eV/Å^3
    backbone.embed(crystals)                                       (B, F), a vector for each crystal
    backbone.freeze(until="round 1").fine_tune(crystals, energy, split)

The recipe of slide 43: keep what pretraining found, refit e(Z), what an energy owes to its elements alone,
and train what is not frozen, on few labels. Energies of another functional, or energies of formation, differ
from the pretrained ones by eV for each atom of an element: without refitting, training would learn only that.

Papers: MACE-MP-0 [batatia2024macemp], M3GNet [chen2022m3gnet], CHGNet and MPtrj [deng2023chgnet].
Read in order: `load`, `OwnBackbone` (predict, embed, `freeze`), `fine_tune` in `pretrained/tuning.py`, then
`OWN`, the parts of each. What all backbones can do is in `pretrained/backbone.py`, other packages in
`pretrained/adapters.py`.
Leakage: these potentials have seen the Materials Project, and so the crystals of `mg9.data`. An error on
those is a fit, not a prediction; `backbone.trained_on` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mg9.a_crystal import batch_graphs, radius_graph
from mg9.potential import Potential, Prediction
from mg9.pretrained import adapters, m3gnet, mace
from mg9.pretrained.adapters import NotInstalled as NotInstalled
from mg9.pretrained.backbone import Backbone, CalculatorBackbone, as_list
from mg9.pretrained.tuning import AT_ONCE, TunableBackbone

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Batch, Data


def names() -> list[str]:
    """The names that `load` knows (slide 42)."""
    return [*OWN, *adapters.FOREIGN]


def load(name: str, *, dtype: torch.dtype | None = None) -> Backbone:
    """A pretrained potential (slides 42, 43); our own are fetched once, then read from the cache.

    dtype: of the parameters of our own, by default torch's.
    Errors: KeyError for an unknown name; `NotInstalled`, which says what to install; without a network
    `mg9.data.cache.FetchError`, which names the file, its sha256 and where to put it; `ChecksumError`.
    """
    if name in OWN:
        return OWN[name](name, dtype)
    if name in adapters.FOREIGN:
        return CalculatorBackbone(name)
    raise KeyError(f"no pretrained potential {name!r}; there are: {', '.join(names())}")


class OwnBackbone(TunableBackbone):
    """A potential of this package (slides 42, 43); `fine_tune` is in `pretrained/tuning.py`.

    parts: its modules in the order in which a crystal passes them, by name; atom_features: a graph to (N, F).
    """

    def __init__(
        self,
        name: str,
        potential: Potential,
        *,
        parts: Mapping[str, Sequence[nn.Module]],
        atom_features: Callable[[Data | Batch], Tensor],
        licence: str,
        trained_on: str,
    ) -> None:
        self.name, self.licence, self.trained_on = name, licence, trained_on
        self.potential, self.parts, self.atom_features = potential, dict(parts), atom_features
        self.freeze(until=None)

    def graphs(self, crystals: Structure | Sequence[Structure]) -> list[Data]:
        """Radius graphs in the potential's precision. Errors: `EmptyList`, and those of `radius_graph`."""
        dtype, cutoff = self.potential.scale.dtype, self.potential.cutoff
        crystals = as_list(crystals)
        return [
            radius_graph(one, cutoff=cutoff, name=f"crystal {k}", dtype=dtype)
            for k, one in enumerate(crystals)
        ]

    def _batches(self, crystals: Structure | Sequence[Structure]) -> Iterator[Batch]:
        from tqdm.auto import tqdm

        graphs = self.graphs(crystals)
        for start in tqdm(range(0, len(graphs), AT_ONCE), desc=self.name, unit="batch", delay=3, leave=False):
            yield batch_graphs(graphs[start : start + AT_ONCE])

    def predict(self, crystals: Structure | Sequence[Structure]) -> Prediction:
        found = [self.potential.eval()(batch, stress=True) for batch in self._batches(crystals)]
        parts = ([getattr(one, part) for one in found] for part in ("energy", "forces", "stress"))
        return Prediction(*(torch.cat(part) for part in parts))

    @torch.no_grad()
    def energy(self, crystals: Structure | Sequence[Structure]) -> Tensor:
        """(B,) in eV, without the derivatives. Errors: `NoReference` after a fit that lacked an element."""
        return torch.cat([self.potential.energy(batch) for batch in self._batches(crystals)])

    @torch.no_grad()
    def embed_atoms(self, crystals: Structure | Sequence[Structure]) -> list[Tensor]:
        found = torch.cat([self.atom_features(batch) for batch in self._batches(crystals)])
        return list(found.split([len(one) for one in as_list(crystals)]))

    def freeze(self, *, until: str | None) -> OwnBackbone:
        """Keep the part `until` and all before it from training; None: train everything (slide 43).

        Errors: ValueError with the names of the parts.
        """
        if until is not None and until not in self.parts:
            raise ValueError(f"{self.name} has no part {until!r}; it has: {', '.join(self.parts)}")
        frozen = until is not None
        for part, modules in self.parts.items():
            for module in modules:
                module.requires_grad_(not frozen)
            frozen = frozen and part != until
        return self


def _own_mace(name: str, dtype: torch.dtype | None) -> OwnBackbone:
    potential = mace.load(dtype=dtype)
    model = potential.model
    rounds = {f"round {k + 1}": [part] for k, part in enumerate(model.rounds)}
    return OwnBackbone(
        name,
        potential,
        parts={"atoms": [model.atoms, model.basis], **rounds, "readout": [model.readouts]},
        atom_features=lambda graph: torch.cat(model.scalars(graph), dim=1),
        licence="MIT",
        trained_on=adapters.MPTRJ,
    )


def _own_m3gnet(name: str, dtype: torch.dtype | None) -> OwnBackbone:
    potential = m3gnet.load("MP-2021.2.8-DIRECT", dtype=dtype)
    model = potential.model
    blocks = zip(model.three_body, model.convolutions, strict=True)
    return OwnBackbone(
        name,
        potential,
        parts={
            "atoms": [model.atoms, model.bonds],
            **{f"block {k + 1}": list(block) for k, block in enumerate(blocks)},
            "readout": [model.atomwise],
        },
        atom_features=lambda graph: _input_of(model.atomwise, model, graph),
        licence="BSD",
        trained_on="relaxations of the Materials Project's crystals, most of those of mg9.data among them",
    )


def _input_of(part: nn.Module, model: nn.Module, graph: Data | Batch) -> Tensor:
    """What a part of the model is given when the model sees the graph."""
    seen: list[Tensor] = []
    hook = part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        model(graph)
    finally:
        hook.remove()
    return seen[0]


OWN: dict[str, Callable[[str, torch.dtype | None], OwnBackbone]] = {
    "mace-mp-0-small": _own_mace,
    "m3gnet-mp-2021": _own_m3gnet,
}
