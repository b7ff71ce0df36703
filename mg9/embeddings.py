"""Vectors of crystals in a file, and the crystals that are nearest to one (slide 48).

    mg9 embed *.cif -o vectors.npz
    found = Embeddings.read("vectors.npz")
    found.nearest("quartz.cif", k=3)                 [(name, formula, distance), ...]

Unit 10 studies such vectors. Read in order: `read_structures`, `Embeddings`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mg9.a_crystal import read_crystal
from mg9.a_errors import UnreadableFile
from mg9.data.store import write_atomically

if TYPE_CHECKING:
    from pymatgen.core import Structure

MANY = (".xyz", ".extxyz")  # files that hold several crystals
FORMATS = (".npz", ".csv")


def read_structures(paths: Sequence[str | Path]) -> tuple[list[str], list[Structure]]:
    """Names and crystals of files: CIF, POSCAR and what else pymatgen reads, one crystal each, or extended
    xyz with any number, "run.xyz:0" being the first (slide 48).

    Errors: `UnreadableFile`, also for a frame of an xyz file that is not periodic in three directions.
    """
    found: dict[str, Structure] = {}
    for path in map(Path, paths):
        if path.suffix.lower() in MANY:
            found |= {f"{path}:{k}": one for k, one in enumerate(_frames(path))}
        else:
            found[str(path)] = read_crystal(path)
    return list(found), list(found.values())


def _frames(path: Path) -> list[Structure]:
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    try:
        frames = read(path, index=":", format="extxyz")
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnreadableFile(f"{path}: not readable as extended xyz ({reason})") from error
    for k, atoms in enumerate(frames):
        if not atoms.pbc.all():
            raise UnreadableFile(
                f'{path}:{k} is not periodic in three directions; give it a Lattice and pbc="T T T"'
            )
    return [AseAtomsAdaptor.get_structure(atoms) for atoms in frames]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """M crystals with a vector each (slide 48).

    names, formulas (M,); vectors (M, F), without a unit; backbone: what made them. Vectors of two backbones,
    or of two trainings of one, do not compare.
    """

    names: np.ndarray
    formulas: np.ndarray
    vectors: np.ndarray
    backbone: str

    def save(self, path: str | Path) -> None:
        """As .npz, or as .csv with a row for each crystal. Errors: ValueError for another ending."""
        path, content = Path(path), io.BytesIO()
        if path.suffix == ".npz":
            np.savez_compressed(content, **self.__dict__)
        elif path.suffix == ".csv":
            text = io.StringIO(newline="")
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(
                ["name", "formula", *(f"{self.backbone}:{k}" for k in range(self.vectors.shape[1]))]
            )
            for name, formula, vector in zip(self.names, self.formulas, self.vectors, strict=True):
                rows.writerow([name, formula, *(repr(float(x)) for x in vector)])
            content.write(text.getvalue().encode())
        else:
            raise ValueError(f"{path}: vectors are written as {' or '.join(FORMATS)}; name the file so")
        write_atomically(path, content.getvalue())

    @classmethod
    def read(cls, path: str | Path) -> Embeddings:
        """What `save` has written. Errors: ValueError for another file."""
        path = Path(path)
        try:
            if path.suffix == ".npz":
                with np.load(path) as file:
                    return cls(file["names"], file["formulas"], file["vectors"], str(file["backbone"]))
            with path.open(encoding="utf-8", newline="") as file:
                head, *rows = csv.reader(file)
            names, formulas = (np.array([row[k] for row in rows]) for k in (0, 1))
            vectors = np.array([[float(x) for x in row[2:]] for row in rows])
            return cls(names, formulas, vectors, head[2].rpartition(":")[0])
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"{path} holds no embeddings ({error}); make it with mg9 embed") from None

    def nearest(self, crystal: str | np.ndarray, *, k: int = 5) -> list[tuple[str, str, float]]:
        """(name, formula, distance) of the k crystals nearest to one of these, which is left out, or to any
        vector (F,), nearest first (slide 48).

        Each feature is divided by its standard deviation over these crystals, so that the largest do not
        decide alone; the distance is the root mean square over the features: 1 is an ordinary difference.
        Errors: KeyError for a name that is not among them.
        """
        others = np.ones(len(self.names), dtype=bool)
        if isinstance(crystal, str):
            if crystal not in self.names:
                raise KeyError(f"no crystal {crystal!r} among these {len(self.names)}; .names has them")
            others = self.names != crystal
            crystal = self.vectors[~others][0]
        spread = self.vectors.std(axis=0)
        away = (self.vectors - np.asarray(crystal)) / np.where(spread > 0, spread, 1.0)
        distance = np.sqrt(np.square(away).mean(axis=1))
        order = [row for row in np.argsort(distance, kind="stable") if others[row]][:k]
        return [(str(self.names[row]), str(self.formulas[row]), float(distance[row])) for row in order]
