"""The registry is held to the code, and the code to the registry, in both directions."""

import ast
import hashlib
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest

from course import registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mg9"
LETTERED = sorted(PACKAGE.glob("[a-h]_*.py"))
DECK = registry.slides()
OUTCOMES = registry.outcomes()
FIGURES = registry.literature()
PAPERS = registry.bibliography()
# sha256 of "05 A Crystals as graphs (recap from MG U7)" and so on, a line a slide: titles are the deck's.
TITLES = "47aeb0c1abbaa3f3"


def module_file(module: str) -> Path | None:
    """The file of "d_cgcnn" or "data"; None if there is none."""
    base = PACKAGE.joinpath(*module.split("."))
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


@cache
def docstrings(path: Path) -> dict[str, registry.Reference]:
    return {reference.name: reference for reference in registry.references_in(path)}


def resolve(symbol: str) -> registry.Reference | None:
    """The docstring of "module" or "module.Name", or None if mg9 has no such thing."""
    path = module_file(symbol)
    if path:
        return docstrings(path)[""]
    module, _, name = symbol.rpartition(".")
    path = module_file(module) if module else None
    return docstrings(path).get(name) if path else None


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def defined_in(path: Path) -> set[str]:
    """Names of tests in a file: "test_x", and "TestY::test_x" for methods."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)
            }
    return names


def grade_ids(assignment: str, *, answers_only: bool = False) -> set[str]:
    """The grade ids of an assignment's source notebooks; if asked, only those that students fill in."""
    notebooks = (nbformat.read(p, as_version=4) for p in (ROOT / "solutions" / assignment).glob("*.ipynb"))
    cells = [c.metadata.nbgrader for n in notebooks for c in n.cells if "nbgrader" in c.metadata]
    return {c.grade_id for c in cells if c.solution or not answers_only}


def checks_registered() -> list[tuple[str, dict[str, object]]]:
    """file:line and the keywords of every @register(...) above a check."""
    found = []
    for path in [*(PACKAGE / "checks").glob("*.py"), *(ROOT / "course").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("register"):
                    keywords = {k.arg: getattr(k.value, "value", None) for k in call.keywords if k.arg}
                    found.append((f"{path.relative_to(ROOT)}:{call.lineno}", keywords))
    return found


def listed(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


# The deck


def test_the_deck_has_49_slides_with_its_own_titles():
    assert list(DECK) == [f"{n:02d}" for n in range(1, 51) if n != 40]
    lines = "\n".join(f"{s.id} {s.section} {s.title}" for s in DECK.values())
    assert hashlib.sha256(lines.encode()).hexdigest().startswith(TITLES), "a title or section left the deck's"
    assert {s.section for s in DECK.values()} == set(registry.sections())


def test_outcomes_exist_and_each_is_served():
    assert list(OUTCOMES) == list(range(1, 9))
    listed(
        [
            f"slide {s.id}: outcome {n} is none of slide 03"
            for s in DECK.values()
            for n in s.outcome
            if n not in OUTCOMES
        ]
    )
    listed([f"slide {s.id} serves no outcome" for s in DECK.values() if not s.outcome])
    assert {n for s in DECK.values() for n in s.outcome} == set(OUTCOMES)


def test_a_slide_without_code_says_why():
    listed(
        [f"slide {s.id}: neither symbols nor no_code" for s in DECK.values() if not (s.symbols or s.no_code)]
    )
    begins = re.compile(rf"({'|'.join(registry.REASONS)}): \S")
    listed(
        [
            f"slide {s.id}: no_code gives no reason"
            for s in DECK.values()
            if s.no_code and not begins.match(s.no_code)
        ]
    )


# From the slides to the code


@pytest.mark.parametrize("slide", DECK.values(), ids=DECK)
def test_what_a_slide_lists_exists_and_names_the_slide(slide):
    problems = []
    for symbol in slide.symbols:
        found = resolve(symbol)
        if found is None:
            problems.append(f"mg9 has no {symbol}")
        elif slide.id not in found.slides:
            problems.append(f"the docstring of {symbol} does not name slide {slide.id}")
    if slide.lecture and not (ROOT / slide.lecture).is_file():
        problems.append(f"no lecture {slide.lecture}")
    for exercise in slide.exercise:
        assignment, _, question = exercise.partition(":")
        known = grade_ids(assignment)
        if not known:
            problems.append(f"no assignment solutions/{assignment}")
        elif question and question not in known:
            problems.append(f"solutions/{assignment} has no cell {question}")
    for test in slide.test:
        file, _, name = test.partition("::")
        if not (ROOT / file).is_file() or name not in defined_in(ROOT / file):
            problems.append(f"no test {test}")
    problems += [f"references.bib has no {key}" for key in slide.papers if key not in PAPERS]
    listed([f"slide {slide.id}: {problem}" for problem in problems])


# From the code to the slides


@pytest.mark.parametrize("path", LETTERED, ids=lambda path: path.stem)
def test_every_public_name_of_a_lettered_file_names_a_slide(path):
    names = [r for r in docstrings(path).values() if r.public and "." not in r.name]
    listed([f"{path.name}:{r.line}: {r.name or 'the module'} names no slide" for r in names if not r.slides])


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_of)
def test_docstrings_refer_to_what_exists(path):
    problems, module = [], module_of(path)
    for reference in docstrings(path).values():
        where = f"{path.relative_to(ROOT)}:{reference.line}"
        problems += [f"{where}: references.bib has no {key}" for key in reference.papers if key not in PAPERS]
        for id in reference.slides:
            if id not in DECK:
                problems.append(f"{where}: there is no slide {id}")
            elif path in LETTERED and reference.public and reference.name:
                names = {module, f"{module}.{reference.name}", f"{module}.{reference.name.partition('.')[0]}"}
                if not names & set(DECK[id].symbols):
                    problems.append(
                        f"{where}: slide {id} does not list {module}.{reference.name}; add it to slides.toml"
                    )
    listed(problems)


def test_checks_name_an_outcome_and_a_slide_with_an_exercise():
    checks, practised = checks_registered(), {int(s.id) for s in DECK.values() if s.exercise}
    assert checks
    listed(
        [
            f"{w}: slide {k.get('slide')} lists no exercise"
            for w, k in checks
            if k.get("slide") not in practised
        ]
    )
    listed([f"{w}: no outcome {k.get('outcome')}" for w, k in checks if k.get("outcome") not in OUTCOMES])


def test_every_question_and_every_lecture_belongs_to_a_slide():
    exercises = {exercise for slide in DECK.values() for exercise in slide.exercise}
    for assignment in {path.parent.name for path in ROOT.glob("solutions/*/*.ipynb")}:
        questions = {f"{assignment}:{question}" for question in grade_ids(assignment, answers_only=True)}
        listed([f"no slide lists {exercise}" for exercise in sorted({assignment, *questions} - exercises)])
    lectures = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("lectures/*.ipynb")}
    listed(
        [f"no slide lists {path}" for path in sorted(lectures - {slide.lecture for slide in DECK.values()})]
    )


def test_references_are_found_in_every_spelling():
    assert registry.slides_named("slide 21, 12 nearest; slides 05, 11 and\n17; Slides 19-21, 38 to 42") == (
        *("21", "05", "11", "17", "19", "20"),
        *("38", "39", "41", "42"),
    )
    assert registry.slides_named("slide 40 and slide 99") == ("40", "99")
    assert registry.papers_cited("[xie2018cgcnn, Eq.\n    5], [bishop2006] not [v_i || u_ij]") == (
        "xie2018cgcnn",
        "bishop2006",
    )


# Literature


def test_figures_have_a_source_and_a_slide():
    sources = {*PAPERS, "deck", "unit8"}
    listed(
        [f"{f.key}: references.bib has no {f.source}" for f in FIGURES.values() if f.source not in sources]
    )
    listed([f"{f.key}: there is no slide {id}" for f in FIGURES.values() for id in f.slide if id not in DECK])
    listed([f"{f.key}: no slide" for f in FIGURES.values() if not f.slide])


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_a_figure_says_what_was_checked(figure):
    assert isinstance(figure.verified, bool) and figure.checked
    values = figure.value if isinstance(figure.value, tuple) else (figure.value,)
    if figure.verified and figure.source == "deck":
        assert "conversion" in figure.checked, "only a conversion can be verified without a source"
    if not isinstance(figure.value, str):
        assert all(v > 0 for v in values) and list(values) == sorted(values)


def test_papers_are_complete_and_each_is_cited():
    listed([f"{k}: no {f}" for k, p in PAPERS.items() for f in ("title", "author", "year") if not p.get(f)])
    listed([f"{k}: the year is {p['year']}" for k, p in PAPERS.items() if p["year"] not in k])
    text = (ROOT / "course" / "references.bib").read_text(encoding="utf-8")
    assert len(PAPERS) == len(re.findall(r"^@", text, re.M)), (
        "an entry of references.bib does not parse, or is there twice"
    )
    cited = {key for slide in DECK.values() for key in slide.papers} | {f.source for f in FIGURES.values()}
    cited |= {key for path in PACKAGE.rglob("*.py") for r in docstrings(path).values() for key in r.papers}
    listed([f"{key} is cited nowhere" for key in PAPERS if key not in cited])


def test_notation_is_one_alphabet():
    text = (ROOT / "course" / "notation.md").read_text(encoding="utf-8")
    tables = [
        line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ") and "---" not in line
    ]
    assert all(len(cells) == 6 for cells in tables)
    symbols = [cells[0].strip() for cells in tables if cells[0].strip() not in ("", "symbol")]
    listed([f"{symbol} has two meanings" for symbol in set(symbols) if symbols.count(symbol) > 1])
    listed([f"there is no slide {id}" for id in registry.slides_named(text) if id not in DECK])
    listed([f"references.bib has no {key}" for key in registry.papers_cited(text) if key not in PAPERS])


def test_an_unknown_key_is_refused_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "COURSE", tmp_path)
    (tmp_path / "slides.toml").write_text('[slide.05]\nsection = "A"\ntitle = "t"\nsymbol = []\n')
    with pytest.raises(ValueError, match="slide 05: unknown key 'symbol'"):
        registry.slides()
    (tmp_path / "slides.toml").write_text('[slide.05]\nsection = "A"\n')
    with pytest.raises(ValueError, match="slide 05: 'title' is missing"):
        registry.slides()


def test_the_slide_map_prints(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["registry", "--without-code"])
    registry.main()
    printed = capsys.readouterr().out
    assert registry.summary() in printed
    without = {s.id for s in DECK.values() if s.no_code}
    assert set(re.findall(r"^  (\d\d) ", printed, re.M)) == without


def test_the_slide_map_may_be_cut_off():
    """As by `| head`: here the reader is gone before the first line."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "course.registry"]
    done = subprocess.run(command, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_run_ends_with_the_number_of_slides_without_code():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/test_style.py"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    without = sum(bool(slide.no_code) for slide in DECK.values())
    assert f"49 slides: {49 - without} with code, {without} without (" in printed
