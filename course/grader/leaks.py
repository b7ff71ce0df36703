"""What students must not get, searched for in a folder: solutions, rubrics, hidden checks, blind labels.

Text is compared without its white space, so another indent or line length hides nothing. A table of labels is
found by its numbers, in text beside the crystal's id or in full, in .npz files by value.

Read in order: `leaks`, `secrets`, `_labels`.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
from tqdm import tqdm

from course import blind

from .form import BEGIN, assignments, grade_id, is_solution, source_file

MARKERS = ("### BEGIN SOLUTION", BEGIN)
SHORTEST = 60  # characters without white space: less may stand anywhere
NEAR = 120  # characters behind a crystal's id in which its label counts
CODE = (  # what only instructors have
    *("course/hidden/*.py", "course/blind/*.py", "course/selftest/*.py", "course/grader/*.py"),
    "mg9/data/curate.py",
)


def leaks(folder: Path, root: Path) -> list[str]:
    """A line for each thing of `root` that a file of `folder` holds and should not: "file: what"."""
    known, labels, found = secrets(root), _labels(), []
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in tqdm(files, desc="leaks", unit="file", leave=False, disable=None):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".npz":
            found += [f"{name}: {what}" for what in _labels_in(file, labels)]
            continue
        text = _text(file)
        bare = re.sub(r"\s", "", text)
        found += [f"{name}: {what}" for secret, what in known.items() if secret in bare]
        found += [f"{name}: {what}" for what in _labels_near(text, labels)]
    return found


def secrets(root: Path) -> dict[str, str]:
    """Text without white space -> what it is."""
    found = {re.sub(r"\s", "", marker): f"the marker {marker!r}" for marker in MARKERS}
    for assignment in assignments(root):
        for cell in nbformat.read(source_file(root, assignment), as_version=4).cells:
            what = f"the solution {assignment}:{grade_id(cell)}"
            parts = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, flags=re.S)
            for text in (*parts, re.sub(r"### (BEGIN|END) SOLUTION\n?", "", cell.source)):
                if is_solution(cell):
                    found[re.sub(r"\s", "", text)] = what
    for file in root.glob("course/selftest/*.toml"):
        for rewrite in tomllib.loads(file.read_text(encoding="utf-8")).get("rewrite", ()):
            for name, text in rewrite["cells"].items():
                found[re.sub(r"\s", "", text)] = f"a solution of {file.stem}:{name}"
    for file in (path for pattern in CODE for path in root.glob(pattern)):
        source = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                text = re.sub(r"\s", "", ast.get_source_segment(source, node))
                found[text] = f"{node.name} of {file.relative_to(root)}"
    short = {text for text in found if len(text) < SHORTEST and "###" not in text}
    return {text: what for text, what in found.items() if text not in short}


def _text(file: Path) -> str:
    """What the file says; of a notebook the cells and what they printed, without JSON's quoting."""
    text = file.read_bytes().decode("utf-8", errors="replace")
    if file.suffix != ".ipynb":
        return text
    return text + "\n".join(_strings(json.loads(text)))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        yield "".join(value)  # the lines of one text
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _labels() -> dict[str, dict[str, float]]:
    """Quantity -> id -> blind label."""
    tables = {"formation_energy": "formation_energy_per_atom", "band_gap": "band_gap"}
    return {column: blind.labels(name)[column].to_dict() for name, column in tables.items()}


def _labels_near(text: str, labels: dict[str, dict[str, float]]) -> Iterator[str]:
    """Labels that stand behind their crystal's id, or with all their digits anywhere."""
    for quantity, of in labels.items():
        full = {str(value)[:12]: name for name, value in of.items() if len(str(value)) >= 12}
        hits = {full[number] for number in re.findall(r"(?=(-?\d\.\d{9,10}))", text) if number in full}
        for match in re.finditer(r"mp-\d+(?!\d)", text):
            if match[0] in of:
                numbers = re.findall(r"-?\d+\.\d+", text[match.end() : match.end() + NEAR])
                close = (abs(float(number) - of[match[0]]) < 0.006 for number in numbers)
                hits |= {match[0]} if any(close) else set()
        if hits:
            yield f"blind labels ({quantity}) of {len(hits)} crystals, {min(hits)} for one"


def _labels_in(file: Path, labels: dict[str, dict[str, float]]) -> Iterator[str]:
    """Arrays that hold a tenth of the formation energies, in single or double precision; and any numbers of a
    blind table. Band gaps have two decimals: by value they are everywhere."""
    truth = np.array(list(labels["formation_energy_per_atom"].values()))
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
    with np.load(file, allow_pickle=False) as arrays:
        for name in names:
            array = arrays[name.removesuffix(".npy")]
            if array.dtype.kind != "f":
                continue
            values = np.unique([-np.inf, *array[np.isfinite(array)].astype(float), np.inf])
            at = np.searchsorted(values, truth)
            gap = np.minimum(abs(values[at] - truth), abs(values[at - 1] - truth))
            if name.startswith("blind_") or np.mean(gap < 1e-6) > 0.1:
                yield f"blind labels in {name}"
