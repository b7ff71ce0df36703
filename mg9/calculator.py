"""A potential as a calculator of ASE (slide 31): relaxation, equation of state and molecular dynamics are
then ASE's own tools.

    atoms.calc = PotentialCalculator(potential)
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()      eV, eV/Å, eV/Å^3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from mg9.a_crystal import molecule_graph, radius_graph
from mg9.a_errors import CrystalError

if TYPE_CHECKING:
    import torch
    from ase import Atoms
    from torch_geometric.data import Data

    from mg9.potential import Potential


class PotentialCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å^3, six numbers in ASE's order) of a `Potential` (slide 31).

    A crystal is periodic in all three directions, a molecule in none: then a stress is ASE's
    PropertyNotImplementedError. Errors: `CrystalError` for a slab or a wire, and those of `radius_graph`.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, potential: Potential, **kwargs) -> None:
        super().__init__(**kwargs)
        self.potential = potential.eval()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        periodic = bool(self.atoms.pbc.all())
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError("a molecule has no cell, hence no stress")
        graph = graph_of(self.atoms, self.potential.cutoff, self.potential.scale.dtype)
        found = self.potential(graph, stress=periodic)
        energy = float(found.energy)
        self.results = {"energy": energy, "free_energy": energy, "forces": found.forces.double().numpy()}
        if periodic:
            xx, xy, xz, _, yy, yz, _, _, zz = found.stress.double().flatten().tolist()
            self.results["stress"] = np.array([xx, yy, zz, yz, xz, xy])


def graph_of(atoms: Atoms, cutoff: float, dtype: torch.dtype | None = None) -> Data:
    """The graph of ASE's atoms within the cutoff (Å), positions as they are (slide 31)."""
    from pymatgen.core import Structure

    if not atoms.pbc.any():
        return molecule_graph(atoms.numbers, atoms.positions, cutoff=cutoff, dtype=dtype)
    if not atoms.pbc.all():
        raise CrystalError(
            f"{atoms.get_chemical_formula()}: periodic in some directions only; "
            "add vacuum to the cell and set pbc=True"
        )
    structure = Structure(atoms.cell.array, atoms.numbers, atoms.positions, coords_are_cartesian=True)
    return radius_graph(structure, cutoff=cutoff, dtype=dtype)
