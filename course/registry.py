"""The course's registry: what each slide became, and where each quoted figure comes from.

Three files hold it, each made to be read and edited by hand:

    slides.toml       slide -> title, learning outcomes, symbols of mg9, lecture, exercise, test, papers
    literature.toml   every figure that the slides quote, beside what its source says
    references.bib    the papers

Docstrings refer to them as "slide 21", "slides 05, 11 and 17", "slides 19-25" or "slides 19 to 25", and as
[xie2018cgcnn] or [xie2018cgcnn, Eq. 5]. `references_in` finds these; tests/test_registry.py resolves them in
both directions.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import tomllib
from collections import Counter
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

COURSE = Path(__file__).resolve().parent
REASONS = ("recap", "context", "claims", "not implemented in this version")  # how a no_code sentence begins

_NUMBER = r"\d\d(?!\d)"
_SLIDES = re.compile(
    rf"\bslide\s+({_NUMBER})|\bslides\s+({_NUMBER}(?:\s*(?:,|-|\bto\b|\band\b)\s*{_NUMBER})*)", re.I
)
_RANGE = re.compile(rf"({_NUMBER})(?:\s*(?:-|\bto\b)\s*({_NUMBER}))?")
_PAPER = re.compile(r"\[([a-z]+\d{4}[a-z0-9]*)(?:,\s[^\]]*)?\]")
_ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", re.M | re.S)
_FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},$", re.M)


@dataclass(frozen=True)
class Slide:
    """One slide of the deck. Lists are empty and strings "" where slides.toml says nothing."""

    id: str
    section: str
    title: str
    outcome: tuple[int, ...] = ()
    symbols: tuple[str, ...] = ()  # "a_crystal.crystal_graph", or "a_crystal" for the whole file
    no_code: str = ""  # why the subject of the slide has no code; begins with one of REASONS
    lecture: str = ""  # a notebook
    exercise: tuple[str, ...] = ()  # "cgcnn" or "cgcnn:grade_id"
    test: tuple[str, ...] = ()  # "tests/test_file.py::test_name"
    papers: tuple[str, ...] = ()  # keys of references.bib


@dataclass(frozen=True)
class Figure:
    """One figure that the slides quote, beside what its source says."""

    key: str
    slide: tuple[str, ...]
    says: str  # what the slide prints
    quantity: str
    value: float | tuple[float, ...] | str  # what the source says; two numbers are a range
    source: str  # a key of references.bib, or "deck" / "unit8" where no paper is named
    verified: bool  # read in the source itself, not second-hand
    checked: str  # what was read
    unit: str = ""
    data: str = ""
    train: int = 0  # training examples; 0 where it does not apply
    split: str = ""
    where: str = ""  # table, section or equation in the source
    differs: str = ""  # in what the slide and its source disagree


@dataclass(frozen=True)
class Reference:
    """What one docstring refers to."""

    name: str  # "" for the module, "CGCNN", "CGCNN.forward"
    line: int
    slides: tuple[str, ...]
    papers: tuple[str, ...]
    public: bool


def slides() -> dict[str, Slide]:
    """All slides by id, "01" to "50". Errors: ValueError for an unknown or a missing key."""
    return {id: _build(Slide, {"id": id, **table}) for id, table in _toml("slides.toml")["slide"].items()}


def sections() -> dict[str, str]:
    """The deck's sections, "0" and "A" to "H", with their titles."""
    return _toml("slides.toml")["sections"]


def outcomes() -> dict[int, str]:
    """The eight learning outcomes of slide 03, in short."""
    return {int(number): text for number, text in _toml("slides.toml")["outcomes"].items()}


def literature() -> dict[str, Figure]:
    """All quoted figures by key. Errors: ValueError for an unknown or a missing key."""
    return {key: _build(Figure, {"key": key, **table}) for key, table in _toml("literature.toml").items()}


def bibliography() -> dict[str, dict[str, str]]:
    """The entries of references.bib by key, each with its fields and "type"."""
    text = (COURSE / "references.bib").read_text(encoding="utf-8")
    return {key: {"type": kind, **dict(_FIELD.findall(body))} for kind, key, body in _ENTRY.findall(text)}


def slides_named(text: str) -> tuple[str, ...]:
    """The ids in "slide 21", "slides 05, 11 and 17", "slides 19-25"; a range leaves out the unused 40."""
    found: list[str] = []
    for one, several in _SLIDES.findall(text):
        for first, last in _RANGE.findall(one or several):
            numbers = range(int(first), int(last or first) + 1)
            found += [f"{n:02d}" for n in numbers if n != 40 or not last]
    return tuple(dict.fromkeys(found))


def papers_cited(text: str) -> tuple[str, ...]:
    """The keys in [xie2018cgcnn] and [xie2018cgcnn, Eq. 5]."""
    return tuple(dict.fromkeys(_PAPER.findall(text)))


def references_in(path: Path) -> list[Reference]:
    """What the docstrings of a file refer to: the module's first, then every class, function and method."""

    def visit(node: ast.AST, prefix: str, public: bool):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = prefix + child.name
                seen = public and not child.name.startswith("_")
                yield reference(child, name, seen)
                if isinstance(child, ast.ClassDef):
                    yield from visit(child, name + ".", seen)
            elif isinstance(child, ast.If | ast.Try):
                yield from visit(child, prefix, public)

    def reference(node: Any, name: str, public: bool) -> Reference:
        text = ast.get_docstring(node) or ""
        return Reference(name, getattr(node, "lineno", 1), slides_named(text), papers_cited(text), public)

    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [reference(tree, "", True), *visit(tree, "", True)]


def summary() -> str:
    """How many slides have code, and why the others have none, in one line."""
    deck = slides().values()
    why = Counter(s.no_code.partition(":")[0] for s in deck if s.no_code)
    reasons = ", ".join(f"{count} {reason}" for reason, count in why.items())
    return f"{len(deck)} slides: {len(deck) - why.total()} with code, {why.total()} without ({reasons})"


def main() -> None:
    """Print the slide map."""
    parser = argparse.ArgumentParser(
        prog="python -m course.registry",
        description="Print what each slide became: symbols of mg9, exercises, or why there is no code.",
        epilog="Examples: python -m course.registry; python -m course.registry --without-code",
    )
    parser.add_argument("--without-code", action="store_true", help="only the slides that have none")
    only_without = parser.parse_args().without_code
    for section, title in sections().items():
        print(f"\n§{section} {title}")
        for slide in slides().values():
            if slide.section == section and (slide.no_code or not only_without):
                print(f"  {slide.id} {slide.title}")
                for line in (", ".join(slide.symbols), ", ".join(slide.exercise), slide.no_code):
                    if line:
                        print(f"       {line}")
    print(f"\n{summary()}")


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((COURSE / name).read_text(encoding="utf-8"))


def _build(kind: type, table: dict[str, Any]) -> Any:
    """An entry of a TOML file as a dataclass, with an error that names the entry and the key."""
    entry = f"{kind.__name__.lower()} {next(iter(table.values()))}"
    unknown = sorted(set(table) - {f.name for f in fields(kind)})
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in table]
    if unknown:
        raise ValueError(
            f"{entry}: unknown key {unknown[0]!r}; known are {', '.join(f.name for f in fields(kind))}"
        )
    if missing:
        raise ValueError(f"{entry}: {missing[0]!r} is missing")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
