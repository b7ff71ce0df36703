"""The report on real crystals: every point, every planted leak, and what limits a model."""

import dataclasses
import re

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mg9 import data, groups, held_out, plots, report, splits
from mg9.b_magpie import magpie
from mg9.d_cgcnn import CGCNN
from mg9.report import Reading, Report, bootstrap, fitted_on, in_turn, magpie_features, network
from mg9.report.ablation import ablated
from mg9.report.audit import duplicates, preprocessing, shared_compositions
from mg9.report.curve import floor_of, limited_by
from mg9.report.models import fitted
from mg9.report.statistics import by_region
from mg9.splits import Split, composition_split, family_split, random_split

TARGET = "formation_energy_per_atom"
POLYMORPHS = ("SiO2", "TiO2", "ZnS", "SiC", "ZrO2", "BN", "C", "MnO2", "Al2O3", "WO3")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MG9_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    """240 crystals, all polymorphs of ten compositions among them."""
    ds = data.formation_energy()
    reduced = splits.reduced_formulas(ds.table.formula)
    keep = np.isin(reduced, POLYMORPHS)
    keep[np.flatnonzero(~keep)[:: int((~keep).sum() / (240 - keep.sum()))][: 240 - keep.sum()]] = True
    return dataclasses.replace(ds, table=ds.table[keep])


@pytest.fixture(scope="module")
def formulas(dataset) -> list[str]:
    return list(dataset.table.formula)


@pytest.fixture(scope="module")
def structures(dataset) -> list[Structure]:
    return dataset.structures(dataset.table.index)


@pytest.fixture(scope="module")
def values(dataset) -> np.ndarray:
    return dataset.table[TARGET].to_numpy()


def ridge(*steps):
    return make_pipeline(SimpleImputer(keep_empty_features=True), *steps, StandardScaler(), Ridge(10.0))


def trees():
    return HistGradientBoostingRegressor(max_iter=15, random_state=0)


def baselines() -> dict:
    return {"constant": DummyRegressor(), "Magpie + ridge": ridge(), "Magpie + boosted trees": trees()}


def volume_and_neighbours(structures) -> np.ndarray:
    """Features of the structure: electronegativity, volume of an atom, its two shortest distances."""
    rows = []
    for s in structures:
        distance = np.sort(s.distance_matrix + np.diag(np.full(len(s), 9.0)), axis=None)
        rows.append([s.volume / len(s), distance[0], distance[len(distance) // 4]])
    return np.hstack([np.array(rows), np.nan_to_num(magpie_features(structures))])


@pytest.fixture(scope="module")
def study(dataset, formulas) -> Report:
    """A full report of boosted trees under a composition split."""
    split = composition_split(formulas, test=0.25)
    made = Report(dataset, TARGET, split, claim="new compositions")
    made.ladder(baselines())
    made.residuals()
    made.ablations()
    made.audit()
    made.learning_curve()
    made.document(selection="all settings were the defaults")
    return made


def done(made: Report) -> list:
    return [point.done for point in made.points]


# The points


def test_a_new_report_says_what_is_missing_and_why_it_matters(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas))
    assert done(made) == [None] * 7
    text = str(made)
    for title, why, how in report.POINTS:
        assert title[:40] in text
        for words in (why, how):
            assert words in re.sub(r"\s+", " ", text), words
    assert "0 of 7: not yet a pass (5 of 7 is a pass, 7 of 7 exemplary)" in text


def test_a_full_report_is_exemplary(study):
    assert done(study) == [True] * 7 and "7 of 7: exemplary" in str(study)
    text = re.sub(r"\s+", " ", str(study))
    for words in ("new compositions of known chemistry", "Magpie + ridge", "eV/atom", "95 % interval"):
        assert words in text


def test_five_of_seven_is_a_pass(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas), claim="new compositions")
    made.ladder(baselines())
    made.residuals()
    assert done(made) == [True, True, True, True, None, True, None] and "5 of 7: a pass" in str(made)
    del made.models["Magpie + ridge"]
    assert done(made)[1] is None and "no linear among constant, Magpie + boosted trees" in str(made)
    assert "4 of 7: not yet a pass" in str(made)


@pytest.mark.parametrize(
    ("claim", "passes"),
    [("new compositions", True), ("New Compositions", True), ("new chemistry", False), ("new", False)],
)
def test_a_claim_is_held_against_the_split(dataset, formulas, claim, passes):
    made = Report(dataset, TARGET, composition_split(formulas), claim=claim)
    assert made.points[0].done is passes
    if not passes:
        assert f"you claim '{claim}'" in re.sub(r"\s+", " ", str(made))


def test_an_audit_without_models_and_what_belongs_to_an_earlier_ladder_do_not_count(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas), claim="new compositions")
    assert made.audit() == [] and made.points[4].done is None
    assert "ladder(...) first" in made.points[4].found
    made.ladder({"ridge": ridge()})
    assert made.audit() == [] and made.points[4].done
    made.document(selection="none")
    made.ladder({"other": ridge()})
    assert done(made)[4:] == [None, True, None]


def test_a_hand_made_split_is_taken_on_trust_and_says_so(dataset, formulas):
    split = dataclasses.replace(composition_split(formulas), groups=None)
    assert "taken on trust" in Report(dataset, TARGET, split, claim="new compositions").points[0].found


def test_one_family_is_one_look(dataset, formulas):
    made = Report(dataset, TARGET, family_split(formulas, hold_out="halide"), claim="new chemistry")
    made.ladder({"ridge": ridge()})
    assert "effective sample size of 1 it does not say what another group" in made.points[5].found


def test_the_ladder_is_the_error_of_each_model(study, values):
    split = study.split
    constant = np.abs(values[split.test] - values[split.train].mean()).mean()
    assert study.scores.mae["constant"] == pytest.approx(constant)
    x = magpie_features([study.structures[row] for row in split.train])
    by_hand = ridge().fit(x, values[split.train])
    predicted = by_hand.predict(magpie_features([study.structures[row] for row in split.test]))
    error = np.abs(predicted - values[split.test])
    assert study.scores.mae["Magpie + ridge"] == pytest.approx(error.mean())
    np.testing.assert_allclose(study.residual("Magpie + ridge"), predicted - values[split.test])
    assert (study.scores.low < study.scores.mae).all() and (study.scores.mae < study.scores.high).all()
    assert study.headline == "Magpie + boosted trees" and study.unit == "eV/atom"
    easy = random_split(240, validation=len(split.validation) / 240, test=len(split.test) / 240)
    assert study.scores.random["constant"] == pytest.approx(
        np.abs(values[easy.test] - values[easy.train].mean()).mean()
    )


def test_a_constant_is_added_to_the_ladder(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas))
    assert list(made.ladder({"mine": ridge()}).index) == ["constant", "mine"] and made.headline == "mine"
    with pytest.raises(ValueError, match="no model 'yours' in the ladder: choose one of constant, mine"):
        made.ladder({"mine": ridge()}, headline="yours")


def test_methods_could_stand_in_a_paper(study, dataset):
    text = study.methods
    for words in (
        *("formation energy per atom (eV/atom) of 240 crystals", "matminer 0.3.9", "CC-BY 4.0"),
        *("doi:10.1002/qua.24917", dataset.provenance.sha256[:16], "new compositions of known chemistry"),
        *("all settings were the defaults", "StructureMatcher", "Python 3.1", "scikit-learn 1."),
    ):
        assert words in text, words
    assert all(part[:1].isupper() or part[:1].isdigit() for part in re.split(r"(?<=[a-z)])\. ", text)[1:])
    assert not re.search(r"\.\.|  |None|\{", text)


def test_a_methods_section_knows_its_rows(study):
    moved = dataclasses.replace(study.split, test=study.split.test[1:])
    assert report.methods.digest(moved) != report.methods.digest(study.split)
    shuffled = dataclasses.replace(study.split, test=study.split.test[::-1])
    assert report.methods.digest(shuffled) == report.methods.digest(study.split)


# Residuals


def test_residuals_by_region_are_those_of_the_crystals(study, formulas):
    table, test = study.regions, study.split.test
    residual = study.residual()
    family = groups.pooled([groups.chemistry_family(formulas[row]) for row in test])
    oxides = table[(table.kind == "family") & (table.region == "oxide")].iloc[0]
    assert oxides.n == (family == "oxide").sum() >= 10
    assert oxides.mae == pytest.approx(np.abs(residual[family == "oxide"]).mean())
    assert oxides.bias == pytest.approx(residual[family == "oxide"].mean())
    oxygen = table[(table.kind == "element") & (table.region == "O")].iloc[0]
    assert oxygen.n == sum("O" in groups.elements_of(formulas[row]) for row in test)
    assert set(table.kind) == {"family", "element", "prototype", "space group"}
    for kind in ("family", "prototype", "space group"):
        part = table[table.kind == kind]
        assert part.n.sum() == len(test), "each crystal is in one region"
        assert part.mae.is_monotonic_decreasing
        assert (part[part.region != "other"].n >= 10).all()


def test_a_region_of_bad_predictions_is_the_worst():
    formulas = [f"{metal}{anion}" for anion in ("O", "S") for metal in ("Mg", "Ca", "Sr", "Ba", "Mn") * 4]
    residual = np.where(["O" in f for f in formulas], -0.5, 0.1) + np.linspace(0, 0.01, 40)
    table = by_region(residual, formulas, ["AB Fm-3m: m-3m, m-3m"] * 40, np.arange(40).astype(str))
    worst = table[table.kind == "family"].iloc[0]
    assert worst.region == "oxide" and worst.bias < -0.45 and worst.low <= worst.mae <= worst.high
    assert "other" in set(table[table.kind == "element"].region)  # five metals of eight rows each


# Intervals


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for draw in range(200):
        sizes = rng.integers(1, 6, size=60)
        names = np.repeat(np.arange(60), sizes)
        values = rng.normal(1.0, 1.0, 60)[names]  # polymorphs err alike
        low, high = bootstrap(values, names, draws=200, seed=draw)
        hits += low <= 1.0 <= high
    assert 0.88 <= hits / 200 <= 0.99, "rows drawn singly would cover only some 75 %"


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30))
@settings(max_examples=30, deadline=None)
def test_an_interval_holds_the_mean_and_lies_within_the_values(values):
    low, high = bootstrap(values, np.arange(len(values)), draws=200)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert low - 1e-9 <= np.mean(values) + np.ptp(values) and high >= np.mean(values) - np.ptp(values)


def test_one_group_has_no_interval():
    assert np.isnan(bootstrap([1.0, 2.0], ["SiO2", "SiO2"])).all()


# Ablations


def test_shuffled_positions_keep_cell_and_elements_and_nothing_else(structures):
    for before, after in zip(structures[:60], ablated(structures[:60], "positions shuffled"), strict=True):
        assert after.lattice == before.lattice and after.species == before.species
        if len(before) > 1:
            assert not np.allclose(after.distance_matrix, before.distance_matrix, atol=0.05)
            apart = after.distance_matrix + np.diag(np.full(len(after), 9.0))
            assert apart.min() > 0.8, f"{before.formula}: atoms fell on each other"


def test_exchanged_elements_keep_positions_and_which_sites_are_alike(structures):
    changed = ablated(structures, "elements exchanged")
    alike = 0
    for before, after in zip(structures, changed, strict=True):
        assert np.array_equal(after.frac_coords, before.frac_coords) and after.lattice == before.lattice
        old, new = np.array(before.atomic_numbers), np.array(after.atomic_numbers)
        assert np.array_equal(old[:, None] == old, new[:, None] == new)
        alike += before.composition.almost_equals(after.composition)
    assert alike < 0.1 * len(structures)
    oxygen = [sum("O" in s.symbol_set for s in some) for some in (structures, changed)]
    assert abs(oxygen[0] - oxygen[1]) < 0.3 * oxygen[0], "as often as in the data"
    assert ablated([structures[0]] * 3, "elements exchanged")  # few elements to draw from
    with pytest.raises(ValueError, match="no ablation 'rotated': choose one of positions shuffled"):
        ablated(structures, "rotated")


def test_a_composition_model_is_as_good_with_shuffled_positions(study):
    table = study.ablated[study.headline]
    assert list(table.index) == ["intact", "positions shuffled", "elements exchanged", "both"]
    assert table.ratio["positions shuffled"] == 1 and table.ratio["elements exchanged"] > 1.5
    assert study.aware == [] and "not claimed" in study.points[3].found


def test_a_model_that_reads_positions_has_to_be_ablated(dataset, formulas):
    """A model of the volume and the distances: its error must grow when the atoms are shuffled."""
    target_of_structure = dataset.table.assign(distance=0.0)
    crystals = dataset.structures(dataset.table.index)
    target_of_structure["distance"] = [row[1] for row in volume_and_neighbours(crystals)]
    made = Report(
        dataclasses.replace(dataset, table=target_of_structure), "distance", composition_split(formulas)
    )
    made.ladder({"aware": Reading(ExtraTreesRegressor(30, random_state=0), volume_and_neighbours)})
    assert made.aware == made.geometric == ["aware"] and made.points[3].done is None
    assert "The prediction of aware depends on the positions" in made.points[3].found
    table = made.ablations()
    inputs = volume_and_neighbours(ablated(crystals, "positions shuffled"))
    again = fitted(made.models["aware"].model, inputs, made.values, made.split)
    error = np.abs(again.predict(inputs[made.split.test]) - made.values[made.split.test])
    assert table.mae["positions shuffled"] == pytest.approx(error.mean()), "retrained on shuffled crystals"
    assert made.points[3].done and "aware learns from the structure" in made.points[3].found
    made.ablated["aware"].loc["positions shuffled", "ratio_low"] = 1.0
    assert "aware is hardly more than a composition model in disguise" in made.points[3].found


def test_relaxed_cells_have_to_be_declared(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas))

    def volume(structures):
        return np.array([[s.volume / len(s), s.lattice.a] for s in structures])

    made.ladder({"volume": Reading(Ridge(), volume)})
    assert made.aware == [] and made.geometric == ["volume"]
    assert [leak.kind for leak in made.audit()] == ["post-relaxation features"]
    assert made.points[4].done is False and "volume reads positions or cells" in str(made.leaks[0])
    assert made.audit(post_relaxation="the volume is that of the relaxed cell") == []
    assert made.points[4].done and "the relaxed cell" in made.points[4].found


# Planted leaks


def moved(split: Split, rows, *, groups=None) -> Split:
    """`rows` of the test part carried over into training."""
    rest = np.setdiff1d(split.test, rows)
    return Split(np.append(split.train, rows), split.validation, rest, split.claim, groups)


def test_nothing_leaks_where_nothing_was_planted(study):
    assert study.leaks == []
    assert "0 compositions are in more than one part, and 0 pairs" in study.points[4].found


def test_a_polymorph_that_was_moved_across_is_caught(dataset, formulas):
    split = composition_split(formulas, test=0.4)
    reduced = splits.reduced_formulas(formulas)
    name = next(name for name in POLYMORPHS if name in reduced[split.test])
    row = split.test[reduced[split.test] == name][0]
    made = Report(dataset, TARGET, moved(split, [row]), claim="new compositions")
    leaks = made.audit()
    assert [leak.kind for leak in leaks if leak.kind != "duplicate structure"] == ["shared composition"]
    assert name in str(leaks[-1]) and dataset.table.index[row] in str(leaks[-1])
    assert made.points[4].done is False


def test_a_member_of_the_family_that_was_moved_across_is_caught(dataset, formulas):
    split = family_split(formulas, hold_out="halide")
    made = Report(dataset, TARGET, moved(split, split.test[:1], groups=split.groups), claim="new chemistry")
    assert "group on both sides: halide" in "; ".join(map(str, made.audit()))


def test_a_random_split_shares_compositions_and_says_so(dataset, formulas):
    made = Report(dataset, TARGET, random_split(len(formulas), test=0.3), claim="new crystals")
    assert [leak for leak in made.audit() if leak.kind != "duplicate structure"] == []
    assert re.search(r"[1-9]\d* compositions, as the claim says, are in more than one part", made.audited[0])


def test_a_duplicate_in_another_cell_is_found(formulas, structures):
    """Quartz in a supercell, shifted, in training, and as it was in the test part."""
    rows = np.arange(len(formulas))
    split = Split(rows[40:], rows[20:40], rows[:20], "")
    for row in rows[:20:5]:
        hidden = (structures[row] * (1, 2, 1)).copy()
        hidden.translate_sites(range(len(hidden)), [0.1, 0.2, 0.3])
        copies, names = [*structures, hidden], [*formulas, hidden.formula]
        longer = dataclasses.replace(split, train=np.append(split.train, len(rows)))
        assert (len(rows), row) in duplicates(longer, names, copies)
        assert len(rows) in shared_compositions(longer, names)[splits.reduced_formulas(formulas)[row]]
        strained = b_strained(hidden)
        assert (len(rows), row) not in duplicates(longer, names, [*structures, strained])


def b_strained(structure: Structure) -> Structure:
    """Another crystal: sheared beyond any tolerance."""
    return Structure(
        structure.lattice.matrix @ [[1, 0.4, 0], [0, 1, 0.4], [0, 0, 2]],
        structure.species,
        structure.frac_coords,
    )


FITTED = {
    "standard": StandardScaler,
    "min-max": MinMaxScaler,
    "imputer": SimpleImputer,
    "PCA": lambda: PCA(5),
    "selection": lambda: SelectKBest(f_regression, k=9),
}


@pytest.mark.parametrize("kind", FITTED)
def test_it_is_seen_on_which_rows_a_transformer_was_fitted(structures, formulas, values, kind):
    x = np.nan_to_num(magpie(formulas)[0])
    x += 1e-3 * np.random.default_rng(0).normal(size=x.shape)
    x[::7, 3] = np.nan if kind == "imputer" else 0.0
    split = composition_split(formulas)
    both = np.r_[split.train, split.validation]
    cases = {
        "the training part": split.train,
        "training and validation part": both,
        "all rows": np.arange(len(x)),
        "other rows": np.r_[split.train, split.test],
    }
    for name, rows in cases.items():
        made = FITTED[kind]().fit(x[rows], values[rows])
        assert fitted_on(made, x, values, split) == name
        assert fitted_on(FrozenEstimator(made), x, values, split) == name


@pytest.mark.parametrize("scaler", [StandardScaler, MinMaxScaler])
def test_a_scaler_that_was_fitted_on_all_rows_is_caught(dataset, formulas, structures, scaler):
    """Three ways to plant it: before the pipeline, frozen inside it, and with the mean alone."""
    split = composition_split(formulas)
    x = np.nan_to_num(magpie_features(structures))
    everything, training = scaler().fit(x), scaler().fit(x[split.train])

    def kinds(model, inputs) -> list[str]:
        made = Report(dataset, TARGET, split)
        made.ladder({"mine": Reading(model, inputs)})
        return [str(leak) for leak in made.audit()]

    def scaled(by):
        return lambda some: by.transform(np.nan_to_num(magpie_features(some)))

    (leak,) = kinds(Ridge(), scaled(everything))[:1]
    assert "mine: the inputs have been" in leak and "over all rows" in leak
    assert kinds(Ridge(), scaled(training)) == []
    plain = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
    (leak,) = kinds(make_pipeline(plain, FrozenEstimator(everything), Ridge()), magpie_features)
    assert "'frozenestimator' was fitted on all rows" in leak
    assert kinds(make_pipeline(plain, FrozenEstimator(training), Ridge()), magpie_features) == []
    assert kinds(make_pipeline(plain, scaler(), PCA(4), Ridge()), magpie_features) == []


def test_inputs_that_run_from_0_to_1_by_nature_are_no_leak(formulas, values):
    x = np.tile([[0.0, 1.0], [0.5, 0.0], [1.0, 0.5]], (80, 1))
    assert list(preprocessing("mine", Ridge(), x, values, composition_split(formulas))) == []


# Learning curve


def test_the_verdict_follows_the_rule():
    rng, names = np.random.default_rng(0), np.arange(400)
    noise = rng.uniform(0.8, 1.2, 400)
    half, better = 0.30 * noise, 0.24 * noise
    assert limited_by(half, better, 0.01, 0.0, names)[0] == "data-limited"
    assert (
        limited_by(half, 0.295 * noise, 0.01, 0.0, names)[0] == "representation-limited"
    )  # 2 % is too little
    assert limited_by(half, 0.295 * noise, 0.28, 0.0, names)[0] == "model-limited"
    assert limited_by(half, 0.295 * noise, 0.28, 0.2, names)[0] == "representation-limited"  # aliased
    lucky = half.copy()
    lucky[:2] = -6.0  # 10 % better by two crystals of 400: not beyond doubt
    verdict, why = limited_by(half, lucky, 0.01, 0.0, names)
    assert verdict == "representation-limited" and "twice the data lower the test error by" in why


def test_the_floor_is_that_of_equal_inputs(formulas, values):
    """Only polymorphs share their Magpie features."""
    x = magpie(formulas)[0]
    reduced = splits.reduced_formulas(formulas)
    by_hand = np.array(
        [np.abs(v - np.median(values[reduced == n])) for v, n in zip(values, reduced, strict=True)]
    )
    assert floor_of(x, values) == pytest.approx(by_hand.mean()) and by_hand.mean() > 0.005
    assert floor_of(np.arange(240.0)[:, None], values) == 0 == floor_of(["a graph"], values)


def test_the_learning_curve_is_that_of_the_headline(study):
    table = study.curve.table
    assert table.n.tolist() == [round(f * len(study.split.train)) for f in (0.125, 0.25, 0.5, 1.0)]
    assert table.test.iloc[-1] == pytest.approx(study.scores.mae[study.headline])
    assert study.curve.limited_by in str(study) and study.curve.limited_by.endswith("-limited")


def test_a_constant_is_model_limited_and_a_table_of_names_is_representation_limited(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas, test=0.3))
    made.ladder({"constant": DummyRegressor()})
    assert made.learning_curve().limited_by == "model-limited"

    def one_number(structures):
        return np.array([[float(len(s.symbol_set))] for s in structures])

    made.ladder({"number of elements": Reading(ExtraTreesRegressor(20, random_state=0), one_number)})
    assert made.learning_curve().limited_by == "representation-limited"


# Models of every kind


class Own:
    """A model without scikit-learn: the mean, chosen on the validation part."""

    def fit(self, inputs, target, validation):
        assert len(inputs) == len(target) and len(validation[0]) == len(validation[1])
        self.value = min(target.mean(), np.median(target), key=lambda v: np.abs(validation[1] - v).mean())

    def predict(self, inputs):
        return np.full(len(inputs), self.value)


def test_a_model_of_ones_own_gets_the_validation_part_if_it_asks(dataset, formulas):
    made = Report(dataset, TARGET, composition_split(formulas))
    table = made.ladder({"own": Reading(Own(), lambda structures: list(structures))})
    assert table.mae["own"] > 0 and made.models["own"].model.__dict__ == {}, "a copy is fitted"


def test_a_model_is_fitted_on_the_training_part_only(formulas, values):
    split, seen = composition_split(formulas), []

    class Spy(DummyRegressor):
        def fit(self, x, y):
            seen.append(x[:, 0].astype(int).tolist())
            return super().fit(x, y)

    fitted(Spy(), np.arange(float(len(values)))[:, None], values, split)
    assert seen == [split.train.tolist()]


def test_a_network_is_a_model(dataset, formulas):
    """CGCNN through the report: graphs, validation part, structure-awareness, one epoch."""
    few = dataclasses.replace(dataset, table=dataset.table.iloc[::5])
    made = Report(few, TARGET, composition_split(list(few.table.formula), test=0.3), claim="new compositions")
    made.ladder({"CGCNN": network(lambda: CGCNN(features=8, layers=1), epochs=1, progress=False)})
    assert made.aware == ["CGCNN"] and made.points[3].done is None
    once = made.residual()
    torch.manual_seed(987)
    made.ladder({"CGCNN": network(lambda: CGCNN(features=8, layers=1), epochs=1, progress=False)})
    assert np.array_equal(once, made.residual()), "seeded"


@pytest.mark.parametrize(
    ("prediction", "words"),
    [(lambda x: np.zeros(3), "gave 3 numbers"), (lambda x: np.full(len(x), np.nan), "0 of them finite")],
)
def test_a_model_that_predicts_nonsense_is_named(dataset, formulas, prediction, words):
    class Odd(DummyRegressor):
        def predict(self, x):
            return prediction(x)

    with pytest.raises(ValueError, match=f"Odd.predict gave .*{words.split('gave ')[-1]}"):
        Report(dataset, TARGET, composition_split(formulas)).ladder({"odd": Odd()})


def test_clusters_held_out_in_turn_have_a_worst_one(dataset, formulas):
    found = held_out.cluster_splits(np.nan_to_num(magpie(formulas)[0]), formulas, clusters=4, test=0.3)
    table = in_turn(dataset, TARGET, ridge(), found)
    assert sorted(table.index) == sorted(split.claim for split in found)
    assert table.mae.is_monotonic_decreasing and table.n.sum() == sum(len(split.test) for split in found)
    made = Report(dataset, TARGET, next(s for s in found if s.claim == table.index[0]))
    assert made.ladder({"ridge": ridge()}).mae["ridge"] == pytest.approx(table.mae.iloc[0])


# Bad input


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ds, f: Report(ds, "energy", composition_split(f)), "no column 'energy': formula, formation"),
        (lambda ds, f: Report(ds, TARGET, random_split(4000)), r"names row \d+ of 240; split the same table"),
        (
            lambda ds, f: Report(ds, TARGET, composition_split(f)).residuals(),
            "no model yet: call report.ladder",
        ),
        (lambda ds, f: Report(ds, TARGET, composition_split(f)).ablations(), "no model yet"),
        (lambda ds, f: Report(ds, TARGET, composition_split(f)).learning_curve(), "no model yet"),
        (lambda ds, f: Report(ds, TARGET, composition_split(f)).plot(), "nothing to draw yet"),
        (
            lambda ds, f: Report(ds, TARGET, composition_split(f)).ladder(
                {"a": Reading(Ridge(), lambda s: s[:3])}
            ),
            "3 inputs for 240 structures",
        ),
    ],
)
def test_bad_input_is_one_clear_line(dataset, formulas, make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make(dataset, formulas)
    assert "\n" not in str(caught.value)


def test_a_missing_target_is_named(dataset, formulas):
    table = dataset.table.copy()
    split = composition_split(formulas)
    table.iloc[split.test[3], table.columns.get_loc(TARGET)] = np.nan
    with pytest.raises(
        ValueError, match=f"{TARGET} of {table.index[split.test[3]]} is not finite; drop the row"
    ):
        Report(dataclasses.replace(dataset, table=table), TARGET, split)


# Figures and the example


def test_the_figure_has_a_panel_for_each_table_with_units(study):
    figure = study.plot()
    drawn = [ax for ax in figure.axes if ax.has_data()]
    titles = [ax.get_title() for ax in drawn]
    assert titles[0] == "the ladder" and titles[-1] == study.curve.limited_by and len(titles) == 7
    for ax in drawn:
        assert "eV/atom" in ax.get_xlabel() + ax.get_ylabel()


def test_the_headline_differs_in_shape_and_not_only_in_colour(study):
    ax = plots.errors_with_intervals(study.scores, unit="eV/atom", mark=study.headline)
    dots = [line for line in ax.lines if line.get_marker() in "oD" and len(line.get_xdata()) == 1]
    assert [dot.get_marker() for dot in dots] == ["o", "o", "D"]
    assert [dot.get_xdata()[0] for dot in dots] == study.scores.mae.tolist()
    bars = [line.get_xdata().tolist() for line in ax.lines if len(line.get_xdata()) == 2]
    assert bars == study.scores[["low", "high"]].to_numpy().tolist()
    ax = plots.errors_with_intervals(study.regions.set_index("region").head(3), unit="eV/atom")
    assert re.search(r"\(\d+\)", ax.get_yticklabels()[0].get_text()), "the number of crystals"


def test_the_example_of_the_docstring_runs(dataset, monkeypatch, capsys):
    """As in a notebook, with a fifth of the crystals and one epoch."""
    lines = [line[4:] for line in report.__doc__.splitlines() if line.startswith("    ")]
    code = "\n".join(lines)
    assert len([line for line in lines if line and "import" not in line]) <= 11
    few = dataclasses.replace(dataset, table=dataset.table.iloc[::2])
    monkeypatch.setattr(data, "formation_energy", lambda: few)
    assert "epochs=40" in code
    exec(code.replace("epochs=40", "epochs=1, progress=False"), {})
    printed = capsys.readouterr().out
    assert "7 of 7: exemplary" in printed and "no halide was seen in training" in re.sub(r"\s+", " ", printed)
