"""Real data for every lecture and exercise: `from mg9 import data`, then `data.formation_energy()`.

Shipped with the package: formation_energy, band_gap, elasticity, dielectric, piezoelectricity,
nanoindentation, and the element tables of CGCNN and of Magpie. Fetched once into a cache folder (MG9_CACHE,
or ~/.cache/mg9): mptrj, mlearn, qm9.

    ds = data.formation_energy()
    ds.table            pandas: index material_id; formula, formation_energy_per_atom, e_above_hull, nsites
    ds.units            {"formation_energy_per_atom": "eV/atom", ...}
    ds.structure("mp-10")
    ds.provenance       source, citations, licence, what was dropped

A tenth of the chemical systems is blind: `data.blind("formation_energy")` has their structures and no labels.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from mg9.data.dataset import Dataset, Provenance, read

__all__ = [
    "BLIND",
    "Dataset",
    "Provenance",
    "atom_table",
    "band_gap",
    "blind",
    "dielectric",
    "elasticity",
    "formation_energy",
    "magpie_table",
    "mlearn",
    "mptrj",
    "nanoindentation",
    "piezoelectricity",
    "qm9",
]

SHIPPED = Path(__file__).with_name("shipped.npz")
BLIND = ("formation_energy", "band_gap")  # the data sets with a blind part


def formation_energy() -> Dataset:
    """3,538 Materials Project crystals: formation_energy_per_atom and e_above_hull (eV/atom), nsites.

    Slides 04, 19-25 and 50. Faber et al. 2015, doi:10.1002/qua.24917.
    """
    return read(SHIPPED, "formation_energy")


def band_gap() -> Dataset:
    """951 Materials Project crystals: band_gap (eV), nsites. Slide 50. Petousis et al. 2017."""
    return read(SHIPPED, "band_gap")


def blind(name: str) -> Dataset:
    """The crystals of `name` (formation_energy or band_gap) whose labels students do not get.

    Table: formula, nsites. Whole chemical systems, the same ones in both. ValueError for another name.
    """
    if name not in BLIND:
        raise ValueError(f"no blind part of {name!r}: choose one of {', '.join(BLIND)}")
    return read(SHIPPED, f"blind_{name}")


def elasticity() -> Dataset:
    """1,181 crystals: moduli K_*, G_* (GPa), elastic_anisotropy, poisson_ratio, space_group, nsites.

    Tensors (6, 6) in GPa: elastic_tensor (a standard orientation), elastic_tensor_original (the structure's).
    de Jong et al. 2015, doi:10.1038/sdata.2015.9.
    """
    return read(SHIPPED, "elasticity")


def dielectric() -> Dataset:
    """1,056 crystals: n, poly_electronic, poly_total (plain numbers), space_group, nsites.

    Tensors (3, 3): e_electronic, e_total. Petousis et al. 2017, doi:10.1038/sdata.2016.134.
    """
    return read(SHIPPED, "dielectric")


def piezoelectricity() -> Dataset:
    """941 crystals: eij_max (C/m²), point_group, space_group, nsites.

    Tensor (3, 6) in C/m²: piezoelectric_tensor, in a standard orientation, not the structure's.
    de Jong et al. 2015, doi:10.1038/sdata.2015.53.
    """
    return read(SHIPPED, "piezoelectricity")


def nanoindentation() -> Dataset:
    """938 indents in Cu/Cr composites: chromium (%, the class), youngs_modulus and hardness (GPa).

    Measurements: no structures. MDS5, Zhang et al. 2023, arXiv:2309.06613.
    """
    return read(SHIPPED, "nanoindentation")


@lru_cache(maxsize=1)
def atom_table() -> np.ndarray:
    """(100, 92) of 0. and 1., read-only: row z - 1 is element z's initial feature vector in CGCNN, slide 20.

    Nine properties in one-hot bins (group, period, electronegativity, covalent radius, valence electrons,
    ionisation energy, electron affinity, block, atomic volume). Xie & Grossman 2018,
    doi:10.1103/PhysRevLett.120.145301.
    """
    from mg9.data.store import Store

    table = Store(SHIPPED)["atom_table"].astype(float)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=1)
def magpie_table() -> np.ndarray:
    """(112, 22), read-only: row z - 1 holds element z's properties behind the Magpie features, slide 07.

    The columns and their units are `mg9.data.sources.MAGPIE`; NaN where the source knows nothing, such as the
    electronegativity of neon. Beyond plutonium the source repeats plutonium's GSvolume_pa, GSbandgap and
    GSmagmom. Ward et al. 2016, doi:10.1038/npjcompumats.2016.28.
    """
    from mg9.data.store import Store

    return Store(SHIPPED)["magpie_table"]


def _fetched(name: str) -> Dataset:
    from mg9.data.fetched import path_of

    return read(path_of(name), name)


def mptrj() -> Dataset:
    """1,000 random frames of MPtrj: energy (eV, whole cell), trajectory.

    Tensors forces (eV/Å) and stress (eV/Å³, ASE's sign). Slide 31. Fetched once (27 MB); FetchError says what
    to do without a network. Deng et al. 2023, doi:10.1038/s42256-023-00716-3.
    """
    return _fetched("mptrj")


def mlearn() -> Dataset:
    """1,566 frames of Ni, Cu, Li, Mo, Si, Ge: element, split (train or test), energy (eV, whole cell).

    Tensors forces (eV/Å) and stress (eV/Å³, ASE's sign). Fetched once (7 MB). Slide 31. Zuo et al. 2020.
    """
    return _fetched("mlearn")


def qm9() -> Dataset:
    """130,831 molecules: smiles, fifteen properties (energies in eV); `structure(id)` is a pymatgen Molecule.

    Fetched once (104 MB), then converted (half a minute). Slides 12-18. Ramakrishnan et al. 2014.
    """
    return _fetched("qm9")
