"""The Magpie features against matminer, the ladder of baselines, and the limit of every one of them."""

import csv
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from course.blind import complete
from mg9 import b_ladder, data
from mg9.b_aliasing import aliasing_floor
from mg9.b_magpie import NAMES, STATISTICS, FormulaError, features, magpie, magpie_frame
from mg9.b_mlp import MLP
from mg9.data.sources import ELEMENT_TABLES, MAGPIE
from mg9.splits import random_split

REFERENCE = Path(__file__).with_name("magpie_reference.csv")  # made by matminer; its head says how
SMALL = {"histgradientboostingregressor__max_iter": 30, "randomforestregressor__n_estimators": 10}
SMALL |= {"mlp__epochs": 5}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The matrices are small: on a busy machine, threads that wait for each other cost ten times as much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference() -> tuple[list[str], list[str], np.ndarray]:
    """Formulas, names and values (formulas, 132)."""
    with REFERENCE.open() as file:
        head, *rows = csv.reader(line for line in file if not line.startswith("#"))
    return [row[0] for row in rows], head[1:], np.array([row[1:] for row in rows], dtype=float)


@pytest.fixture(scope="module")
def energies() -> data.Dataset:
    return complete("formation_energy")


@pytest.fixture(scope="module")
def fitted(energies) -> dict:
    """Every rung, quickly fitted to rows among which are polymorphs."""
    table = energies.table.iloc[::4]
    rungs = {}
    for name, model in b_ladder.ladder().items():
        model.set_params(**{key: value for key, value in SMALL.items() if key in model.get_params()})
        rungs[name] = model.fit(table.formula, table.formation_energy_per_atom)
    return rungs


# The features


def test_features_are_matminers(reference):
    formulas, names, expected = reference
    assert ELEMENT_TABLES.sha256 in REFERENCE.read_text() and len(formulas) > 100
    values, ours = magpie(formulas)
    assert ours == names == list(NAMES) and values.shape == (len(formulas), 132)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-8, equal_nan=True)
    assert np.isnan(expected).any(axis=1).sum() > 5  # noble gases and late actinides are among them


def test_statistics_of_hematite():
    hematite = dict(zip(NAMES, magpie(["Fe2O3"])[0][0], strict=True))
    found = [hematite[f"MagpieData {statistic} Number"] for statistic in STATISTICS]
    assert found == pytest.approx([8, 26, 18, 0.4 * 26 + 0.6 * 8, 0.4 * 10.8 + 0.6 * 7.2, 8])


def test_the_mode_of_equally_abundant_elements_is_the_least_value():
    heat = NAMES.index("MagpieData mode MeltingT")
    one, tie, nearly, not_quite = magpie(["Fe2Co", "FeCo", "Fe1.00001Co", "Fe1.0001Co"])[0][:, heat]
    assert one == not_quite == 1811 and tie == nearly == 1768  # K: iron, cobalt


def test_a_formula_may_be_spelled_in_any_way():
    same = ["SiO2", "O2Si", "Si2O4", "Si(O)2", "Si0.5O", " Si O2", "Si7O14"]
    vectors = magpie(same)[0]
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)
    assert np.array_equal(*magpie(["LiFePO4", "O4PFeLi"])[0])  # sums run in one order
    assert np.array_equal(*magpie(["HDO", "H2O"])[0])
    assert not np.array_equal(*magpie(["SiO2", "SiO"])[0])


def test_neighbours_in_the_list_do_not_matter(reference):
    formulas = reference[0]
    together = magpie(formulas)[0]
    alone = np.concatenate([magpie([formula])[0] for formula in formulas])
    np.testing.assert_array_equal(together, alone)


def test_what_is_not_known_stays_unknown(energies):
    frame = magpie_frame(energies.table.formula)
    unknown = frame.isna()
    rows = energies.table.formula[unknown.any(axis=1)]
    gases = [
        formula for formula in energies.table.formula if {"He", "Ne"} & set(Composition(formula).as_dict())
    ]
    assert len(rows) > 0 and rows.tolist() == gases
    about = {name.split()[-1] for name in frame.columns[unknown.any()]}
    assert about <= {"Electronegativity", "MeltingT"}


def test_tables():
    table = data.elasticity().table
    frame = magpie_frame(table.formula)
    assert frame.index.equals(table.index) and list(frame) == list(NAMES)
    assert magpie_frame(["SiO2", "ZnS"]).index.tolist() == ["SiO2", "ZnS"]
    assert magpie_frame(formula for formula in ["C"]).shape == (1, 132)
    values, names = magpie([])
    assert values.shape == (0, 132) and len(names) == 132 == 6 * len(MAGPIE)


@pytest.mark.parametrize(
    ("formulas", "words"),
    [
        (["SiO2", "Xx2O"], ["formula 1", "'Xx2O'", "Xx"]),
        (["Og"], ["'Og'", "Og", "112 (Cn)"]),
        (["SiO2", "C", "fe2o3"], ["formula 2", "'fe2o3'"]),
        (["Si(O"], ["'Si(O'"]),
        (["Fe-2O3"], ["'Fe-2O3'"]),
        (["SiO1e400"], ["SiO1e400", "infinitely"]),
        ([""], ["formula 0", "''"]),
        (["Fe0"], ["'Fe0'", "no atoms"]),
        (["C", float("nan")], ["formula 1", "nan", "not a string"]),
        (["C", None], ["formula 1", "None", "not a string"]),
        ("SiO2", ["one formula", "['SiO2']"]),
    ],
)
def test_a_bad_formula_is_named(formulas, words):
    with pytest.raises(FormulaError) as caught:
        magpie(formulas)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_the_features_need_neither_torch_nor_sklearn():
    code = (
        "import sys, mg9.b_ladder, mg9.b_aliasing; print({'torch', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# The ladder


def test_graphite_and_diamond_are_one_vector():
    table = data.elasticity().table
    graphite, diamond = table.loc["mp-48"], table.loc["mp-611426"]
    assert (round(graphite.K_VRH), round(diamond.K_VRH)) == (122, 436)  # GPa
    vectors = magpie_frame(table.formula).loc[["mp-48", "mp-611426"]].to_numpy()
    assert np.array_equal(vectors[0], vectors[1])


def test_polymorphs_get_one_prediction(fitted, energies):
    table = energies.table[energies.table.duplicated("formula", keep=False)]
    assert len(table) == 353
    for name, model in fitted.items():
        prediction = pd.Series(model.predict(table.formula), index=table.index)
        spread = prediction.groupby(table.formula).agg(np.ptp)
        assert spread.max() < 1e-12, name  # eV/atom; rows of one matrix product may differ in rounding
        alone = {model.predict([formula])[0] for formula in ("SiO2", "Si4O8")}
        assert len(alone) == 1, name
    assert table.groupby("formula").formation_energy_per_atom.agg(np.ptp).max() > 2


def test_no_rung_is_below_the_floor(fitted, energies):
    table = energies.table[energies.table.duplicated("formula", keep=False)]
    floor = aliasing_floor(table.formula, table.formation_energy_per_atom).floor
    for name, model in fitted.items():
        error = np.abs(model.predict(table.formula) - table.formation_energy_per_atom).mean()
        assert error > floor, name


def test_every_rung_is_above_the_one_that_knows_nothing(fitted, energies):
    table = energies.table.iloc[1::4]
    errors = {
        name: np.abs(model.predict(table.formula) - table.formation_energy_per_atom).mean()
        for name, model in fitted.items()
    }
    assert list(errors)[0] == "constant" and len(errors) == 5
    assert errors["constant"] == pytest.approx(0.9, abs=0.1)  # eV/atom
    assert all(error < 0.5 for name, error in errors.items() if name != "constant"), errors
    training = energies.table.formation_energy_per_atom.iloc[::4]
    np.testing.assert_allclose(fitted["constant"].predict(["SiO2", "C"]), training.mean())


def test_formulas_or_their_features(fitted):
    formulas = ["SiO2", "HeNa2", "AlCoCrFeNi", "Ne"]  # two of them with an unknown electronegativity
    for model in fitted.values():
        prediction = model.predict(formulas)
        assert np.isfinite(prediction).all()
        np.testing.assert_array_equal(model.predict(magpie(formulas)[0]), prediction)
        np.testing.assert_array_equal(model.predict(magpie_frame(formulas)), prediction)
    with pytest.raises(ValueError, match="3 columns"):
        features(np.zeros((2, 3)))
    with pytest.raises(FormulaError, match="'Xx'"):
        fitted["constant"].predict(["Xx"])


@pytest.mark.parametrize("name", ["Magpie + ridge", "Magpie + MLP"])
def test_imputation_and_scale_are_the_training_parts(energies, name):
    formulas, y = energies.table.formula, energies.table.formation_energy_per_atom
    split = random_split(len(y), seed=1)
    model = b_ladder.ladder()[name]
    model.set_params(**{key: value for key, value in SMALL.items() if key in model.get_params()})
    model.fit(formulas.iloc[split.train], y.iloc[split.train])
    _, imputer, scaler, _ = (step for _, step in model.steps)
    x = magpie(formulas)[0]
    np.testing.assert_allclose(imputer.statistics_, np.nanmean(x[split.train], axis=0))
    filled = np.where(np.isnan(x), imputer.statistics_, x)
    np.testing.assert_allclose(scaler.mean_, filled[split.train].mean(axis=0))
    assert np.abs(scaler.mean_ - filled.mean(axis=0)).max() > 0.1  # another number than with all rows
    some = model.predict(formulas.iloc[split.test[:50]])
    np.testing.assert_allclose(model.predict(formulas.iloc[split.test])[:50], some, atol=1e-5)


def test_rungs_are_ordinary_estimators(energies):
    table = energies.table.iloc[::20]
    for name, model in b_ladder.ladder(seed=3).items():
        model.set_params(**{key: value for key, value in SMALL.items() if key in model.get_params()})
        one = model.fit(table.formula, table.formation_energy_per_atom).predict(table.formula)
        again = clone(model).fit(table.formula, table.formation_energy_per_atom).predict(table.formula)
        np.testing.assert_array_equal(one, again, err_msg=f"{name}: another result with the same seed")
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(table.formula), one)
    scores = cross_val_score(b_ladder.ridge(), table.formula, table.formation_energy_per_atom, cv=3)
    assert np.isfinite(scores).all()


# The MLP


def test_the_mlp_has_two_hidden_layers_and_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = 1000.0 + 50.0 * np.sin(2.0 * x[:, 0]) * x[:, 1]  # no linear model can follow
    model = MLP(hidden=64, epochs=120, batch_size=32).fit(x, y)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in model.network_) == 3
    assert np.abs(model.predict(x) - y).mean() < 0.2 * np.abs(y - y.mean()).mean()
    assert model.predict(x[:7]).shape == (7,)


def test_the_mlps_seed_is_its_own():
    x, y = np.random.default_rng(0).normal(size=(2, 40, 1))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = MLP(epochs=2, seed=0).fit(x, y[:, 0]).predict(x)
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(MLP(epochs=2, seed=0).fit(x, y[:, 0]).predict(x), first)
    assert not np.array_equal(MLP(epochs=2, seed=1).fit(x, y[:, 0]).predict(x), first)


def test_the_mlp_refuses_bad_input():
    x, y = np.ones((4, 2)), np.arange(4.0)
    for bad_x, bad_y in ((x, y * np.nan), (x * np.inf, y), (x, y[:3])):
        with pytest.raises(ValueError):
            MLP(epochs=1).fit(bad_x, bad_y)
    with pytest.raises(NotFittedError):
        MLP().predict(x)


def test_the_mlp_on_targets_without_spread():
    x = np.ones((4, 2))
    with warnings.catch_warnings(action="error"):
        model = MLP(epochs=1).fit(x, np.full(4, 2.5))
    assert model.predict(x) == pytest.approx(2.5, abs=1.0)


# The floor

TARGETS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=7)


@given(st.lists(st.tuples(TARGETS, st.floats(-2e3, 2e3)), min_size=1, max_size=5))
def test_no_composition_only_prediction_is_below_the_floor(compositions):
    """The least sum of |y - c| is at one of the y (it is convex and bends only there): that is the floor."""
    formulas, y, guess, best = [], [], [], []
    for k, (targets, c) in enumerate(compositions):
        formulas += [f"Fe{k + 1}O"] * len(targets)
        y += targets
        guess += [c] * len(targets)
        best.append(min(sum(abs(value - candidate) for value in targets) for candidate in targets))
    found = aliasing_floor(formulas, y)
    assert found.floor <= np.abs(np.subtract(y, guess)).mean() + 1e-9
    assert found.floor == pytest.approx(sum(best) / len(y), abs=1e-9)
    assert found.floor_of_polymorphs == found.floor <= found.around_mean + 1e-9


def test_the_mean_is_not_the_floor():
    found = aliasing_floor(["SiO2", "O4Si2", "SiO2", "C"], [0.0, 0.0, 3.0, 9.0])
    assert (found.floor_of_polymorphs, found.around_mean, found.floor) == pytest.approx((1.0, 4 / 3, 0.75))
    assert (found.n_rows, found.n_polymorphs, found.table.index.tolist()) == (4, 3, ["SiO2"])
    assert found.table.loc["SiO2"].tolist() == pytest.approx([3, 0, 3, 0, 1, 1, 4 / 3])


@pytest.mark.parametrize(
    ("name", "column", "compositions", "rows", "of_polymorphs", "overall", "around_mean", "worst"),
    [
        ("formation_energy", "formation_energy_per_atom", 141, 353, 0.07784, 0.00698, 0.08664, "AgCNO"),
        ("band_gap", "band_gap", 63, 155, 0.07419, 0.01089, 0.07845, "Rb2O"),
        ("elasticity", "K_VRH", 80, 174, 5.110, 0.7528, 6.227, "C"),
    ],
)
def test_the_floor_of_the_tables(
    name, column, compositions, rows, of_polymorphs, overall, around_mean, worst
):
    table = data.elasticity().table if name == "elasticity" else complete(name).table
    found = aliasing_floor(table.formula, table[column])
    assert (len(found.table), found.n_polymorphs, found.table.index[0]) == (compositions, rows, worst)
    expected = pytest.approx((of_polymorphs, overall, around_mean), rel=1e-3)
    assert (found.floor_of_polymorphs, found.floor, found.around_mean) == expected
    assert found.table.floor.is_monotonic_decreasing and (found.table.floor <= found.table.around_mean).all()
    median = table.groupby("formula")[column].transform("median")
    assert np.abs(table[column] - median).mean() == pytest.approx(found.floor)  # it is reached
    text = str(found)
    assert all(word in text for word in (worst, f"{rows} of {len(table)}", f"{found.floor:.4g}"))


def test_a_table_without_polymorphs():
    found = aliasing_floor(["SiO2", "C"], [1.0, 2.0])
    assert found.floor == 0.0 and np.isnan(found.floor_of_polymorphs) and "occurs twice" in str(found)


def test_bad_targets_are_named():
    with pytest.raises(ValueError, match="2 targets for 1 formulas"):
        aliasing_floor(["C"], [1.0, 2.0])
    with pytest.raises(ValueError, match="row 1 is NaN"):
        aliasing_floor(["C", "C"], [1.0, np.nan])
    with pytest.raises(FormulaError, match="formula 1"):
        aliasing_floor(["C", "c"], [1.0, 2.0])
