"""What every pretrained potential can do, and those that stay in their own packages (slides 42, 43, 48).

Read in order: `Backbone`, `CalculatorBackbone`. Those of this package, and `load`, are in `g_foundation.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mg9.a_errors import EmptyList
from mg9.potential import Prediction
from mg9.pretrained import adapters

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mg9.descent import Run
    from mg9.splits import Split


class Backbone(ABC):
    """What every pretrained potential can do (slides 42, 43).

    name, licence, trained_on: in words. Crystals are pymatgen structures, one or a list.
    """

    name: str
    licence: str
    trained_on: str

    @abstractmethod
    def predict(self, crystals: Structure | Sequence[Structure]) -> Prediction:
        """Energies (B,) in eV of the cells, forces (N, 3) in eV/Å of all atoms one crystal after another,
        stress (B, 3, 3) in eV/Å^3, with ASE's sign: a crystal that is stretched pulls, it is positive."""

    @abstractmethod
    def embed_atoms(self, crystals: Structure | Sequence[Structure]) -> list[Tensor]:
        """(N, F) for each crystal: what the energies of its atoms are read from."""

    @abstractmethod
    def freeze(self, *, until: str | None) -> Backbone:
        """Keep a part and all before it from training; None: train everything. Returns itself."""

    @abstractmethod
    def fine_tune(self, crystals: Sequence[Structure], energy: Sequence[float], split: Split) -> Run:
        """Refit the references, then train what is not frozen; see `tuning.TunableBackbone`."""

    def energy(self, crystals: Structure | Sequence[Structure]) -> Tensor:
        """(B,) in eV."""
        return self.predict(crystals).energy

    def forces(self, crystals: Structure | Sequence[Structure]) -> list[Tensor]:
        """(N, 3) in eV/Å for each crystal."""
        return list(self.predict(crystals).forces.split([len(one) for one in as_list(crystals)]))

    def stress(self, crystals: Structure | Sequence[Structure]) -> Tensor:
        """(B, 3, 3) in eV/Å^3, with ASE's sign."""
        return self.predict(crystals).stress

    def embed(self, crystals: Structure | Sequence[Structure]) -> Tensor:
        """(B, F): the mean over the atoms of each crystal, so that a supercell has the same (slide 48)."""
        return torch.stack([atoms.mean(dim=0) for atoms in self.embed_atoms(crystals)])


class CalculatorBackbone(Backbone):
    """A potential in its own package, through its own ASE calculator (slides 42, 43).

    It predicts; an embedding only CHGNet gives. Freezing and fine-tuning are its package's own tools.
    """

    def __init__(self, name: str) -> None:
        self.name, self.calculator = name, adapters.calculator(name)
        self.licence, self.trained_on = adapters.FOREIGN[name].licence, adapters.FOREIGN[name].trained_on

    def predict(self, crystals: Structure | Sequence[Structure]) -> Prediction:
        from pymatgen.io.ase import AseAtomsAdaptor

        found: list[tuple] = []
        for one in as_list(crystals):
            atoms = AseAtomsAdaptor.get_atoms(one, msonable=False)
            atoms.calc = self.calculator
            found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)))
        energy, forces, stress = zip(*found, strict=True)
        return Prediction(
            *(torch.tensor(np.array(x)).double() for x in (energy, np.concatenate(forces), stress))
        )

    def embed_atoms(self, crystals: Structure | Sequence[Structure]) -> list[Tensor]:
        """Errors: NotImplementedError where the package does not give features of atoms."""
        if self.name != "chgnet-0.3.0":
            raise NotImplementedError(f"{self.name} gives no features of atoms; embed with another one")
        return [adapters.chgnet_atom_features(self.calculator, one) for one in as_list(crystals)]

    def freeze(self, *, until: str | None) -> CalculatorBackbone:
        raise NotImplementedError(
            f"{self.name} is trained by its own package; fine-tune mace-mp-0-small instead"
        )

    def fine_tune(self, crystals, energy, split, **_: object) -> Run:
        return self.freeze(until=None)


def as_list(crystals: Structure | Sequence[Structure]) -> list[Structure]:
    """One crystal as a list of one (slide 42). Errors: `EmptyList`."""
    from pymatgen.core import Structure

    crystals = [crystals] if isinstance(crystals, Structure) else list(crystals)
    if not crystals:
        raise EmptyList("no crystals; give at least one")
    return crystals
