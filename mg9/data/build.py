"""Foreign text -> crystals, and crystals and columns -> the members of a data file (see `mg9.data.store`).

Foreign text is read as literals and numbers; it is never evaluated.
"""

import ast
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mg9.data.cache import Archive
from mg9.data.sources import CITATIONS
from mg9.data.store import text


class Crystal(NamedTuple):
    """A crystal, or with `lattice` None a molecule."""

    z: Sequence[int]  # (N,) atomic numbers
    coords: np.ndarray  # (N, 3) fractional; Cartesian in Å for a molecule
    lattice: np.ndarray | None  # (3, 3) rows a, b, c in Å


def formula_of(z: Iterable[int], *, molecule: bool = False) -> str:
    """The reduced formula of a crystal (SiO2), the whole one of a molecule (C2H4)."""
    from pymatgen.core import Composition

    numbers, counts = np.unique(list(z), return_counts=True)
    composition = Composition(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    return composition.hill_formula.replace(" ", "") if molecule else composition.reduced_formula


def crystal_members(block: str, ids: list[str], crystals: list[Crystal]) -> dict[str, np.ndarray]:
    """The columns that data sets share: ids, formulas, atoms, cells."""
    keys = [tuple(sorted(crystal.z)) for crystal in crystals]
    molecules = crystals[0].lattice is None
    formulas = {key: formula_of(key, molecule=molecules) for key in sorted(set(keys))}
    columns = {
        "material_id": text(ids),
        "formula": text([formulas[key] for key in keys]),
        "natoms": np.array([len(key) for key in keys], dtype=np.int32),
        "z": np.concatenate([crystal.z for crystal in crystals]).astype(np.uint8),
        "coords": np.concatenate([crystal.coords for crystal in crystals]),
    }
    if not molecules:
        columns["lattice"] = np.array([crystal.lattice for crystal in crystals])
    return {f"crystals/{block}/{key}": value for key, value in columns.items()}


def dataset_members(
    name: str,
    *,
    block: str | None,
    rows: Sequence[int],
    columns: dict[str, np.ndarray],
    tensors: dict[str, np.ndarray],
    units: dict[str, str],
    provenance: dict,
) -> dict[str, np.ndarray | str]:
    """One data set: `rows` of the crystals in `block`, with a column entry and a tensor for each."""
    units = units | ({"nsites": "1"} if block else {})
    meta = {"crystals": block, "columns": list(columns), "tensors": list(tensors), "units": units}
    members = columns | tensors | {"rows": np.array(rows, dtype=np.int32)}
    members["meta"] = json.dumps(meta | {"provenance": provenance}, ensure_ascii=False)
    return {f"{name}/{key}": value for key, value in members.items()}


def provenance(
    archive: Archive, *, files: list[str], citations: Iterable[str], licence: str, notes: list[str]
) -> dict:
    """The fields of `mg9.data.Provenance`; `citations` are keys of CITATIONS."""
    about = {"package": str(archive), "archive": archive.file, "sha256": archive.sha256, "files": files}
    return about | {"citations": [CITATIONS[key] for key in citations], "licence": licence, "notes": notes}


def parse_dict(source: str) -> Crystal:
    """A pymatgen dictionary as printed by Python. ValueError for a partly occupied site."""
    from pymatgen.core import Element

    found = ast.literal_eval(source)
    z = []
    for number, site in enumerate(found["sites"]):
        species = site["species"]
        if len(species) != 1 or species[0]["occu"] != 1:
            raise ValueError(f"site {number} is partly occupied")
        z.append(Element(species[0]["element"]).Z)
    coords = np.array([site["abc"] for site in found["sites"]], dtype=float)
    return Crystal(z, coords, np.array(found["lattice"]["matrix"], dtype=float))


def parse_poscar(source: str) -> Crystal:
    """VASP's POSCAR with scale 1 and fractional coordinates. ValueError for anything else."""
    from pymatgen.core import Element

    lines = [line.split() for line in source.splitlines()]
    if float(lines[1][0]) != 1 or lines[7] != ["direct"]:
        raise ValueError("not a POSCAR at scale 1 in fractional coordinates")
    z = []
    for symbol, count in zip(lines[5], lines[6], strict=True):
        z += [Element(symbol).Z] * int(count)
    sites = lines[8 : 8 + len(z)]
    if len(sites) != len(z):
        raise ValueError(f"{len(z)} atoms announced, {len(sites)} given")
    coords = np.array([site[:3] for site in sites], dtype=float)
    return Crystal(z, coords, np.array(lines[2:5], dtype=float))


def parse_extxyz(source: str) -> Iterable[tuple[Crystal, np.ndarray, dict[str, str]]]:
    """Frames with positions and forces: the crystal, forces (N, 3) in eV/Å, the fields of the header."""
    from pymatgen.core import Element

    lines, at = source.splitlines(), 0
    while at < len(lines):
        count, header = int(lines[at]), lines[at + 1]
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', header)
        fields = {key: quoted or plain for key, quoted, plain in pairs}
        if fields["Properties"] != "species:S:1:pos:R:3:forces:R:3":
            raise ValueError(f"line {at + 2}: unknown layout {fields['Properties']}")
        atoms = [line.split() for line in lines[at + 2 : at + 2 + count]]
        numbers = np.array([atom[1:7] for atom in atoms], dtype=float)
        lattice = np.array(fields["Lattice"].split(), dtype=float).reshape(3, 3)
        coords = numbers[:, :3] @ np.linalg.inv(lattice)
        yield Crystal([Element(atom[0]).Z for atom in atoms], coords, lattice), numbers[:, 3:], fields
        at += 2 + count
