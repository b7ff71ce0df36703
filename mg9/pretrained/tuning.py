"""Fine-tuning a pretrained potential of this package (slide 43): references first, then what is not frozen.

    backbone.freeze(until="round 1").fine_tune(crystals, energy, split)

Energies of another functional, or energies of formation, differ from the pretrained ones by eV for each atom
of an element. These numbers, e(Z), are refitted by least squares; the network learns what they leave.
Read in order: `TunableBackbone.fine_tune`, `fit_references`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from mg9.checkpoint import copy_of, fingerprint
from mg9.descent import Run, batches, descend
from mg9.potential import Potential, labelled, three_term_loss
from mg9.pretrained.backbone import Backbone
from mg9.splits import Split

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Batch, Data

AT_ONCE = 16  # crystals in a batch of predictions


class TunableBackbone(Backbone):
    """A potential whose own parameters can be trained (slide 43)."""

    potential: Potential

    @abstractmethod
    def graphs(self, crystals: Structure | Sequence[Structure]) -> list[Data]:
        """What the potential reads, one graph for each crystal."""

    def fit_references(self, graphs: Sequence[Data], energy: Sequence[float]) -> Self:
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
