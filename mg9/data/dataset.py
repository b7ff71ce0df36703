"""What every function of mg9.data returns: a table with units and provenance, and structures on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mg9.data.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Molecule, Structure


@dataclass(frozen=True)
class Provenance:
    """Where a data set comes from; quote `citations` and `licence` wherever its numbers are shown."""

    package: str  # name and version of the source package
    archive: str  # file name of the pinned archive
    sha256: str  # of that archive
    files: tuple[str, ...]  # inside the archive
    citations: tuple[str, ...]
    licence: str
    notes: tuple[str, ...]  # conventions, conversions, and what was dropped and why


@dataclass(frozen=True, eq=False)
class Crystals:
    """M crystals (or molecules) with A atoms in all, one after another."""

    material_id: np.ndarray  # (M,)
    formula: np.ndarray  # (M,)
    start: np.ndarray  # (M + 1,) first atom of each; the last entry is A
    coords: np.ndarray  # (A, 3) fractional; Cartesian in Å where lattice is None
    z: np.ndarray  # (A,) atomic numbers
    lattice: np.ndarray | None  # (M, 3, 3) rows a, b, c in Å; None: molecules

    @classmethod
    def read(cls, store: Store, block: str) -> Crystals:
        column = {
            name: store[f"crystals/{block}/{name}"] for name in ("material_id", "formula", "coords", "z")
        }
        start = np.concatenate([[0], np.cumsum(store[f"crystals/{block}/natoms"], dtype=np.int64)])
        periodic = f"crystals/{block}/lattice" in store.names()
        return cls(**column, start=start, lattice=store[f"crystals/{block}/lattice"] if periodic else None)

    def structure(self, row: int) -> Structure | Molecule:
        from pymatgen.core import Molecule, Structure

        atoms = slice(self.start[row], self.start[row + 1])
        z, coords = self.z[atoms].tolist(), self.coords[atoms]
        return Molecule(z, coords) if self.lattice is None else Structure(self.lattice[row], z, coords)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A table of materials, their structures, and the tensors that do not fit into a table.

    table       pandas DataFrame, index "material_id", one row for each material; yours to change
    units       column or tensor name -> unit, "1" where it is a plain number
    provenance  source, citations, licence, conventions, what was dropped

    `len(dataset)` is the number of rows. Slide 04 (what a crystal is to a computer).
    """

    name: str
    table: pd.DataFrame
    units: dict[str, str]
    provenance: Provenance
    crystals: Crystals | None
    rows: np.ndarray  # (n,) the crystal of each row of the table as it was loaded
    _ids: tuple[str, ...]
    _tensors: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} [{unit}]" for name, unit in self.units.items())
        return f"{self.name}: {len(self):,} rows; {columns}; from {self.provenance.package}"

    def structure(self, material_id: str) -> Structure | Molecule:
        """One pymatgen Structure (a Molecule in qm9). KeyError: unknown id; ValueError: no structures."""
        return self.structures([material_id])[0]

    def structures(self, ids: Iterable[str] | None = None) -> list[Structure | Molecule]:
        """pymatgen structures of `ids` in their order, or of all rows in the table's order.

        Built anew at each call (half a second for all of formation_energy): keep it. Errors: see
        `structure`.
        """
        if self.crystals is None:
            raise ValueError(
                f"{self.name} is a table of measurements and has no structures; read {self.name}().table"
            )
        from tqdm.auto import tqdm

        rows = self.rows[self._positions(ids)]
        bar = {"desc": f"structures of {self.name}", "unit": "structure", "delay": 2, "leave": False}
        few = len(rows) < 100  # quick, and a notebook would get the messages of a bar all the same
        return [self.crystals.structure(row) for row in tqdm(rows, disable=few, **bar)]

    def tensors(self, name: str, ids: Iterable[str] | None = None) -> np.ndarray | list[np.ndarray]:
        """A tensor column: an array (rows, ...), or for one that belongs to atoms a list of (N, 3) arrays.

        KeyError, with the names there are, for an unknown column or id.
        """
        if name not in self._tensors:
            known = ", ".join(self._tensors) or "none"
            raise KeyError(f"{self.name} has no tensor {name!r}; it has: {known}")
        values, positions = self._tensors[name], self._positions(ids)
        if self.crystals is None or len(values) != len(self.crystals.z):
            return values[positions]
        start = self.crystals.start
        return [values[start[row] : start[row + 1]] for row in self.rows[positions]]

    def _positions(self, ids: Iterable[str] | None) -> np.ndarray:
        if ids is None:
            return np.arange(len(self))
        where = _index(self._ids)
        ids = [ids] if isinstance(ids, str) else list(ids)
        unknown = [material_id for material_id in ids if material_id not in where]
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise KeyError(
                f"no {unknown[0]!r}{more} in the data set {self.name}; its ids are in .table.index"
            )
        return np.array([where[material_id] for material_id in ids], dtype=np.int64)


@lru_cache(maxsize=16)
def _index(ids: tuple[str, ...]) -> dict[str, int]:
    return {material_id: position for position, material_id in enumerate(ids)}


@lru_cache(maxsize=8)
def _crystals(path: Path, block: str) -> Crystals:
    return Crystals.read(Store(path), block)


def read(path: Path, name: str) -> Dataset:
    """The data set `name` of a file that `mg9.data.store.pack` made. The table is a fresh copy each time."""
    import pandas as pd

    store = Store(path)
    meta = store.meta(name)
    crystals = _crystals(path, meta["crystals"]) if meta["crystals"] else None
    if crystals is None:
        ids, columns, rows = store[f"{name}/material_id"], {}, np.arange(0)
    else:
        rows = store[f"{name}/rows"]
        ids, columns = crystals.material_id[rows], {"formula": crystals.formula[rows]}
    columns |= {column: store[f"{name}/{column}"] for column in meta["columns"]}
    if crystals is not None:
        columns["nsites"] = np.diff(crystals.start)[rows]
    ids = tuple(ids.tolist())
    provenance = {key: tuple(v) if isinstance(v, list) else v for key, v in meta["provenance"].items()}
    return Dataset(
        name=name,
        table=pd.DataFrame(columns, index=pd.Index(ids, name="material_id")),
        units=meta["units"],
        provenance=Provenance(**provenance),
        crystals=crystals,
        rows=rows,
        _ids=ids,
        _tensors={tensor: store[f"{name}/{tensor}"] for tensor in meta["tensors"]},
    )
