"""The self-test: it holds for every assignment, and it notices what it is there to notice."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course.grader.build import build
from course.grader.cached import paths_of
from course.grader.cli import main
from course.grader.form import FormError, assignments
from course.grader.terms import Terms
from course.selftest import command
from course.selftest.attacks import Outcome
from course.selftest.command import HEAD, line
from course.selftest.corpus import read_corpus
from course.selftest.slices import Slices, names
from course.selftest.suite import MUTANTS, REWRITES, Table, mutants_notebook, read_suite, run_suite
from mg9.data.cache import FetchError

ROOT = Path(__file__).parents[1]

# Parts of a self-test of the small assignment that the attack corpus attacks.
REWRITE = """
[[rewrite]]
name = "{name}"
[rewrite.cells]
gaussian = '''
def gaussian_basis(distance, mu, beta):
    return torch.stack([({sign}beta * (distance - m) ** 2).exp() for m in mu], dim=1)
'''
"""
MUTANT = """
[[mutant]]
name = "{name}"
cell = "readout"
replace = "return total / torch.bincount(batch, minlength=n_crystals)"
by = "{by}"
fails = {fails}
says = "{says}"
"""
SUM = dict(by="return total", fails='["readout.mean", "hidden.mean"]', says="this is the sum")


def described(folder: Path, *parts: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "target.toml").write_text("\n".join(parts))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A course whose only assignment is the small one of the corpus."""
    root = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "tests" / "attacks" / "solutions", root / "solutions")
    build(root, "target")
    return root


@pytest.mark.parametrize("assignment", assignments(ROOT))
def test_every_assignment_holds(assignment):
    suite = read_suite(ROOT, assignment)
    try:
        paths_of(suite.source.metadata["mg9"].get("cache", ()))
    except FetchError as error:
        pytest.skip(str(error))
    table = run_suite(suite, Terms(seed=3, cell_seconds=900, total_seconds=3600))
    print(table)
    assert not table.faults, str(table)
    assert table.counts["mutants"][1] >= MUTANTS and table.counts["rewrites"][1] >= REWRITES


def test_what_is_wrong_is_noticed(root, tmp_path):
    right = [REWRITE.format(name=name, sign="-") for name in ("one", "two")]
    mutants = [MUTANT.format(name=f"m{number}", **SUM) for number in range(7)]
    silent = MUTANT.format(name="silent", **SUM | {"by": "return total / torch.bincount(batch)"})
    loud = MUTANT.format(name="loud", **SUM | {"fails": '["readout.mean"]'})
    dumb = MUTANT.format(name="dumb", **SUM | {"says": "this is the product"})
    wrong = REWRITE.format(name="wrong", sign="+")
    folder = described(tmp_path / "here", *right, wrong, *mutants, silent, loud, dumb)
    table = run_suite(read_suite(root, "target", folder), Terms(seed=1))
    assert table.counts == {"reference": (1, 1), "rewrites": (2, 3), "untouched": (1, 1), "mutants": (7, 10)}
    text = str(table)
    assert "wrong: gaussian-hidden should hold" in text and "wrong: readout" not in text
    assert "mutant 'silent': readout.mean does not notice" in text
    assert "mutant 'loud': hidden.mean fails too" in text
    assert "mutant 'dumb': readout.mean does not name it: readout.mean: this is the sum" in text
    assert len(table.faults) == 6


def test_a_description_that_does_not_fit_is_refused_in_words(root, tmp_path):
    with pytest.raises(FormError, match=r"has no self-test: write course/selftest/target.toml"):
        read_suite(root, "target", tmp_path)
    faulty = described(
        tmp_path,
        REWRITE.format(name="one", sign="-").replace("gaussian =", "gauss ="),
        MUTANT.format(name="elsewhere", **SUM).replace("return total / torch", "return all / torch"),
        MUTANT.format(name="unknown check", **SUM | {"fails": '["readout.meen"]'}),
        '[[mutant]]\nname = "half"\ncell = "readout"',
    )
    with pytest.raises(FormError) as refusal:
        read_suite(root, "target", faulty)
    text = str(refusal.value)
    assert "rewrite 'one': no solution cell gauss" in text
    assert "mutant 'elsewhere': the text to replace is 0 times in readout" in text
    assert "mutant 'unknown check': `fails` and `may` name checks" in text
    assert "mutant 'half': by, fails, replace, says is missing" in text
    assert "1 rewrites and 2 mutants; wanted are at least 3 and 10" in text


def test_an_assignment_without_a_selftest_is_not_fit_for_release(root, capsys):
    assert main(["--root", str(root), "selftest", "target"]) == 1
    printed = capsys.readouterr().out
    assert "write course/selftest/target.toml" in printed and "| target | - |" in printed


def test_an_interruption_is_told_and_keeps_nothing(root, capsys, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_one", pressed)
    assert main(["--root", str(root), "selftest", "target"]) == 130
    assert "interrupted; nothing is kept" in capsys.readouterr().err


def test_the_summary_has_a_line_for_each_assignment():
    counts = {"reference": (1, 1), "rewrites": (3, 3), "untouched": (1, 1), "mutants": (11, 12)}
    attacks = read_corpus(ROOT / "tests" / "attacks")[:3]
    outcome = Outcome(attacks, undeserved=2.5, faults={attacks[0].name: ["gained"], "": ["changed"]})
    rows = [line("waves", Table("waves", counts), outcome), line("target", None, Outcome(attacks, lost=1))]
    rows += [line("new"), line("quiet", Table("quiet", counts), Outcome([]))]
    assert rows == [
        "| waves | 1/1 | 3/3 | 1/1 | 11/12 | 2/3 | 2.5 | 0 | 0 |",
        "| target | - | - | - | - | 3/3 | 0 | 1 | 0 |",
        "| new | - | - | - | - | - | - | - | - |",
        "| quiet | 1/1 | 3/3 | 1/1 | 11/12 | - | - | - | - |",
    ]
    assert {row.count("|") for row in [*rows, *HEAD.splitlines()]} == {10}


def test_a_mutant_runs_what_its_checks_need_and_nothing_else():
    suite = read_suite(ROOT, "cgcnn")
    notebook, expected = mutants_notebook(suite)
    nbformat.validate(notebook)
    assert {mutant.name for mutant, _ in expected.values()} == {mutant.name for mutant in suite.mutants}
    for mutant in suite.mutants:
        asked = {check for other, check in expected.values() if other is mutant}
        assert set(mutant.fails) <= asked
    trains = [cell for cell in notebook.cells if "fit(MyCGCNN" in cell.source]
    assert len(trains) == 1, "one training serves all mutants that need a trained network"


def test_slices_follow_names():
    cells = [
        "import numpy as np",
        "a = np.zeros(3)",
        "def f(x):\n    target = 2 * x\n    return target + a",
        "target = 5",
        "class C:\n    def g(self):\n        return [f(k) for k in range(3)]",
        "this is no Python",
        "print(C().g())",
    ]
    slices = Slices(new_notebook(cells=[new_code_cell(text) for text in cells]))
    assert slices.needed([6]) == {0, 1, 2, 4, 6}
    assert slices.depend_on({1}) == {1, 2, 4, 6}
    assert names("import torch.nn as nn, os.path\nx, *y = 1, 2\nfor z in x: pass")[0] == {*"xyz", "nn", "os"}
