"""How `tests/mace_reference.npz` was made: `python tests/make_mace_reference.py MODEL_FILE`.

It needs mace-torch 0.3.16 with e3nn 0.4.4 beside this package's `data`, in an environment of its own, and
TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1. The values are mace-torch's, in double precision.
"""

import sys
from pathlib import Path

import numpy as np
from make_m3gnet_reference import crystals
from pymatgen.core import Structure

from mg9 import data

OUT = Path(__file__).with_name("mace_reference.npz")
UNKNOWN = {84, 85, 86, 87, 88}


def frames() -> list[tuple[str, Structure]]:
    """100 frames of MPtrj, as they are."""
    ds, found = data.mptrj(), []
    for name in ds.table.index[::7]:
        one = ds.structure(name)
        lonely = len(np.unique(one.get_neighbor_list(6.0)[0])) < len(one)
        if UNKNOWN.isdisjoint(one.atomic_numbers) and not lonely and len(one) < 60:
            found.append((name, one))
    return found[:100]


def main() -> None:
    from ase import Atoms
    from mace.calculators import MACECalculator

    calculator = MACECalculator(sys.argv[1], device="cpu", default_dtype="float64")
    chosen = [*crystals(), *frames()]
    energy, forces, stress = [], [], []
    for _, one in chosen:
        atoms = Atoms(one.atomic_numbers, one.cart_coords, cell=one.lattice.matrix, pbc=True)
        atoms.calc = calculator
        energy.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stress.append(atoms.get_stress(voigt=False))
    np.savez_compressed(
        OUT,
        about="mace-torch 0.3.16 (MIT), MACE-MP-0 small; energy eV, forces eV/Å, stress eV/Å^3",
        ids=[name for name, _ in chosen],
        atoms=[len(one) for _, one in chosen],
        z=np.concatenate([one.atomic_numbers for _, one in chosen]).astype(np.uint8),
        pos=np.concatenate([one.cart_coords for _, one in chosen]),
        cell=np.stack([one.lattice.matrix for _, one in chosen]),
        energy=energy,
        forces=np.concatenate(forces),
        stress=np.stack(stress),
    )


if __name__ == "__main__":
    main()
