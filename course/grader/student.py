"""`mg9-course package`: what students install, as one folder and one .zip; nothing else of the course.

mg9 without the script that rebuilds its data, the lectures with their figures, the exercises, the first
notebook, and a lock of their own: the part of requirements.lock that mg9 needs.

Read in order: `FILES`, `package`, `lock`, `archive`.
"""

from __future__ import annotations

import json
import shutil
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .ingest import FolderError

HERE = Path(__file__).parents[1] / "student"
FILES = (  # patterns in the course's folder; the place stays the same
    *("mg9/**/*.py", "mg9/data/*.npz", "lectures/*.ipynb", "exercises/*/*", "start.ipynb"),
    *("course/figures/*", "course/notation.md", "course/references.bib", "course/slides.toml"),
    *("benchmarks/evaluation.csv", "LICENSE", "CITATION.cff"),
)
NOT = {"mg9/data/curate.py"}  # rebuilds the data, with the labels that are blind
BUILD = "setuptools"  # with which pip makes the package
YEAR = (2026, 1, 1, 0, 0, 0)  # of each file in the archive, so that equal files make equal archives
PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "mg9"
version = {version}
description = {description}
requires-python = {python}
license = "MIT"
license-files = ["LICENSE"]
dependencies = {dependencies}

[project.scripts]
mg9 = "mg9.cli:main"

[tool.setuptools.packages.find]
include = ["mg9", "mg9.*"]
namespaces = false

[tool.setuptools.package-data]
mg9 = ["data/*"]
"""


def package(root: Path, folder: Path) -> list[str]:
    """Write the student package into FOLDER, which is emptied; returns its files. Raises `FolderError`."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "start.ipynb").is_file():
        raise FolderError(f"{folder} holds something else than a student package; choose another with --out")
    shutil.rmtree(folder, ignore_errors=True)
    for pattern in FILES:
        for file in sorted(root.glob(pattern)):
            name = file.relative_to(root).as_posix()
            if file.is_file() and name not in NOT and not any(p.startswith(".") for p in file.parts):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, folder / name)
    for file in HERE.iterdir():
        shutil.copyfile(file, folder / file.name)
    (folder / "requirements.lock").write_text(lock(root), encoding="utf-8")
    (folder / "pyproject.toml").write_text(project(root), encoding="utf-8")
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def project(root: Path) -> str:
    """pyproject.toml of the student package: mg9 alone."""
    import mg9

    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return PROJECT.format(
        version=json.dumps(mg9.__version__),
        description=json.dumps(told["description"]),
        python=json.dumps(told["requires-python"]),
        dependencies=json.dumps(told["dependencies"], indent=4),
    )


def lock(root: Path) -> str:
    """The lines of requirements.lock that mg9 needs, directly or not. Raises `FolderError`."""
    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed, waiting = set(), [Requirement(line) for line in (*told["dependencies"], BUILD)]
    while waiting:
        one = waiting.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in needed:
            continue
        needed.add(key)
        for line in requires(one.name) or ():
            inner = Requirement(line)
            extras = one.extras or {""}
            if not inner.marker or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
    names = {name for name, _ in needed}
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if canonicalize_name(line.partition("==")[0]) in names]
    missing = names - {canonicalize_name(line.partition("==")[0]) for line in kept}
    if missing:
        raise FolderError(f"requirements.lock lacks {', '.join(sorted(missing))}; run `make lock`")
    return "# What mg9 needs, at the versions that the course was tested with.\n" + "\n".join(kept) + "\n"


def archive(folder: Path) -> Path:
    """FOLDER.zip, with the folder in it. Equal files make an equal archive."""
    file = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            about = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", YEAR)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            target.writestr(about, path.read_bytes())
    return file
