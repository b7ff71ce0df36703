"""The course's first result: file, tables and README say the same, and the cheap rows come out again."""

import pandas as pd
import pytest

from benchmarks import evaluation, evaluation_tables


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return evaluation.read()


@pytest.fixture(scope="module")
def task() -> evaluation.Task:
    return evaluation.Task()


def test_the_readme_shows_the_tables_of_the_file(found):
    assert evaluation_tables.readme() == evaluation_tables.tables(found)


def test_the_file_has_every_measurement_once(found):
    assert list(found) == evaluation.COLUMNS
    assert not found.duplicated([*evaluation.KEY, "part"]).any()
    assert not found.isna().any().any()
    measured = set(found[evaluation.KEY].itertuples(index=False, name=None))
    planned = {(m, s, seed) for m, s in evaluation.PLAN for seed in range(evaluation.SEEDS)}
    assert measured == planned


@pytest.mark.parametrize("model", ["training mean", "ridge"])
@pytest.mark.parametrize(("split", "seed"), [("random", 1), ("oxide", 0), ("cluster", 2), ("nitride", 1)])
def test_what_costs_little_comes_out_again(found, task, model, split, seed):
    again = list(task.measure(model, split, seed))
    mine = found[(found.model == model) & (found.split == split) & (found.seed == seed)]
    assert [(part, n) for part, n, _ in again] == list(zip(mine.part, mine.crystals, strict=True))
    assert [mae for *_, mae in again] == pytest.approx(mine.mae.tolist(), abs=2e-4)


def test_the_oxides_without_fluorine_are_1180(task):
    (split,) = task.splits("fluorides trained", 0)
    formulas = [task.formulas[row] for row in split.test]
    assert len(formulas) == 1180 and len(set(task.family[split.test])) == 1
    assert not any("F" in evaluation.elements_of(formula) for formula in formulas)
    assert (task.family == "oxide").sum() - len(formulas) == 53


def test_a_row_that_changes_changes_the_tables(found):
    for column, value in (("mae", 9.0), ("crystals", 77_777)):
        changed = found.copy()
        changed.loc[(found.model == "ridge") & (found.split == "oxide"), column] = value
        assert evaluation_tables.tables(changed) != evaluation_tables.tables(found)
