"""What the tests of an assignment's checks share: the notebook's names, pieces of right and wrong code."""

import ast
import json
import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from mg9.checks import CheckFailed, check

ROOT = Path(__file__).resolve().parents[1]
SOLUTIONS = ROOT / "solutions"
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


class Cases:
    """`right` and `wrong` pieces of code, each with the checks that it must pass or fail."""

    def __init__(self) -> None:
        self.good: list[tuple[str, Callable]] = []
        self.bad: list[tuple[str, Callable, str]] = []

    def right(self, *names: str) -> Callable:
        """The decorated function or class must pass these checks."""

        def enter(thing):
            self.good.extend((name, thing) for name in names)
            return thing

        return enter

    def wrong(self, *names: str, says: str) -> Callable:
        """The decorated thing must fail each of these checks with a message that matches `says`."""

        def enter(thing):
            self.bad.extend((name, thing, says) for name in names)
            return thing

        return enter


def code_cells(assignment: str) -> list[dict]:
    """The code cells of a solution notebook."""
    file = SOLUTIONS / assignment / f"{assignment}.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def definitions(assignment: str, *whole: str) -> dict:
    """What the notebook imports and defines, nothing that trains; the cells `whole` (by id) are run whole."""
    names: dict = {}
    for cell in code_cells(assignment):
        tree = ast.parse("".join(cell["source"]))
        if cell["id"] not in whole:
            tree.body = [node for node in tree.body if isinstance(node, DEFINITIONS)]
        exec(compile(tree, f"{assignment}.ipynb", "exec"), names)
    return names


def graded(assignment: str) -> dict[str, list[str]]:
    """Check name -> names of the objects, from the graded cells."""
    found = {}
    for cell in code_cells(assignment):
        if cell["metadata"].get("nbgrader", {}).get("grade"):
            (call,) = [n for n in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(n, ast.Call)]
            found[call.args[0].value] = [argument.id for argument in call.args[1:]]
    return found


def described(assignment: str) -> dict:
    """The self-test's description: right code written in other ways, and wrong code."""
    return tomllib.loads((ROOT / f"course/selftest/{assignment}.toml").read_text("utf-8"))


def names_with(assignment: str, cells: Mapping[str, str]) -> dict:
    """What the notebook defines, with other sources for some of its cells; what only shows is not run."""
    names: dict = {}
    for cell in code_cells(assignment):
        if cell["metadata"].get("nbgrader", {}).get("grade") is False or cell["id"] == "setup":
            exec(cells.get(cell["id"], "".join(cell["source"])), names)
    return names


@lru_cache
def solved(assignment: str) -> dict:
    """What the solution notebook defines."""
    return names_with(assignment, {})


def mutated(assignment: str, mutant: Mapping[str, str]) -> dict[str, str]:
    """The source of the cell that a mutant changes, by id."""
    (source,) = ("".join(c["source"]) for c in code_cells(assignment) if c["id"] == mutant["cell"])
    assert source.count(mutant["replace"]) == 1
    return {mutant["cell"]: source.replace(mutant["replace"], mutant["by"])}


def outcomes(names: Mapping, checks: Mapping[str, list[str]]) -> dict[str, str]:
    """Check -> what it says where it fails; checks: check -> names of its arguments, as of `graded`."""
    failures = {}
    for name, arguments in checks.items():
        try:
            check(name, *(names[argument] for argument in arguments))
        except CheckFailed as failure:
            failures[name] = str(failure)
    return failures
