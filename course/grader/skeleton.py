"""`mg9-course new NAME`: an assignment that is complete and passes the self-test, to be changed into yours.

One question with a visible and a hidden check, one written answer, and the self-test's three rewrites and ten
mutants. The templates are course/skeleton/, with NAME for the assignment's name.

Read in order: `TEMPLATES`, `new`.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import mg9

from .build import build
from .ingest import FolderError

PLACE = Path(__file__).parents[1] / "skeleton"
TEMPLATES = {  # template: where it goes
    "notebook.ipynb": "solutions/NAME/NAME.ipynb",
    "checks.py": "mg9/checks/NAME.py",
    "hidden.py": "course/hidden/NAME.py",
    "selftest.toml": "course/selftest/NAME.toml",
}
NEXT = """next:
  1. put your questions in place of the cutoff (CONTRIBUTING.md shows how)
  2. mg9-course build NAME       says which cell departs from the form
  3. course/slides.toml          list "NAME" and each solution cell ("NAME:cutoff") at a slide
  4. mg9-course selftest NAME    right code scores in full, each mistake fails the check that names it"""


def new(root: Path, name: str) -> list[str]:
    """Write the files of the assignment `name` and generate its exercise; returns their names.

    Raises `FolderError` and writes nothing if the name cannot be taken or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,29}", name):
        raise FolderError(
            f"{name!r}: an assignment is called by 2 to 30 lower-case letters, digits and _, a letter first"
        )
    if Path(mg9.__file__).resolve().parents[1] != root.resolve():
        raise FolderError(f"{root} is not where mg9 is installed from: its new checks would not be found")
    files = {root / place.replace("NAME", name): PLACE / template for template, place in TEMPLATES.items()}
    taken = [str(file.relative_to(root)) for file in files if file.exists()]
    if taken:
        raise FolderError(f"{', '.join(taken)} exists already; choose another name")
    for file, template in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(template.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    importlib.invalidate_caches()  # the two modules with checks were not there a moment ago
    return [*(str(file.relative_to(root)) for file in files), *build(root, name)]
