"""The self-test of one assignment: what its author says is right and wrong, held against the grader.

Read in order: `Suite` and `read_suite` (the description, a TOML file beside this one), `mutants_notebook`
(all mutants in one notebook, each with the cells that it needs), `run_suite`, `Table` (what is printed).
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from tqdm import tqdm

from course.demo.classroom import answers_of, fill
from course.grader.execution import NoKernel
from course.grader.form import FormError, Question, grade_id, questions, read_source
from course.grader.ingest import Submission
from course.grader.restore import restore
from course.grader.terms import Run, Terms
from course.grader.workers import Crew

from .slices import Slices

HERE = Path(__file__).parent
REWRITES, MUTANTS = 3, 10  # the least of each
FORM = """  [[rewrite]]                     at least three: right answers, written in another way
  name = "with loops"
  [rewrite.cells]
  readout = "def mean_readout(...): ..."
  [[mutant]]                      at least ten: one mistake each
  name = "the sum over the atoms"
  cell = "readout"
  replace = "total / count"
  by = "total"
  fails = ["readout.mean", "hidden.mean"]
  says = "this is the sum\""""


@dataclass(frozen=True)
class Mutant:
    """One mistake: the cell's new text, the checks that must fail, what the first of them must say, and those
    that may fail, depending on the crystals that they draw."""

    name: str
    cell: str
    source: str
    fails: tuple[str, ...]
    says: str
    may: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """`rewrites`: name -> grade_id -> text."""

    assignment: str
    source: NotebookNode
    release: NotebookNode
    rewrites: dict[str, dict[str, str]]
    mutants: tuple[Mutant, ...]


def read_suite(root: Path, assignment: str, folder: Path = HERE) -> Suite:
    """The description of `assignment`. Raises `FormError`: what does not fit, and how to write it."""
    source = read_source(root, assignment)
    file = folder / f"{assignment}.toml"
    if not file.is_file():
        raise FormError(
            f"{assignment} has no self-test: write course/selftest/{assignment}.toml, like this\n{FORM}"
        )
    told = tomllib.loads(file.read_text(encoding="utf-8"))
    answers, known = answers_of(source), {question.check for question in questions(source)} - {""}
    faults, mutants = [], []
    for entry in told.get("mutant", ()):
        where = f"{file.name}, mutant {entry.get('name')!r}"
        missing = {"name", "cell", "replace", "by", "fails", "says"} - entry.keys()
        if missing:
            faults.append(f"{where}: {', '.join(sorted(missing))} is missing")
            continue
        text = answers.get(entry["cell"], "")
        if text.count(entry["replace"]) != 1:
            faults.append(
                f"{where}: the text to replace is {text.count(entry['replace'])} times in {entry['cell']}"
            )
        may = tuple(entry.get("may", ()))
        if not entry["fails"] or {*entry["fails"], *may} - known:
            faults.append(f"{where}: `fails` and `may` name checks of it: {', '.join(sorted(known))}")
        changed = text.replace(entry["replace"], entry["by"])
        mutants.append(
            Mutant(entry["name"], entry["cell"], changed, tuple(entry["fails"]), entry["says"], may)
        )
    rewrites = {entry["name"]: entry["cells"] for entry in told.get("rewrite", ())}
    for name, cells in rewrites.items():
        if unknown := cells.keys() - answers.keys():
            faults.append(f"{file.name}, rewrite {name!r}: no solution cell {', '.join(sorted(unknown))}")
    if len(rewrites) < REWRITES or len(mutants) < MUTANTS:
        there = f"{len(rewrites)} rewrites and {len(mutants)} mutants"
        faults.append(f"{file.name}: {there}; wanted are at least {REWRITES} and {MUTANTS}")
    if faults:
        raise FormError("\n".join(faults))
    release = nbformat.read(root / "exercises" / assignment / f"{assignment}.ipynb", as_version=4)
    return Suite(assignment, source, release, rewrites, tuple(mutants))


def mutants_notebook(suite: Suite) -> tuple[NotebookNode, dict[str, tuple[Mutant, str]]]:
    """One notebook that runs every mutant: the cells that its checks need, the changed one, the checks.

    What an earlier mutant has run and not changed is not run again. Returns also grade_id -> (mutant, check).
    """
    reference = filled(suite, answers_of(suite.source))
    slices, place = Slices(reference), {grade_id(cell): n for n, cell in enumerate(reference.cells)}
    checks = {
        place[question.grade_id]: question.check for question in questions(suite.source) if question.check
    }
    cells: list[NotebookNode] = []
    expected: dict[str, tuple[Mutant, str]] = {}
    ready: set[int] = set()
    for number, mutant in enumerate(suite.mutants):
        changed = place[mutant.cell]
        asked = [n for n, check in checks.items() if changed in slices.direct(n) or check in mutant.fails]
        stale = slices.depend_on({changed})
        for n in sorted(slices.needed(asked)):
            if n in checks or (n in ready and n not in stale):
                continue
            text = mutant.source if n == changed else reference.cells[n].source
            cells.append(new_code_cell(text, id=f"m{number}-{n}"))
            ready.add(n)
        ready -= stale
        for n in asked:
            cell = deepcopy(reference.cells[n])
            cell.id = cell.metadata.nbgrader.grade_id = f"m{number}-{grade_id(cell)}"
            cells.append(cell)
            expected[cell.id] = mutant, checks[n]
    return new_notebook(cells=cells, metadata=deepcopy(suite.source.metadata)), expected


def filled(suite: Suite, answers: dict[str, str]) -> NotebookNode:
    """The assignment as somebody hands it in who wrote `answers`, as the grader gets it from ingest."""
    return restore(fill(suite.release, answers), suite.source)[0]


@dataclass
class Table:
    """What came of it: (right, of how many) for each kind, and a line for each fault."""

    assignment: str
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        counts = "  ".join(f"{kind} {right}/{of}" for kind, (right, of) in self.counts.items())
        lines = [f"{self.assignment:12} {counts}  {self.seconds:.0f} s"]
        return "\n".join(lines + [f"  - {fault}" for fault in self.faults])


def run_suite(suite: Suite, terms: Terms, jobs: int = 2, title: str = "") -> Table:
    """Everything of one assignment through `grade`: reference, rewrites, untouched exercise, mutants.

    `title` stands before the bar. Raises `NoKernel` if something of it could not be run.
    """
    start, table = time.monotonic(), Table(suite.assignment)
    asked = [question for question in questions(suite.source) if question.check]
    reference = answers_of(suite.source)
    mutants, expected = mutants_notebook(suite)
    rewrites = {name: filled(suite, reference | cells) for name, cells in suite.rewrites.items()}
    works = {
        "mutants": mutants,
        "reference": filled(suite, reference),
        "untouched": filled(suite, {}),
    } | rewrites
    submissions = [Submission(name, suite.assignment, "ok", notebook=work) for name, work in works.items()]
    runs: dict[str, Run] = {}
    with Crew(jobs) as crew:
        about = {"total": len(works), "desc": title or suite.assignment, "unit": "notebook", "leave": False}
        for submission, run in tqdm(crew.grade(submissions, terms), **about):
            if isinstance(run, str):
                raise NoKernel(f"{suite.assignment}, {submission.student}: {run}")
            runs[submission.student] = run
    for name in ("reference", *rewrites):
        wrong = list(_wrong(runs[name], asked, points=True))
        kind = "reference" if name == "reference" else "rewrites"
        _count(table, kind, not wrong)
        table.faults += [f"{name}: {line}" for line in wrong]
    wrong = list(_wrong(runs["untouched"], asked, points=False))
    _count(table, "untouched", not wrong)
    table.faults += [f"untouched: {line}" for line in wrong]
    _judge_mutants(table, suite, runs["mutants"], expected)
    table.seconds = time.monotonic() - start
    return table


def _judge_mutants(table: Table, suite: Suite, run: Run, expected: dict[str, tuple[Mutant, str]]) -> None:
    """Each mutant fails the checks that it should and no other, the first of them in the right words."""
    results = {name: result(run, name) for name in expected}
    if run.stopped:
        table.faults.append(f"mutants: {run.stopped}")
    for mutant in suite.mutants:
        own = {check: results[name] for name, (other, check) in expected.items() if other is mutant}
        found = []
        for check, (held, message) in own.items():
            if held and check in mutant.fails:
                found.append(f"{check} does not notice")
            if not held and check not in (*mutant.fails, *mutant.may):
                found.append(f"{check} fails too: {message}")
        first = own[mutant.fails[0]][1]
        if not found and not re.search(mutant.says, first):
            found.append(f"{mutant.fails[0]} does not name it: {first}")
        _count(table, "mutants", not found)
        table.faults += [f"mutant {mutant.name!r}: {line}" for line in found]


def result(run: Run, name: str) -> tuple[bool, str]:
    """Whether the graded cell `name` holds, and what its check said."""
    found = run.results[name]
    return found.state == "passed", found.message()


def _wrong(run: Run, asked: list[Question], *, points: bool) -> Iterator[str]:
    """The questions that have no points although they should, or the other way round."""
    if run.stopped:
        yield run.stopped
    for question in asked:
        held, message = result(run, question.grade_id)
        if held != points:
            yield f"{question.grade_id} should {'' if points else 'not '}hold: {message}"


def _count(table: Table, kind: str, right: bool) -> None:
    done, of = table.counts.get(kind, (0, 0))
    table.counts[kind] = done + right, of + 1
