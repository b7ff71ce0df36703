"""Data sets too large to ship: fetched once, converted once into a file in the cache, then read in a moment.

Energies become eV, forces eV/Å, stresses eV/Å³ with ASE's sign, sigma = +(1/V) dE/d(strain): positive under
tension. Slide 31 prints a minus.
"""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np

from mg9.data.build import Crystal, crystal_members, dataset_members, parse_extxyz, provenance
from mg9.data.cache import folder, member, obtain
from mg9.data.sources import ALIGNN, MATTERSIM, QM9PACK
from mg9.data.store import FORMAT, pack, text, write_atomically

HARTREE = 27.211386245988  # eV, CODATA 2018
KBAR = 1e8 / 1.602176634e11  # eV/Å³: 1 kbar = 1e8 Pa, 1 eV/Å³ = 1.602176634e11 Pa
FORCE_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
SIGN = "stress has ASE's sign, +(1/V) dE/d(strain): positive under tension"
WHOLE = "energy is that of the whole cell"


def path_of(name: str) -> Path:
    """The converted file of mptrj, mlearn or qm9, made if it is not in the cache. Errors as in `obtain`."""
    archive, convert = SETS[name]
    path = folder() / f"{name}-{archive.version}-format{FORMAT}.npz"
    if not path.exists():
        write_atomically(path, pack(convert(obtain(archive))))
    return path


def _mptrj(sdist: Path) -> dict:
    """1,000 frames drawn at random from MPtrj; already in eV, eV/Å and eV/Å³ with ASE's sign."""
    file = "data/benchmarks/mptrj-random-1k.xyz"
    content = member(sdist, f"mattersim-{MATTERSIM.version}/{file}").decode()
    crystals, forces, fields = zip(*parse_extxyz(content), strict=True)
    columns = {
        "trajectory": text([one["mptrj_traj_id"] for one in fields]),
        "energy": np.array([float(one["energy"]) for one in fields]),
    }
    stress = np.array([one["stress"].split() for one in fields], dtype=float).reshape(-1, 3, 3)
    tensors = {"forces": np.concatenate(forces), "stress": stress}
    about = provenance(
        MATTERSIM,
        files=[file],
        citations=["mptrj", "mptrj_sample", "materials_project"],
        licence="MIT",
        notes=["a random thousand of MPtrj's 1.58 million frames; none dropped", WHOLE, SIGN],
    )
    ids = [one["mptrj_snapshot_id"] for one in fields]
    return _members("mptrj", ids, list(crystals), columns, tensors, FORCE_UNITS, about)


def _mlearn(sdist: Path) -> dict:
    """Ni, Cu, Li, Mo, Si, Ge: energies, forces and stresses, in a training and a test part.

    The file of all elements is read, not those of single elements: there the stresses of the test rows are,
    by a slip of the script that made them, those of the first training rows.
    """
    from pymatgen.core import Element

    file = "alignn/examples/sample_data_ff/mlearn_data/all/id_prop.json"
    records = json.loads(member(sdist, f"alignn-{ALIGNN.version}/{file}"))
    frames = {record["jid"]: record for record in records}  # a test row is there twice, its id ends in "a"
    crystals = []
    for frame in frames.values():
        z = [Element(symbol).Z for symbol in frame["atoms"]["elements"]]
        coords, lattice = frame["atoms"]["coords"], frame["atoms"]["lattice_mat"]
        crystals.append(Crystal(z, np.array(coords, dtype=float), np.array(lattice, dtype=float)))
    columns = {
        "element": text([jid.split("-")[0] for jid in frames]),
        "split": text(["test" if jid.endswith("a") else "train" for jid in frames]),
        "energy": np.array([frame["energy"] for frame in frames.values()]),
    }
    tensors = {
        "forces": np.concatenate([np.array(frame["forces"], dtype=float) for frame in frames.values()]),
        "stress": np.array(
            [
                mlearn_stress(frame["stresses"], one)
                for frame, one in zip(frames.values(), crystals, strict=True)
            ]
        ),
    }
    about = provenance(
        ALIGNN,
        files=[file],
        citations=["mlearn"],
        licence="NIST terms of use (package alignn); cite Zuo et al. for the data",
        notes=[
            f"dropped {len(records) - len(frames)} rows: each test row is in the source twice",
            f"{WHOLE} (the source's total_energy is per atom)",
            "stress converted from kbar, its sign reversed, its off-diagonal entries put in their places; in "
            "slabs, where they are small, yz and zx could be exchanged",
            SIGN,
        ],
    )
    ids = [jid.removesuffix("a") for jid in frames]
    return _members("mlearn", ids, crystals, columns, tensors, FORCE_UNITS, about)


def mlearn_stress(source: list[list[float]], crystal: Crystal) -> np.ndarray:
    """(3, 3) kbar as in the file -> (3, 3) eV/Å³ with ASE's sign.

    The file's matrix was filled as if the six numbers were xx yy zz yz zx xy. They are xx yy zz xy zx yz, but
    for lithium and for the sheared cells of silicon and germanium xx yy zz xy yz zx: seen from the strains of
    sheared cells, and from the virial of pair potentials fitted to the forces.
    """
    matrix = np.array(source)
    (xx, yy, zz), xy, fifth, sixth = np.diag(matrix), matrix[1, 2], matrix[0, 2], matrix[0, 1]
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    cosines = crystal.lattice @ crystal.lattice.T / np.outer(lengths, lengths) - np.eye(3)
    sheared = len(crystal.z) == 64 and np.abs(cosines).max() > 0.03
    yz, zx = (fifth, sixth) if crystal.z[0] == 3 or (crystal.z[0] in (14, 32) and sheared) else (sixth, fifth)
    return -KBAR * np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


# The source's column -> ours, its unit, and the factor that leads to it.
QM9_COLUMNS: dict[str, tuple[str, str, float]] = {
    "RotA_GHz": ("A", "GHz", 1.0),
    "RotB_GHz": ("B", "GHz", 1.0),
    "RotC_GHz": ("C", "GHz", 1.0),
    "Dipole_debye": ("mu", "D", 1.0),
    "Polarizability_bohr3": ("alpha", "Bohr³", 1.0),
    "HOMO_au": ("homo", "eV", HARTREE),
    "LUMO_au": ("lumo", "eV", HARTREE),
    "HOMO_LUMO_gap_au": ("gap", "eV", HARTREE),
    "R2_bohr2": ("r2", "Bohr²", 1.0),
    "ZPVE_au": ("zpve", "eV", HARTREE),
    "InternalEnergy_0K_au": ("U0", "eV", HARTREE),
    "InternalEnergy_298K_au": ("U", "eV", HARTREE),
    "Enthalphy_298K_au": ("H", "eV", HARTREE),
    "GibbsFreeEnergy_298K_au": ("G", "eV", HARTREE),
    "Heatcapacity_Cv_cal_mol_K": ("Cv", "cal/(mol K)", 1.0),
}


def _qm9(wheel: Path) -> dict:
    """130,831 small organic molecules of H, C, N, O and F at the B3LYP/6-31G(2df,p) level."""
    from tqdm.auto import tqdm

    number = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
    files = [f"qm9pack/data/qm9_part{part}.csv" for part in (1, 2, 3)]
    ids, smiles, molecules, values = [], [], [], []
    with tqdm(total=130_831, desc="convert qm9", unit="molecule") as bar:
        for file in files:
            for row in csv.DictReader(io.StringIO(member(wheel, file).decode())):
                z = [number[symbol] for symbol in re.findall("[A-Z]", row["Elements"])]
                numbers = row["XYZ_Ang"].replace("[", "").replace("]", "").split(",")
                molecules.append(Crystal(z, np.array(numbers, dtype=float).reshape(-1, 3), None))
                ids.append(row["XYZ_file"].removesuffix(".xyz"))
                smiles.append(row["SMILES"])
                values.append([float(row[column]) for column in QM9_COLUMNS])
                bar.update()
    factors = np.array([factor for _, _, factor in QM9_COLUMNS.values()])
    converted = (np.array(values) * factors).T
    units = {column: unit for column, unit, _ in QM9_COLUMNS.values()}
    columns = {"smiles": text(smiles)} | dict(zip(units, converted, strict=True))
    about = provenance(
        QM9PACK,
        files=files,
        citations=["qm9"],
        licence="MIT",
        notes=[
            "the 3,054 molecules that failed their authors' consistency check are not in the source",
            "converted from Hartree: homo, lumo, gap, zpve, U0, U, H, G; the last four are total energies",
        ],
    )
    return _members("qm9", ids, molecules, columns, {}, units, about)


def _members(name, ids, crystals, columns, tensors, units, about) -> dict:
    rows = dict(block=name, rows=range(len(ids)))
    values = dict(columns=columns, tensors=tensors, units=units, provenance=about)
    return crystal_members(name, ids, crystals) | dataset_members(name, **rows, **values)


SETS = {"mptrj": (MATTERSIM, _mptrj), "mlearn": (ALIGNN, _mlearn), "qm9": (QM9PACK, _qm9)}
