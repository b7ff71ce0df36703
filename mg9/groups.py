"""What a crystal belongs to: its composition, chemical system, family, structure type (slides 47, 50).

Splits keep such groups on one side, and residuals are reported for each of them. Groups are arrays of
names, one for each row. Read in order: `reduced_formulas`, `chemical_systems`, `chemistry_family`,
`prototypes`, then `pooled` and `effective_sample_size`, which count them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from pymatgen.core import Structure

FAMILIES = (  # the first match decides, so an oxyfluoride is an oxide
    ("oxide", {"O"}),
    ("halide", {"F", "Cl", "Br", "I"}),
    ("chalcogenide", {"S", "Se", "Te"}),
    ("nitride", {"N"}),
    ("pnictide", {"P", "As", "Sb", "Bi"}),
    ("carbide", {"C"}),
    ("hydride", {"H"}),
    ("boride", {"B"}),
    ("silicide or germanide", {"Si", "Ge"}),
)
LEAST = 10  # members of a group of its own; smaller ones are pooled into "other"


def reduced_formulas(formulas: Sequence[str]) -> np.ndarray:
    """One spelling for each composition: "Si2O4" and "O2Si" both become "SiO2" (slide 47)."""
    from pymatgen.core import Composition

    return np.array([Composition(formula).reduced_formula for formula in formulas])


def elements_of(formula: str) -> frozenset[str]:
    """The elements of a formula, without their amounts (slide 47)."""
    from pymatgen.core import Composition

    return frozenset(element.symbol for element in Composition(formula).elements)


def chemical_systems(formulas: Sequence[str]) -> np.ndarray:
    """The elements of each formula in alphabetical order, "O-Si" for every silica (slide 47)."""
    return np.array(["-".join(sorted(elements_of(formula))) for formula in formulas])


def chemistry_family(formula: str) -> str:
    """The family by anion, "oxide" for whatever contains O, then halides and so on; "intermetallic" if
    none (slides 47, 50)."""
    elements = elements_of(formula)
    return next((family for family, anions in FAMILIES if elements & anions), "intermetallic")


def prototypes(structures: Sequence[Structure]) -> np.ndarray:
    """The structure type of each crystal: anonymous formula, space group, Wyckoff pattern (slide 47).

    "AB Fm-3m: m-3m, m-3m" is rocksalt. The pattern is the site symmetry of the orbits of each element. The
    letters would not do: they depend on the choice of origin, and one type would get several names. Two types
    that differ only in free coordinates share a name, so a split by it is strict rather than lenient.
    Symmetry within 0.01 Å by pymatgen's SpacegroupAnalyzer, some 3 ms each; kept in the cache folder.
    """
    from mg9.data import cache

    path = cache.folder() / "prototypes.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    keys = [_fingerprint(structure) for structure in structures]
    new = {key: structure for key, structure in zip(keys, structures, strict=True) if key not in known}
    bar = tqdm(new.items(), desc="symmetry", unit="structure", delay=2, leave=False)
    known |= {key: _prototype(structure) for key, structure in bar}
    if len(new) > 100:  # fewer take less than a second
        _write(path, json.dumps(known))
    return np.array([known[key] for key in keys])


def space_group(prototype: str) -> str:
    """ "Fm-3m", the space group in a name of `prototypes` (slide 47)."""
    return prototype.partition(":")[0].split()[-1]


def pooled(groups: Sequence[str], *, least: int = LEAST) -> np.ndarray:
    """Groups with fewer than `least` members become "other": their mean error would be noise (slide 47)."""
    names, which, count = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.where(count < least, "other", names.astype(object))[which].astype(str)


def effective_sample_size(groups: Sequence[str]) -> float:
    """n² / Σ n_g², how many independent rows a sample of n rows in groups of n_g members is worth (slide 47).

    If the members of a group err alike, the mean error is Σ (n_g / n) e_g, with independent e_g of variance
    σ². Its variance is σ² Σ n_g² / n², that of n² / Σ n_g² independent rows: n for groups of one, 1 for one
    group. This is the participation ratio of the group sizes, Kish's effective size with an intraclass
    correlation of one; the truth lies between it and n. ValueError for no rows.
    """
    if len(groups) == 0:
        raise ValueError("no rows: a sample without rows has no effective size")
    count = np.unique(np.asarray(groups), return_counts=True)[1]
    return float(count.sum() ** 2 / (count**2).sum())


def _prototype(structure: Structure) -> str:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    formula = structure.composition.anonymized_formula
    try:
        found = SpacegroupAnalyzer(structure).get_symmetry_dataset()
    except SymmetryUndeterminedError:
        return f"{formula} unknown: symmetry not found"
    orbits: dict[str, dict[int, str]] = {}  # element -> first atom of each orbit -> its site symmetry
    for site, orbit in zip(structure, found.crystallographic_orbits, strict=True):
        orbits.setdefault(site.specie.symbol, {})[int(orbit)] = _symbol(found.site_symmetry_symbols[orbit])
    amounts = structure.composition.get_el_amt_dict()
    pattern = sorted((amounts[element], sorted(of.values())) for element, of in orbits.items())
    return f"{formula} {found.international}: " + ", ".join(" + ".join(sites) for _, sites in pattern)


def _symbol(site_symmetry: str) -> str:
    """Without the dots, and with "2mm" for "m2m": the order of equal axes is a choice of setting."""
    plain = site_symmetry.replace(".", "")
    return "".join(sorted(plain)) if set(plain) <= set("2m") else plain


def _fingerprint(structure: Structure) -> str:
    arrays = (structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:20]


def _write(path, text: str) -> None:
    """A folder that cannot be written costs the next call its time, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError:
        return
