"""The attacks, from their descriptions to a class of submissions on disk.

A corpus is a folder (tests/attacks): solutions/ with the assignment that is attacked, answers.toml (wrong
answers), *.toml with attacks by cell, notebooks.py with attacks by file.

Read in order: `Attack`, `read_corpus`, `write_class`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course.demo.classroom import answers_of, fill
from course.grader.form import FormError, questions, read_source

TARGET = "target"


@dataclass(frozen=True)
class Attack:
    """One submission that tries to get what it does not deserve, and what it must come to."""

    name: str
    tries: str
    kind: str = ""  # the file that describes it
    cells: dict[str, str] = field(default_factory=dict)  # by grade_id
    answers: str = "wrong"  # where `cells` has nothing: "wrong", "right" or "untouched"
    earns: tuple[str, ...] | str = ()  # graded cells that hold rightly; "any": all may, none must
    verdict: str | None = None  # of the submission, None: whichever, as long as it is graded
    absent: tuple[str, ...] = ()  # text that may not stand in any page or table
    unsandboxed: bool = False  # may be run without a sandbox: it harms its own process only
    assignment: str = TARGET
    student: str = ""  # the folder's name
    links: dict[str, str] = field(default_factory=dict)
    write: Callable[[Path, dict], None] | None = None  # writes the student's folder instead

    @property
    def folder(self) -> str:
        """The name of the student's folder."""
        return self.student or re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def read_corpus(place: Path) -> list[Attack]:
    """All attacks of a corpus. Raises `FormError` for a description that does not fit."""
    found: list[Attack] = []
    for file in sorted(place.glob("*.toml")):
        told = tomllib.loads(file.read_text(encoding="utf-8"))
        for entry in told.get("attack", ()):
            found.append(_attack(file.name, {"assignment": told.get("assignment", TARGET)} | entry))
    specification = importlib.util.spec_from_file_location("notebooks", place / "notebooks.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found += [_attack("notebooks.py", entry) for entry in module.ATTACKS]
    names = [attack.folder for attack in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise FormError(f"{place}: two attacks are called {', '.join(sorted(twice))}")
    return found


def _attack(file: str, entry: dict) -> Attack:
    entry = {"kind": file.partition(".")[0]} | entry
    unknown = entry.keys() - Attack.__dataclass_fields__.keys()
    if unknown or not entry.get("tries"):
        raise FormError(f"{file}, attack {entry.get('name')!r}: {', '.join(unknown) or 'tries is missing'}")
    if odd := [name for name, text in entry.get("cells", {}).items() if not isinstance(text, str)]:
        raise FormError(f"{file}, attack {entry['name']!r}: cell {', '.join(odd)} is no text")
    lists = {key: tuple(entry[key]) for key in ("earns", "absent") if isinstance(entry.get(key), list)}
    return Attack(**entry | lists)


def deserved(attack: Attack, source: NotebookNode) -> dict[str, tuple[float, float]]:
    """grade_id -> (least, most) points, for the questions that a check grades."""
    asked = {question.grade_id: question.points for question in questions(source) if question.check}
    if isinstance(attack.earns, tuple) and (unknown := set(attack.earns) - asked.keys()):
        raise FormError(f"attack {attack.name!r} earns {', '.join(unknown)}, which is not graded by a check")
    if attack.earns == "any":
        return {name: (0.0, points) for name, points in asked.items()}
    return {name: (points, points) if name in attack.earns else (0.0, 0.0) for name, points in asked.items()}


def write_class(
    attacks: list[Attack], root: Path, wrong: dict[str, str], folder: Path, places: dict[str, object]
) -> None:
    """FOLDER/<student>/<assignment>/: what each attack hands in, @PLACE@ replaced by `places`.

    `root` is the course whose exercises are attacked, `wrong` the answers that are wrong.
    """
    for attack in attacks:
        name = attack.assignment
        release = nbformat.read(root / "exercises" / name / f"{name}.ipynb", as_version=4)
        right = answers_of(read_source(root, name))
        base = {"wrong": wrong, "right": right, "untouched": {}}[attack.answers]
        if unknown := attack.cells.keys() - right.keys():
            raise FormError(f"attack {attack.name!r}: no solution cell {', '.join(sorted(unknown))}")
        notebook = json.loads(nbformat.writes(fill(release, base | attack.cells)))
        place = folder / attack.folder / name
        place.mkdir(parents=True)
        if attack.write:
            attack.write(place, notebook)
        else:
            (place / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        for link, to in attack.links.items():
            (place / link).symlink_to(to)
        _replace(place, places | {"NAME": attack.folder})


def _replace(place: Path, places: dict[str, object]) -> None:
    for file in place.iterdir():
        if file.is_symlink():
            target = str(file.readlink())
            file.unlink()
            file.symlink_to(_placed(target, places))
        elif file.is_file() and file.stat().st_size < 1_000_000:
            content = file.read_bytes().decode("utf-8", "surrogateescape")
            file.write_bytes(_placed(content, places).encode("utf-8", "surrogateescape"))


def _placed(text: str, places: dict[str, object]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda m: str(places.get(m[1], m[0])), text)
