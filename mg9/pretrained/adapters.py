"""Potentials that stay in their own packages: CHGNet and SevenNet as ASE calculators, others as advice
(slides 42, 43).

The packages are optional. Where one is absent, `NotInstalled` says in one line what to install. MatterSim and
a model trained on OMat24 are named with their licences, not wrapped. Two things to know: by CHGNet quartz is
0.4 eV/atom lower than by the others, whose training energies were not corrected as its were, and SevenNet-0
does not keep reflections: its energies of 20 crystals, atoms moved by 0.1 Å, and of their mirrored copies
differ by 0.06 meV/atom on average and 0.34 at most, where a rotation changes 0.0006 at most (float32).

Papers: CHGNet [deng2023chgnet]; OMat24 [barrosoluque2024omat24].
Read in order: `FOREIGN`, `calculator`, `chgnet_atom_features`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from pymatgen.core import Structure


class NotInstalled(ImportError):
    """A potential whose package is not there (slide 42)."""


class Foreign(NamedTuple):
    """What a potential of another package needs: a line for pip, its licence, what it was trained on.

    wrapped: whether there is an adapter to it here.
    """

    package: str
    install: str
    licence: str
    trained_on: str
    wrapped: bool = False


MPTRJ = "MPtrj, which holds the Materials Project's crystals, those of mg9.data too"
FOREIGN = {
    "chgnet-0.3.0": Foreign(
        "chgnet",
        "pip install chgnet==0.4.2",
        "modified BSD; weights in the package",
        MPTRJ,
        wrapped=True,
    ),
    "sevennet-0": Foreign(
        "sevenn", "pip install sevenn==0.13.0", "MIT; weights in the package", MPTRJ, wrapped=True
    ),
    "mattersim-1.0-1m": Foreign(
        "mattersim",
        "pip install mattersim (Python 3.12), then use its MatterSimCalculator with ASE",
        "MIT; fetches its weights itself",
        "17 million structures of its authors, not published",
    ),
    "uma-s-omat24": Foreign(
        "fairchem.core",
        "pip install fairchem-core, then use its FAIRChemCalculator with task_name='omat'",
        "code MIT; weights under the FAIR Chemistry License, after registration with Hugging Face",
        "OMat24 among others; its energies do not compare with the Materials Project's",
    ),
}


def calculator(name: str) -> Calculator:
    """The package's own ASE calculator of chgnet-0.3.0 or sevennet-0, on the CPU (slides 42, 43).

    Errors: `NotInstalled` with what to install, also for a potential that is not wrapped here.
    """
    package, install, licence, trained_on, wrapped = FOREIGN[name]
    if not wrapped:
        raise NotInstalled(
            f"{name} is not wrapped here: {install}. Licence: {licence}. Trained on: {trained_on}."
        )
    if find_spec(package) is None:
        raise NotInstalled(f"{name} needs the package {package}: {install}. Licence: {licence}.")
    if package == "chgnet":
        from chgnet.model import CHGNet, CHGNetCalculator

        model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
        return CHGNetCalculator(model, use_device="cpu")
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


def chgnet_atom_features(calculator: Calculator, structure: Structure) -> Tensor:
    """The features (N, 64) that CHGNet reads its energies from (slide 42) [deng2023chgnet]."""
    found = calculator.model.predict_structure(structure, task="e", return_atom_feas=True)
    return torch.as_tensor(found["atom_fea"])
