"""The leaderboard as stored: every row once, chosen as it says, and the cheap rows come out again."""

import json

import numpy as np
import pytest

from benchmarks import leaderboard, leaderboard_figure, leaderboard_rows
from benchmarks.contenders import COMPARED, CONTENDERS, FROZEN, MEAN, PerAtom
from benchmarks.leaderboard_figure import ranking
from mg9.groups import elements_of, reduced_formulas


@pytest.fixture(scope="module")
def record() -> dict:
    return leaderboard.read()


@pytest.fixture(scope="module")
def reader() -> leaderboard_rows.Reader:
    return leaderboard_rows.Reader()


def test_every_planned_row_is_there_once(record):
    found = [(row["model"], row["split"], row["seed"]) for row in record["rows"]]
    assert len(found) == len(set(found))
    assert set(found) == set(leaderboard.PLAN) and not leaderboard.missing([*CONTENDERS])


def test_every_network_has_both_splits_and_the_compared_ones_three_seeds():
    for model in leaderboard_rows.NETWORKS:
        for split in (leaderboard.RANDOM, leaderboard.HELD_OUT):
            seeds = {seed for name, where, seed in leaderboard.PLAN if (name, where) == (model, split)}
            assert seeds == ({0, 1, 2} if model in COMPARED else {0})


def test_rates_are_those_of_the_least_validation_error(record):
    measured = {row["model"] for row in record["rows"] if "epochs" in row}
    assert measured == set(leaderboard_rows.NETWORKS)
    for model in measured:
        tried = {row["learning rate"]: row for row in record["choices"] if row["model"] == model}
        assert set(tried) == set(leaderboard.RATES)
        assert not any("MAE" in row for row in tried.values())  # the test part was not looked at
        best = min(tried, key=lambda rate: tried[rate]["validation"])
        rates = {row["learning rate"] for row in record["rows"] if row["model"] == model}
        assert rates == {best}


def test_every_network_had_the_epochs_that_the_budget_pays_for(record, reader):
    for row in record["rows"]:
        if "epochs" in row:
            (split,) = reader.task.splits(row["split"], row["seed"])
            assert row["epochs"] == leaderboard_rows.epochs(record[leaderboard.COSTS][row["model"]], split)
            assert 1 <= row["best epoch"] <= row["epochs"]


@pytest.mark.parametrize("model", [MEAN, "ridge"])
@pytest.mark.parametrize("split", ["random", "chalcogenide", "oxide"])
def test_what_costs_little_comes_out_again(record, reader, model, split):
    (stored,) = (r for r in record["rows"] if (r["model"], r["split"], r["seed"]) == (model, split, 1))
    again = leaderboard_rows.measured(reader, (model, split, 1))
    for name in ("MAE", "bias", "median", "95 %"):
        assert again[name] == pytest.approx(stored[name], abs=2e-4)
    assert again["test crystals"] == stored["test crystals"]


def test_the_crystals_are_small_and_keep_the_order_of_the_table(reader):
    task = reader.task
    assert len(task.structures) == len(task.target) == len(task.formulas) == len(task.family) == 1526
    assert max(len(one) for one in task.structures) == leaderboard_rows.MOST_ATOMS
    assert [one.composition.reduced_formula for one in task.structures] == list(
        reduced_formulas(task.formulas)
    )
    assert list(task.dataset.table.formation_energy_per_atom[task.names]) == list(task.target)


def test_held_out_chalcogenides_have_elements_that_training_knows(reader):
    (split,) = reader.task.splits(leaderboard.HELD_OUT, 0)
    known = set().union(*(elements_of(reader.task.formulas[row]) for row in split.train))
    assert all(elements_of(reader.task.formulas[row]) <= known for row in split.test)
    assert set(reader.task.family[split.test]) == {"chalcogenide"}


def test_the_readme_shows_the_table_of_the_file(record):
    assert leaderboard_figure.readme() == leaderboard_figure.table(record)
    record["rows"][0]["MAE"] += 1.0
    assert leaderboard_figure.readme() != leaderboard_figure.table(record)
    record["rows"][0]["MAE"] -= 1.0


def test_who_has_seen_the_crystals_is_said(record):
    assert set(record["leakage"]) == {FROZEN} and "a fit, not a test" in record["leakage"][FROZEN]


def test_residuals_are_told_by_four_numbers():
    told = leaderboard_rows.errors(np.array([-1.0, 1.0, 1.0, 3.0]))
    assert told == {"test crystals": 4, "MAE": 1.5, "bias": 1.0, "median": 1.0, "95 %": 2.7}


def test_per_atom_does_not_grow_with_the_cell(reader):
    import torch

    from mg9.a_graph import batch_graphs

    torch.manual_seed(0)
    network = CONTENDERS["SchNet"].make().eval()
    assert isinstance(network, PerAtom)
    one = reader.task.structures[0]
    graphs = CONTENDERS["SchNet"].reads([one, one * (2, 1, 1)])
    with torch.no_grad():
        single, double = network(batch_graphs(graphs))
    assert double == pytest.approx(single.item(), rel=1e-4)


def test_a_ranking_has_the_least_mean_error_first():
    rows = [("a", 0.3), ("a", 0.1), ("b", 0.15), ("c", 0.5)]
    record = {"rows": [{"model": model, "split": "random", "MAE": error} for model, error in rows]}
    assert ranking(record, "random") == ["b", "a", "c"]


def test_what_is_stored_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "FILE", tmp_path / "board.json")
    wanted = leaderboard.missing(["ridge"])
    leaderboard.store("rows", dict(zip(("model", "split", "seed"), wanted[0], strict=True)))
    assert leaderboard.missing(["ridge"]) == wanted[1:]
    assert len(json.loads(leaderboard.FILE.read_text())["rows"]) == 1
