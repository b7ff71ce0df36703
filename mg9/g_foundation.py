"""Pretrained potentials behind one interface: predict, embed, freeze, fine-tune (slides 42, 43, 44).

    backbone = load("mace-mp-0-small")
    backbone.energy(crystals), backbone.forces(crystals), backbone.stress(crystals)      eV, eV/Å, eV/Å^3
    backbone.embed(crystals)                                       (B, F), a vector for each crystal
    backbone.freeze(until="round 1").fine_tune(crystals, energy, split)

The recipe of slide 43: keep what pretraining found, refit e(Z), what an energy owes to its elements alone,
and train what is not frozen, on few labels. Energies of another functional, or energies of formation, differ
from the pretrained ones by eV for each atom of an element: without refitting, training would learn only that.

Papers: MACE-MP-0 [batatia2024macemp], M3GNet [chen2022m3gnet], CHGNet and MPtrj [deng2023chgnet].
Read in order: `load`, `OwnBackbone` (predict, embed, `freeze`, `fit_references`, `fine_tune`), then `OWN`,
the parts of each. What all backbones can do is in `pretrained/backbone.py`, other packages in
`pretrained/adapters.py`.
Leakage: these potentials have seen the Materials Project, and so the crystals of `mg9.data`. An error on
those is a fit, not a prediction; `backbone.trained_on` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mg9.a_crystal import batch_graphs, radius_graph
from mg9.checkpoint import copy_of, fingerprint
from mg9.descent import Run, batches, descend
from mg9.potential import Potential, Prediction, labelled, three_term_loss
from mg9.pretrained import adapters, m3gnet, mace
from mg9.pretrained.adapters import NotInstalled as NotInstalled
from mg9.pretrained.backbone import Backbone, CalculatorBackbone, as_list
from mg9.splits import Split

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Batch, Data

AT_ONCE = 16  # crystals in a batch of predictions


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


class OwnBackbone(Backbone):
    """A potential of this package (slides 42, 43).

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

    def fit_references(self, graphs: Sequence[Data], energy: Sequence[float]) -> OwnBackbone:
        """Refit e(Z) so that sum_i e(Z_i) is what the pretrained model leaves of these energies (slide 43).

        graphs: of the training part only; energy: of the cells, in eV.
        """
        with torch.no_grad():
            own = torch.cat(
                [self.potential.model(batch) for batch in batches(graphs, np.arange(len(graphs)), AT_ONCE)]
            )
        rest = np.asarray(energy, dtype=float) - (self.potential.scale * own).double().numpy()
        self.potential.references.fit(graphs, rest)
        return self

    def fine_tune(
        self,
        crystals: Sequence[Structure],
        energy: Sequence[float],
        split: Split,
        *,
        forces: Sequence[np.ndarray] | None = None,
        stress: Sequence[np.ndarray] | None = None,
        weights: Mapping[str, float] | None = None,
        epochs: int = 10,
        batch_size: int = 8,
        learning_rate: float = 3e-4,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = True,
    ) -> Run:
        """Refit the references on `split.train`, then train what `freeze` left (slide 43).

        energy (M,): of the cells, in eV; a formation energy per atom times the number of atoms is one, too.
        forces, stress: (N, 3) in eV/Å and (3, 3) in eV/Å^3 for each crystal; with forces the loss is
        `potential.three_term_loss` with these weights, without the mean absolute error per atom, which is
        also the error of the history, in eV/atom. Where no epoch is better on `split.validation` than the
        refitted references alone, these are kept, and best_epoch is -1. Everything else as for `train.fit`.
        Errors: `NoReference` where the validation part has an element that training lacks; ValueError where
        everything is frozen, and as for `train.fit`.
        """
        if not any(weight.requires_grad for weight in self.potential.parameters()):
            raise ValueError(f"every part of {self.name} is frozen; freeze less, or fit_references alone")
        last = max(split.train.max(), split.validation.max())
        if last >= len(crystals):
            raise ValueError(f"the split names row {last}, but there are {len(crystals)} crystals")
        graphs = self._labelled(crystals, energy, forces, stress)
        self.fit_references([graphs[k] for k in split.train], [float(graphs[k].energy) for k in split.train])
        weights = dict(weights or {})

        def loss(batch: Batch, rows: np.ndarray | None) -> Tensor:
            if forces is not None:
                return three_term_loss(self.potential(batch), batch, **weights)
            atoms = torch.bincount(batch.batch, minlength=batch.num_graphs)
            return ((self.potential.energy(batch) - batch.energy) / atoms).abs().mean()

        def validate() -> float:
            self.potential.eval()
            with torch.no_grad():
                parts = batches(graphs, split.validation, batch_size)
                return sum(batch.num_graphs * float(loss(batch, None)) for batch in parts) / len(
                    split.validation
                )

        # Before the first epoch, so that an element without a reference is told now and not after it.
        before, kept = validate(), copy_of(self.potential)
        trained = [name for name, weight in self.potential.named_parameters() if weight.requires_grad]
        label = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        label |= {"weights": weights, "trained": trained, "forces": forces is not None}
        label["target and split"] = fingerprint([split.train, split.validation, np.asarray(energy, float)])
        run, path = Run(self.potential), Path(checkpoint) if checkpoint else None
        descend(run, graphs, split, loss, validate, label, path, None, progress, measure="validation error")
        if before <= min((epoch[2] for epoch in run.history), default=np.inf):
            self.potential.load_state_dict(kept)
            run.best_epoch = -1
        return run

    def _labelled(self, crystals, energy, forces, stress) -> list[Data]:
        for what, values in {"energies": energy, "forces": forces, "stresses": stress}.items():
            if values is not None and len(values) != len(crystals):
                raise ValueError(f"{len(values)} {what} for {len(crystals)} crystals; give one for each")
        if not np.isfinite(np.asarray(energy, dtype=float)).all():
            bad = int(np.flatnonzero(~np.isfinite(np.asarray(energy, dtype=float)))[0])
            raise ValueError(f"the energy of crystal {bad} is NaN or infinite; drop it or mend it")
        rows = zip(
            self.graphs(crystals),
            energy,
            forces if forces is not None else [np.zeros((len(one), 3)) for one in crystals],
            stress if stress is not None else [None] * len(crystals),
            strict=True,
        )
        return [labelled(graph, energy=E, forces=F, stress=sigma) for graph, E, F, sigma in rows]


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
