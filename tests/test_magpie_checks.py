"""The checks of exercise 2 as classifiers: right work passes however it is done, wrong work fails by name.

Right code comes from the solution notebook and from rewrites of it; wrong code is below, each piece with the
words that its message must contain.
"""

import ast
import itertools
import json
import re
import statistics as plain_statistics
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from across import Across, Handle
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from mg9 import b_ladder, data, report, splits
from mg9.b_aliasing import aliasing_floor
from mg9.checks import REGISTRY, CheckFailed, check, find, seven_points
from mg9.checks.tools import labelled

NOTEBOOK = Path(__file__).resolve().parents[1] / "solutions" / "magpie" / "magpie.ipynb"
TOPICS = ("mg9.checks.magpie", "mg9.checks.ladder", "mg9.checks.report", "mg9.checks.seven_points")
TOPICS += ("course.hidden.magpie",)
find("hidden.magpie.floor")  # registers the visible and the hidden checks
CHECKS = sorted(name for name, one in REGISTRY.items() if one.function.__module__ in TOPICS)

RIGHT: list = []
WRONG: list = []


def right(*names: str):
    """The decorated function must pass these checks."""

    def enter(thing):
        RIGHT.extend((name, thing) for name in names)
        return thing

    return enter


def wrong(*names: str, says: str):
    """The decorated function must fail each of these checks with a message that matches `says`."""

    def enter(thing):
        WRONG.extend((name, thing, says) for name in names)
        return thing

    return enter


def idfn(value) -> str | None:
    return getattr(value, "__name__", None) if callable(value) else None


# Six statistics

SIX = ("magpie.statistics", "hidden.magpie.statistics")


@right(*SIX)
def with_plain_python(p, c):
    pairs = sorted(zip(p.tolist(), c.tolist(), strict=True))
    mean = sum(x * w for x, w in pairs)
    deviation = sum(abs(x - mean) * w for x, w in pairs)
    mode = max(pairs, key=lambda pair: (round(pair[1], 9), -pair[0]))[0]
    return pairs[0][0], pairs[-1][0], pairs[-1][0] - pairs[0][0], mean, deviation, mode


@right(*SIX)
def with_torch(p, c):
    p, c = torch.as_tensor(p), torch.as_tensor(c)
    mean = p @ c
    mode = p[c >= c.max() - 1e-9].min()
    return torch.stack([p.min(), p.max(), p.max() - p.min(), mean, c @ (p - mean).abs(), mode])


@right(*SIX)
def with_numpy(p, c):
    mean = np.average(p, weights=c)
    mode = min(x for x, w in zip(p, c, strict=True) if w == c.max())
    return np.array([min(p), max(p), np.ptp(p), mean, np.average(abs(p - mean), weights=c), mode])


def six_with(number, value):
    def changed(p, c):
        six = list(with_numpy(p, c))
        six[number] = value(p, c)
        return six

    return changed


@wrong(*SIX, says="the mean does not weigh")
def unweighted_mean(p, c):
    return six_with(3, lambda p, c: p.mean())(p, c)


@wrong(*SIX, says="avg_dev does not weigh")
def unweighted_deviation(p, c):
    return six_with(4, lambda p, c: np.abs(p - (c * p).sum()).mean())(p, c)


@wrong(*SIX, says="not a standard deviation")
def standard_deviation(p, c):
    return six_with(4, lambda p, c: np.sqrt((c * (p - (c * p).sum()) ** 2).sum()))(p, c)


@wrong(*SIX, says="deviations of opposite sign cancel")
def signed_deviation(p, c):
    return six_with(4, lambda p, c: (c * (p - (c * p).sum())).sum())(p, c)


@wrong(*SIX, says="of equally abundant elements the mode is the least p")
def first_mode(p, c):
    return six_with(5, lambda p, c: p[np.argmax(c)])(p, c)


@wrong(*SIX, says="not the largest property")
def mode_by_property(p, c):
    return six_with(5, lambda p, c: p.max())(p, c)


@wrong(*SIX, says="the range is another one")
def range_with_the_wrong_sign(p, c):
    return six_with(2, lambda p, c: p.min() - p.max())(p, c)


@wrong(*SIX, says="the minimum is another one")
def another_order(p, c):
    six = with_numpy(p, c)
    return [six[1], six[0], *six[2:]]


@wrong(*SIX, says=r"another shape\n.*expected \(6,\), got \(5,\)")
def five_of_six(p, c):
    return with_numpy(p, c)[:5]


@wrong(*SIX, says="None: is the return statement missing")
def returns_nothing(p, c):
    with_numpy(p, c)


@wrong(*SIX, says="should be 6 numbers")
def a_list_of_words(p, c):
    return ["minimum", "maximum", "range", "mean", "avg_dev", "mode"]


@wrong(*SIX, says="raised NotImplementedError")
def untouched_statistics(p, c):
    raise NotImplementedError()


@wrong(*SIX, says="the m.* is another one")
def always_the_same(p, c):
    return [0.0] * 6


# The floor

FLOOR = ("magpie.floor", "hidden.magpie.floor")


@right(*FLOOR)
def with_pandas(composition, target):
    y = pd.Series(target)
    return (y - y.groupby(list(composition)).transform("median")).abs().mean()


@right(*FLOOR)
def with_a_dictionary(composition, target):
    groups = defaultdict(list)
    for name, y in zip(composition, target, strict=True):
        groups[name].append(float(y))
    medians = {name: plain_statistics.median_low(ys) for name, ys in groups.items()}  # any median will do
    return sum(abs(y - medians[name]) for name, y in zip(composition, target, strict=True)) / len(target)


@right(*FLOOR)
def of_the_package(composition, target):
    return torch.tensor([aliasing_floor(composition, target).floor])


@wrong(*FLOOR, says="the best value is the median, not the mean")
def around_the_mean(composition, target):
    y = pd.Series(target)
    return (y - y.groupby(list(composition)).transform("mean")).abs().mean()


@wrong(*FLOOR, says="average over the rows, not over the compositions")
def mean_over_compositions(composition, target):
    y = pd.Series(target)
    return y.groupby(list(composition)).apply(lambda own: (own - own.median()).abs().mean()).mean()


@wrong("magpie.floor", says="compositions with one row count too")
def polymorphs_only(composition, target):
    several = [k for k, name in enumerate(composition) if list(composition).count(name) > 1]
    return with_pandas([composition[k] for k in several], target[several]) if several else 0.0


@wrong(*FLOOR, says="each composition may have its own")
def one_value_for_all(composition, target):
    return np.abs(target - np.median(target)).mean()


@wrong(*FLOOR, says="divided by their number")
def summed_only(composition, target):
    return with_pandas(composition, target) * len(target)


@wrong(*FLOOR, says="another floor|average over|median")
def only_neighbouring_rows_count_as_one_composition(composition, target):
    lost, start = 0.0, 0
    for _, run in itertools.groupby(composition):
        n = len(list(run))
        own = target[start : start + n]
        lost, start = lost + np.abs(own - np.median(own)).sum(), start + n
    return lost / len(target)


@wrong(*FLOOR, says=r"expected 0\.\d+ eV/atom, got 0\.0000 eV/atom")
def no_floor_at_all(composition, target):
    return 0.0


@wrong(*FLOOR, says="should be 1 numbers")
def a_floor_for_each_composition(composition, target):
    return dict(Counter(composition))


# Scaling

SCALING = ("magpie.scaling", "hidden.magpie.scaling")


@right(*SCALING)
def with_scikit_learn(x, train):
    imputer = SimpleImputer(keep_empty_features=True).fit(x[train])
    scaler = StandardScaler().fit(imputer.transform(x[train]))
    return scaler.transform(imputer.transform(x))


@right(*SCALING)
def with_torch_loops(x, train):
    out = np.zeros(x.shape)
    for k in range(x.shape[1]):
        known = [x[row, k] for row in train if not np.isnan(x[row, k])]
        mean, deviation = np.mean(known), np.std(known, ddof=1)
        for row in range(len(x)):
            if not np.isnan(x[row, k]):
                out[row, k] = (x[row, k] - mean) / (deviation if deviation > 0 else 1)
    return torch.from_numpy(out)


def scaled(x, rows):
    mean, deviation = np.nanmean(x[rows], axis=0), np.nanstd(x[rows], axis=0)
    return np.nan_to_num((x - mean) / np.where(deviation == 0, 1, deviation))


@wrong(*SCALING, says="the scaler has seen the test part")
def over_all_rows(x, train):
    return scaled(x, np.arange(len(x)))


@wrong(*SCALING, says="the scaler has seen the test part")
def mean_of_all_rows_deviation_of_the_training_part(x, train):
    return scaled(x, train) + (np.nanmean(x[train], 0) - np.nanmean(x, 0)) / np.where(
        (s := np.nanstd(x[train], 0)) == 0, 1, s
    )


@wrong(*SCALING, says="for all rows alike")
def each_part_by_itself(x, train):
    rest = np.setdiff1d(np.arange(len(x)), train)
    out = scaled(x, train)
    out[rest] = scaled(x[rest], np.arange(len(rest)))
    return out


@wrong(*SCALING, says="is NaN: an unknown value becomes the training mean")
def unknown_stays_unknown(x, train):
    mean, deviation = np.nanmean(x[train], axis=0), np.nanstd(x[train], axis=0)
    return (x - mean) / np.where(deviation == 0, 1, deviation)


@wrong(*SCALING, says="a deviation of 0 must not divide")
def divided_by_zero(x, train):
    filled = np.where(np.isnan(x), np.nanmean(x[train], axis=0), x)
    with np.errstate(all="ignore"):
        return (filled - filled[train].mean(0)) / filled[train].std(0)


@wrong(*SCALING, says="each feature should have mean 0")
def divided_only(x, train):
    deviation = np.nanstd(x[train], axis=0)
    out = np.nan_to_num(x) / np.where(deviation == 0, 1, deviation)
    return np.where(deviation == 0, 0, out)


@wrong(*SCALING, says="with those of the training part, for all rows alike")
def centred_only(x, train):
    return np.nan_to_num(x - np.nanmean(x[train], axis=0))


@wrong(*SCALING, says="another shape")
def the_training_part_only(x, train):
    return scaled(x, train)[train]


@wrong(*SCALING, says="for all rows alike")
def nothing_but_zeros(x, train):
    return np.zeros(x.shape)


# The interval

INTERVAL = ("ladder.interval", "hidden.magpie.interval")


@right(*INTERVAL)
def with_lists(error, composition):
    rows = defaultdict(list)
    for value, name in zip(error.tolist(), composition, strict=True):
        rows[name].append(value)
    groups, rng, means = list(rows.values()), np.random.default_rng(), []
    for _ in range(2000):
        drawn = [value for k in rng.integers(len(groups), size=len(groups)) for value in groups[k]]
        means.append(sum(drawn) / len(drawn))
    return [np.percentile(means, 2.5), np.percentile(means, 97.5)]


@right(*INTERVAL)
def of_the_report(error, composition):
    return report.bootstrap(error, composition)


def quantiles(error, composition, ends=(0.025, 0.975), draws=3000):
    rng, (names, which) = np.random.default_rng(3), np.unique(composition, return_inverse=True)
    total, count = np.bincount(which, error), np.bincount(which)
    drawn = rng.integers(len(names), size=(draws, len(names)))
    return np.quantile(total[drawn].sum(1) / count[drawn].sum(1), ends)


@wrong(*INTERVAL, says="the rows are drawn one by one")
def by_rows(error, composition):
    return quantiles(error, np.arange(len(error)))


@wrong(*INTERVAL, says="quantiles of the errors")
def quantiles_of_the_errors(error, composition):
    return np.quantile(error, [0.025, 0.975])


@wrong(*INTERVAL, says="the 90 % interval")
def ninety_percent(error, composition):
    return quantiles(error, composition, (0.05, 0.95))


@wrong("ladder.interval", says="one standard error")
def one_standard_error(error, composition):
    low, high = quantiles(error, composition)
    return error.mean() - (high - low) / 3.92, error.mean() + (high - low) / 3.92


@wrong(*INTERVAL, says="distances from the mean")
def distances(error, composition):
    return quantiles(error, composition) - error.mean()


@wrong(*INTERVAL, says="another interval")
def without_width(error, composition):
    return error.mean(), error.mean()


@wrong(*INTERVAL, says=r"another shape|should be 2 numbers")
def the_mean_alone(error, composition):
    return [error.mean()]


@wrong(*INTERVAL, says="another interval")
def the_wrong_way_round(error, composition):
    return quantiles(error, composition)[::-1]


# What the ladder predicts


@pytest.fixture(scope="module")
def table():
    return data.formation_energy().table.sample(frac=1, random_state=0).head(600)


@pytest.fixture(scope="module", params=["oxides held out", "random"])
def fitted(request, table):
    """(train ids, test ids, predictions of the four rungs, predictions when all rows were fitted)."""
    formulas = table["formula"].to_numpy()
    target = table["formation_energy_per_atom"].to_numpy()
    split = splits.family_split(list(formulas)) if "oxides" in request.param else splits.random_split(600)
    models = {
        "constant": b_ladder.constant(),
        "ridge": b_ladder.ridge(),
        "boosted trees": b_ladder.boosted_trees(),
        "MLP": b_ladder.mlp(epochs=20),
    }
    honest, leaked = (
        {
            name: m.fit(formulas[rows], target[rows]).predict(formulas[split.test])
            for name, m in models.items()
        }
        for rows in (split.train, np.arange(600))
    )
    ids = table.index.to_numpy()
    return list(ids[split.train]), list(ids[split.test]), honest, leaked


LADDER = ("ladder.errors", "hidden.magpie.ladder")
BAD_LADDERS = {
    "a list": (lambda p, leaked: list(p.values()), "a dict from model to predictions"),
    "a rung is missing": (lambda p, leaked: {"constant": p["constant"]}, "a dict from model to predictions"),
    "one too few": (lambda p, leaked: p | {"ridge": p["ridge"][1:]}, "prediction of ridge has another shape"),
    "the constant knows the test part": (lambda p, leaked: p | {"constant": leaked["constant"]}, "fitted on"),
    "the trees know it": (lambda p, leaked: p | {"boosted trees": leaked["boosted trees"]}, "too good"),
    "another order": (lambda p, leaked: p | {"MLP": np.sort(p["MLP"])}, "hardly better|tells polymorphs"),
    "NaN": (lambda p, leaked: p | {"MLP": p["MLP"] * np.nan}, "NaN or infinite"),
}


@pytest.mark.parametrize("name", LADDER)
def test_an_honest_ladder_passes(name, fitted, capsys):
    train, test, honest, _ = fitted
    check(name, train, test, honest)
    check(name, train, test, {rung: list(map(float, values)) for rung, values in honest.items()})
    assert re.search(r"constant \d\.\d+, ridge .* eV/atom", capsys.readouterr().out)


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("case", BAD_LADDERS)
def test_a_ladder_that_cannot_be_fails(name, case, fitted):
    train, test, honest, leaked = fitted
    change, words = BAD_LADDERS[case]
    with pytest.raises(CheckFailed, match=words):
        check(name, train, test, change(honest, leaked))


@pytest.mark.parametrize("name", LADDER)
def test_a_model_of_the_formula_that_tells_polymorphs_apart_fails(name, fitted, table):
    train, test, honest, _ = fitted
    target = table["formation_energy_per_atom"]
    sees = {rung: 0.5 * honest[rung] + 0.5 * target[test].to_numpy() for rung in ("ridge", "MLP")}
    if table.loc[test, "formula"].is_unique:
        pytest.skip("no polymorphs in this test part")
    with pytest.raises(CheckFailed, match="tells polymorphs apart"):
        check(name, train, test, honest | sees)


def test_unknown_ids_are_told(fitted):
    train, test, honest, _ = fitted
    with pytest.raises(CheckFailed, match="ids are not those of crystals"):
        check("ladder.errors", train, ["mp-0", *test[1:]], honest)


# Two models on the same crystals


@pytest.fixture
def errors():
    rng = np.random.default_rng(0)
    hard = rng.gamma(2.0, 0.2, size=300)
    network, formula = (np.abs(hard + rng.normal(shift, 0.05, size=300)) for shift in (0.03, 0.0))
    return network, formula, [f"Fe{k // 2}O" for k in range(300)]


BAD_PAIRS = {
    "sign": (lambda n, f, c: quantiles(f - n, c), "network minus formula"),
    "end by end": (lambda n, f, c: quantiles(n, c) - quantiles(f, c), "subtracted end by end"),
    "two intervals": (lambda n, f, c: quantiles(n, c) - quantiles(f, c)[::-1], "two separate intervals"),
    "the network alone": (lambda n, f, c: quantiles(n, c), "another interval of the difference"),
    "one number": (lambda n, f, c: [(n - f).mean()], "interval of the difference has another shape"),
}


def test_the_paired_interval_passes(errors, capsys):
    network, formula, composition = errors
    check("ladder.paired", network, formula, composition, tuple(quantiles(network - formula, composition)))
    assert "the formula is better here" in capsys.readouterr().out
    check(
        "ladder.paired",
        formula,
        torch.tensor(network),
        composition,
        of_the_report(formula - network, composition),
    )
    assert "the network is better here" in capsys.readouterr().out


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_another_interval_of_the_difference_fails(case, errors):
    change, words = BAD_PAIRS[case]
    with pytest.raises(CheckFailed, match=words):
        check("ladder.paired", *errors, change(*errors))


# One failure mode

SILICA = [("mp-10851", "quartz-like", -3.1), ("mp-640917", "dense", -3.1), ("mp-554397", "", -3.1)]
GOOD_EVIDENCE = {
    "polymorph aliasing": (SILICA, "3 crystals of SiO2 span 2.43 eV/atom"),
    "cutoff": ([("mp-390", cutoff, -3.0 + cutoff / 100) for cutoff in (3.0, 5.0, 8.0)], "changes by 0.050"),
    "twelfth neighbour": ([("mp-4126", [0, 1, 2, 3, 4], -2.8), ("mp-4126", [4, 3, 2, 1, 0], -2.6)], "KUO3"),
}
BAD_EVIDENCE = {
    "unknown kind": ("overfitting", SILICA, "not one of the three"),
    "one row": ("polymorph aliasing", SILICA[:1], "two or more rows of three"),
    "pairs": ("polymorph aliasing", [row[:2] for row in SILICA], "two or more rows of three"),
    "no such crystal": ("polymorph aliasing", [("quartz", "", -3.1), *SILICA], "no crystal of the"),
    "two formulas": ("polymorph aliasing", [*SILICA, ("mp-390", "", -3.1)], "of one formula"),
    "the same crystal twice": ("polymorph aliasing", [SILICA[0], SILICA[0]], "of one formula"),
    "seen": ("polymorph aliasing", [SILICA[0], ("mp-640917", "", -0.9)], "different predictions"),
    "alike": ("polymorph aliasing", [("mp-568656", "", -0.2), ("mp-8062", "", -0.2)], "hardly differ"),
    "two cutoffs": ("cutoff", [("mp-390", 5, -3.0), ("mp-390", 8, -2.0)], "too few conditions"),
    "no change": ("cutoff", [("mp-390", cutoff, -3.0) for cutoff in (4, 6, 8)], "hardly changes"),
    "two crystals": (
        "twelfth neighbour",
        [("mp-390", "", -3.0), ("mp-4126", "x", -2.0)],
        "one crystal under",
    ),
    "CsCl": (
        "twelfth neighbour",
        [("mp-22865", "as given", -2.0), ("mp-22865", "turned", -2.0)],
        "hardly changes",
    ),
    "words": ("cutoff", [("mp-390", cutoff, "low") for cutoff in (4, 6, 8)], "should be 3 numbers"),
}


@pytest.mark.parametrize("kind", GOOD_EVIDENCE)
def test_evidence_on_real_crystals_passes(kind, capsys):
    evidence, words = GOOD_EVIDENCE[kind]
    check("failure.evidence", kind, evidence, model_of(evidence))
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("case", BAD_EVIDENCE)
def test_evidence_that_shows_nothing_fails(case):
    kind, evidence, words = BAD_EVIDENCE[case]
    with pytest.raises(CheckFailed, match=words):
        check("failure.evidence", kind, evidence, model_of(evidence))


def model_of(evidence, knows=True):
    """A model that says what the evidence says, and elsewhere what is known, 0.3 eV/atom too high; or one
    that says -1 eV/atom of every other crystal."""
    said = {(str(row[0]), str(row[1])): row[-1] for row in evidence}
    known = labelled().table["formation_energy_per_atom"]

    def predicted_energy(kind, material_id, condition):
        return said.get((material_id, str(condition)), float(known[material_id]) + 0.3 if knows else -1.0)

    return predicted_energy


def test_evidence_that_no_model_gives_fails():
    evidence, _ = GOOD_EVIDENCE["cutoff"]
    other = [*evidence[:-1], (*evidence[-1][:2], -2.0)]
    with pytest.raises(CheckFailed, match="the model predicts another energy than the evidence says"):
        check("failure.evidence", "cutoff", other, model_of(evidence))


@pytest.mark.parametrize("kind", GOOD_EVIDENCE)
def test_evidence_of_a_made_up_model_fails_after_a_short_training_too(kind, monkeypatch):
    """Different energies for different crystals are not enough: they must have to do with the crystals."""
    monkeypatch.setenv("MG9_BUDGET", "tiny")
    evidence, _ = GOOD_EVIDENCE[kind]
    honest = model_of(evidence)
    for seed in range(5):
        monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
        check("failure.evidence", kind, evidence, honest)
        with pytest.raises(CheckFailed, match="the model of the evidence knows nothing"):
            check("failure.evidence", kind, evidence, made_up(evidence))


def made_up(evidence):
    """What the evidence says, and elsewhere a number that depends on the crystal's id alone."""
    said = {(str(row[0]), str(row[1])): row[-1] for row in evidence}

    def predicted_energy(kind, material_id, condition):
        return said.get((material_id, str(condition)), -3.0 + int(material_id[3:]) % 97 / 50)

    return predicted_energy


@pytest.mark.parametrize("kind", GOOD_EVIDENCE)
def test_evidence_of_a_model_that_knows_nothing_fails(kind):
    evidence, _ = GOOD_EVIDENCE[kind]
    with pytest.raises(CheckFailed, match="the model of the evidence knows nothing"):
        check("failure.evidence", kind, evidence, model_of(evidence, knows=False))


# The seven points


@pytest.fixture(scope="module")
def study(table):
    dataset = data.formation_energy()
    few = table.head(150)
    object.__setattr__(dataset, "table", few)
    study = report.Report(dataset, "formation_energy_per_atom", splits.family_split(list(few["formula"])))
    study.ladder(
        {
            "constant": b_ladder.constant(),
            "boosted trees": b_ladder.boosted_trees(),
            "ridge": b_ladder.ridge(),
        }
    )
    return study


def delivered(study):
    """All that the checklist asks for."""
    study.claim = "new chemistry"
    study.residuals()
    study.audit()
    study.document(selection="nothing was chosen")


def report_on(deliver=delivered):
    """As in the notebook: the report of two models on other crystals."""

    def report_on(*parts):
        dataset = data.formation_energy()
        rows = dataset.table.loc[list(itertools.chain(*parts))]
        numbers = np.split(np.arange(len(rows)), np.cumsum([len(part) for part in parts])[:2])
        claim = "new chemistry: no oxide was seen in training"
        other = report.Report(
            replace(dataset, table=rows), "formation_energy_per_atom", splits.Split(*numbers, claim)
        )
        other.ladder({"constant": b_ladder.constant(), "ridge": b_ladder.ridge()})
        deliver(other)
        return str(other)

    return report_on


def test_the_checklist_asks_for_each_point_until_all_are_there(study):
    asked, rows = [], study.dataset.table.index
    ids = list(rows[study.split.train]), list(rows[study.split.test])
    more = (*ids, report_on())
    steps = {
        1: lambda: setattr(study, "claim", "new chemistry"),
        3: study.residuals,
        5: study.audit,
        7: lambda: study.document(selection="nothing was chosen"),
    }
    for number, deliver in steps.items():
        with pytest.raises(CheckFailed, match=f"point {number}, .* is missing. It matters: "):
            check("report.checklist", str(study), *more)
        asked.append(number)
        deliver()
    check("report.checklist", str(study), *more)
    with pytest.raises(CheckFailed, match="there is no crystal"):
        check("report.checklist", str(study), [], [], report_on())
    for other in (ids[::-1], (ids[0][20:], ids[1])):
        with pytest.raises(CheckFailed, match="another error of (constant|ridge)"):
            check("report.checklist", str(study), *other, report_on())
    with pytest.raises(CheckFailed, match="not those of crystals"):
        check("report.checklist", str(study), ["mp-0"], ids[1], report_on())
    with pytest.raises(CheckFailed, match="another error of ridge.*"):
        check("report.checklist", re.sub(r"ridge\s+0", "ridge 1", str(study)), *more)
    for number, typed in TYPED.items():
        with pytest.raises(CheckFailed, match=f"on other crystals point {number}, "):
            check("report.checklist", str(study), *ids, typed)
    study.claim = "anywhere in materials space"
    with pytest.raises(CheckFailed, match="point 1, .* is there, and it fails"):
        check("report.checklist", str(study), *more)
    assert asked == [1, 3, 5, 7]


def late(study):
    """In another order, in more words and with more than is asked for: as good."""
    study.document(selection="the epoch was chosen on the validation part. That is all")
    study.audit(post_relaxation="none. The formula is what it was before")
    study.residuals()
    study.learning_curve()
    study.claim = study.split.claim


def no_audit(study):
    study.leaks, study.audited, study.claim = [], ["0 compositions"], "new chemistry"
    study.residuals()
    study.document(selection="nothing")


def typed_over(pattern, text):
    return lambda *parts: re.sub(pattern, text, report_on()(*parts), flags=re.S)


TYPED = {  # the point that is not the one of these crystals
    1: typed_over(r"(Split|split) is declared.*?\[", "split is declared and matches the claim\n["),
    3: typed_over(r"\d\.\d{3} \(\d", "0.123 (0"),
    5: report_on(no_audit),
    6: typed_over("interval\\s0", "interval 1"),
    7: typed_over("sha256 of the\\s+row\\s+numbers\\s+....", "sha256 of the row numbers 0000"),
}


def test_the_points_may_be_delivered_in_another_order_and_in_other_words():
    for seed in range(3):
        parts = seven_points.other_crystals(np.random.default_rng(seed))
        seven_points.holds_points(report_on(late)(*parts), parts)
        for one, other in itertools.combinations(map(set, parts), 2):
            assert not one & other
        formulas = [set(labelled().table.loc[part, "formula"]) for part in parts]
        assert len(formulas[0] & formulas[2]) == 3 and not formulas[1] & formulas[2]


@pytest.mark.parametrize(("printed", "words"), [(3, "printed report"), ("[x] 1  fine", "not the report")])
def test_something_else_is_no_checklist(printed, words):
    with pytest.raises(CheckFailed, match=words):
        check("report.checklist", printed, [], [], report_on())


# All of them


def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def graded() -> dict[str, list[str]]:
    """Check name -> names of the objects, from the graded cells of the notebook."""
    found = {}
    for cell in cells():
        if cell["metadata"].get("nbgrader", {}).get("grade") and cell["cell_type"] == "code":
            (call,) = [n for n in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(n, ast.Call)]
            found[call.args[0].value] = [argument.id for argument in call.args[1:]]
    return found


@pytest.fixture(scope="module")
def reference() -> dict:
    """The functions that the solution notebook defines, with its imports."""
    names: dict = {}
    for cell in cells():
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            tree.body = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom | ast.FunctionDef)]
            exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return names


OF_FUNCTIONS = SIX + FLOOR + SCALING + INTERVAL


def test_the_notebook_calls_every_check():
    assert sorted(graded()) == CHECKS


def test_every_check_of_a_function_catches_something():
    assert {name for name, *_ in WRONG} == {name for name, _ in RIGHT} == set(OF_FUNCTIONS)


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_the_reference_passes_whatever_is_drawn_through_the_five_verbs_alone(name, reference):
    handed = [Handle(reference[argument]) for argument in graded()[name]]
    for seed in range(6):
        says = REGISTRY[name].function(Across(), np.random.default_rng(seed), *handed)
        assert says and "\n" not in says


@pytest.mark.parametrize(("name", "thing"), RIGHT, ids=idfn)
def test_right_code_passes_however_it_is_written(name, thing):
    check(name, thing)


@pytest.mark.parametrize(("name", "thing", "says"), WRONG, ids=idfn)
def test_wrong_code_fails_and_its_mistake_is_named(name, thing, says):
    with pytest.raises(CheckFailed) as caught:
        check(name, thing)
    message = str(caught.value)
    assert re.search(says, message), message
    explains = "is None" not in message and "raised" not in message  # else the cause is plain
    assert (f"usual cause: {REGISTRY[name].cause}" in message) == explains
    assert f"reread slide {REGISTRY[name].slide:02d}" in message


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("thing", [None, 3, "text", [], {}])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(graded()[name]))
