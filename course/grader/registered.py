"""What a check's registration says, read from its text: slide, outcome, objects, file.

The process that writes marks and pages needs no more of a check, and importing one means importing torch,
which takes longer than to record a dozen students. Where a text does not tell (a check that is registered in
a loop), the check is imported after all.

Read in order: `Registered`, `registered`, `_told`, `_read` (one file), `_files`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import mg9.checks
from mg9.checks import REGISTRY, find


@dataclass(frozen=True)
class Registered:
    """One check without its function."""

    name: str
    slide: int
    outcome: int
    objects: tuple[str, ...]  # what it takes of the student
    module: str
    file: Path


def registered(name: str) -> Registered:
    """The check of that name. Raises `KeyError` if there is none, as `mg9.checks.find` does."""
    told = None if name in REGISTRY else _told(name)
    if told:
        return told
    check = find(name)
    objects = tuple(inspect.signature(check.function).parameters)[2:]
    file = Path(inspect.getsourcefile(check.function))
    return Registered(name, check.slide, check.outcome, objects, check.function.__module__, file)


@cache
def _told(name: str) -> Registered | None:
    for module, file in _files():
        if f'"{name}"' in _text(file) and name in (found := _read(module, file)):
            return found[name]
    return None


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _read(module: str, file: Path) -> dict[str, Registered]:
    """The checks of one file whose registration is plain: `@register("name", slide=..., outcome=...)`."""
    found = {}
    for function in ast.parse(_text(file)).body:
        for call in getattr(function, "decorator_list", ()):
            try:
                name = ast.literal_eval(call.args[0])
                about = {word.arg: word.value for word in call.keywords}
                slide, outcome = (ast.literal_eval(about[key]) for key in ("slide", "outcome"))
            except (AttributeError, IndexError, KeyError, ValueError):
                continue
            given = function.args
            if call.func.id == "register" and not (given.vararg or given.kwonlyargs or given.defaults):
                objects = tuple(argument.arg for argument in given.posonlyargs + given.args)[2:]
                found[name] = Registered(name, slide, outcome, objects, module, file)
    return found


def _files() -> Iterator[tuple[str, Path]]:
    """(module, file): the visible checks, then those of installed packages, as `find` looks them up."""
    yield from _of_package("mg9.checks", mg9.checks.__path__)
    for plugin in entry_points(group="mg9.checks"):
        spec = find_spec(plugin.module)
        if spec and spec.submodule_search_locations:
            yield from _of_package(plugin.module, spec.submodule_search_locations)
        elif spec and spec.origin:
            yield plugin.module, Path(spec.origin)


def _of_package(package: str, places: list[str]) -> Iterator[tuple[str, Path]]:
    for place in places:
        for file in sorted(Path(place).glob("*.py")):
            yield f"{package}.{file.stem}", file
