"""The parts of the discovery loop: the hidden pool, random choice by its exact mean, what the loop learns."""

import json

import numpy as np
import pytest

from benchmarks import discovery
from mg9 import data
from mg9.a_crystal import crystal_graph


@pytest.fixture(scope="module")
def table():
    return data.formation_energy().table


@pytest.fixture(scope="module")
def stable(table):
    return table.e_above_hull.to_numpy() <= 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_the_pool_is_hidden_and_five_to_ten_per_cent_of_it_are_stable(stable, seed):
    pool = discovery.drawn(stable, known=discovery.KNOWN, share=discovery.SHARE, seed=seed)
    assert len(np.unique(pool.known)) == discovery.KNOWN and not np.intersect1d(pool.known, pool.hidden).size
    assert len(np.unique(pool.hidden)) == len(pool.hidden)
    assert 0.05 <= stable[pool.hidden].mean() <= 0.10
    assert (~stable[pool.hidden]).sum() + (~stable[pool.known]).sum() == (~stable).sum()
    assert stable[pool.known].mean() == pytest.approx(stable.mean(), abs=0.06)


def test_another_seed_is_another_pool_and_too_few_stable_rows_are_refused(stable):
    first, second = (discovery.drawn(stable, known=800, share=0.07, seed=seed) for seed in (0, 1))
    assert len(np.intersect1d(first.known, second.known)) < 400
    with pytest.raises(ValueError, match="a share of 90%"):
        discovery.drawn(stable, known=800, share=0.9, seed=0)


def test_chance_is_the_mean_and_the_spread_of_many_draws():
    rng, pool = np.random.default_rng(0), np.arange(200) < 14
    for labelled in (20, 120, 200):
        mean, spread = discovery.by_chance(200, 14, labelled)
        hits = [rng.permutation(pool)[:labelled].sum() for _ in range(4000)]
        assert mean == pytest.approx(np.mean(hits), abs=0.1)
        assert spread == pytest.approx(np.std(hits), abs=0.1)
    assert discovery.by_chance(200, 14, 200) == pytest.approx((14, 0))


class Told:
    """In place of networks: knows every answer, and notes what it was taught."""

    def __init__(self, target):
        self.target, self.seen = target, []

    def learn(self, rows, epochs):
        self.seen.append(np.asarray(rows))
        return self

    def predict(self, rows):
        assert not np.intersect1d(rows, self.seen[-1]).size, "asked about a crystal whose label is known"
        return self.target[rows][None]


def test_the_loop_learns_what_it_has_chosen_and_nothing_else(stable, table):
    pool = discovery.drawn(stable, known=800, share=0.07, seed=0)
    told = Told(table.e_above_hull.to_numpy())
    found = discovery.run(told, stable, pool, each=20, rounds=6)
    assert [len(rows) for rows in told.seen] == [800 + 20 * turn for turn in range(6)]
    added = np.setdiff1d(told.seen[-1], pool.known)
    assert len(added) == 100 and np.isin(added, pool.hidden).all()
    hits = stable[pool.hidden].sum()
    best = [min(20 * (turn + 1), hits) for turn in range(6)]  # the true heights choose all stable ones first
    assert found["found"][discovery.LOOP] == found["found"][discovery.ONCE] == best
    assert found["ranking"][0] == 1


def test_the_networks_differ_and_go_on_from_what_they_are(stable, table):
    ids = table.index[table.nsites <= 3][:40]
    graphs = [crystal_graph(one) for one in data.formation_energy().structures(ids)]
    target = discovery.height(table.e_above_hull.loc[ids].to_numpy())
    ensemble = discovery.Ensemble(graphs, target, 0, networks=2).learn(np.arange(30), 1)
    networks = [one.model for one in ensemble.trained]
    first = ensemble.predict(np.arange(30, 40))
    assert first.shape == (2, 10) and np.abs(first[0] - first[1]).max() > 1e-3
    ensemble.learn(np.arange(35), 1)
    assert [one.model for one in ensemble.trained] == networks
    assert np.abs(ensemble.predict(np.arange(35, 40)) - first[:, 5:]).max() > 1e-4


def test_no_label_of_the_pool_is_read_before_it_is_chosen(monkeypatch):
    seen = []

    def no_training(network, graphs, target, split, **_):
        seen.append(split)
        return discovery.Trained(network, 0.0, 1.0)

    monkeypatch.setattr(discovery, "fit", no_training)
    rows = np.arange(5, 35)
    discovery.Ensemble([None] * 40, np.zeros(40), 0, networks=2).learn(rows, 1)
    for split in seen:
        assert sorted(np.concatenate([split.train, split.validation])) == rows.tolist()
        assert len(split.validation) == 6 and not np.intersect1d(split.test, np.arange(40)).size


def test_lists_are_counted_in_order():
    stable = np.array([True, False, True, True, False, True])
    assert discovery.after(stable, 2) == [1, 3, 4]
    assert discovery.lowest(np.array([3.0, 1.0, 2.0]), np.array([7, 8, 9]), 2).tolist() == [8, 9]
    assert discovery.ranking(np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, False, True, False])) == 0.75
    assert discovery.height(np.array([0.0, 1e-3, 0.1])).tolist() == [-3, -3, -1]


def test_the_stored_run_says_what_its_figure_claims():
    record = json.loads(discovery.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(record["seeds"]) == 5 and record["loop"]["share"] == discovery.SHARE
    for row in record["seeds"].values():
        assert 0.05 <= row["stable"] / row["pool"] <= 0.10
        assert all(found == sorted(found) and found[-1] <= row["stable"] for found in row["found"].values())
    factor = discovery.factors(record, discovery.LOOP)
    assert factor.shape == (5, record["loop"]["rounds"])
    row = record["seeds"]["0"]
    chance = record["loop"]["each round"] * row["stable"] / row["pool"]
    assert factor[0, 0] == pytest.approx(row["found"][discovery.LOOP][0] / chance)
