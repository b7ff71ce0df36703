"""Groups never straddle, claims say what was held out, and what is hardly harder than random says so."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mg9 import b_symmetry, data, groups, held_out, splits
from mg9.b_magpie import magpie
from mg9.splits import Split

PARTS = ("train", "validation", "test")
N = 400


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """No label from another run: a fault in the symmetry must not hide behind the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MG9_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return data.formation_energy().table.iloc[::8].head(N)


@pytest.fixture(scope="module")
def formulas(table) -> list[str]:
    return list(table.formula)


@pytest.fixture(scope="module")
def structures(table) -> list[Structure]:
    return data.formation_energy().structures(table.index)


@pytest.fixture(scope="module")
def features(formulas) -> np.ndarray:
    return np.nan_to_num(magpie(formulas)[0])


def rows_of(split: Split) -> np.ndarray:
    return np.sort(np.concatenate([getattr(split, part) for part in PARTS]))


def straddle(split: Split, names) -> bool:
    """Is a group of the test part also in training or validation?"""
    names = np.asarray(names)
    return bool(set(names[split.test]) & set(names[np.r_[split.train, split.validation]]))


# Groups


def crystal(kind: str) -> Structure:
    a = {"rocksalt": 5.6, "perovskite": 3.9, "graphite": 2.46}[kind]
    if kind == "rocksalt":
        return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    if kind == "perovskite":
        places = [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
        return Structure.from_spacegroup("Pm-3m", Lattice.cubic(a), ["Sr", "Ti", "O"], places)
    places = [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
    return Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(a, 6.7), ["C", "C"], places)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("rocksalt", "AB Fm-3m: m-3m, m-3m"),
        ("perovskite", "ABC3 Pm-3m: m-3m, m-3m, 4/mmm"),
        ("graphite", "A P6_3/mmc: -6m2 + -6m2"),
    ],
)
def test_a_prototype_has_one_name_in_every_cell_origin_and_chemistry(kind, name):
    structure = crystal(kind)
    others = [
        structure.get_primitive_structure(),
        structure * (2, 1, 1),
        b_symmetry.stretch(structure, 1.1),
        structure.copy().translate_sites(range(len(structure)), [0.5, 0.5, 0.5]),
    ]
    assert set(groups.prototypes([structure, *others])) == {name}
    assert groups.space_group(name) == name.split()[1].rstrip(":")
    elements = dict(zip(["Na", "Cl", "Sr", "Ti", "O"], ["Mg", "O", "Ba", "Zr", "S"], strict=True))
    renamed = structure.copy()
    renamed.replace_species({k: v for k, v in elements.items() if k in renamed.symbol_set})
    assert groups.prototypes([renamed])[0] == name


def test_types_of_one_space_group_and_formula_are_told_apart():
    """NiAs and boron nitride are both AB in P6_3/mmc, on other sites."""
    hexagonal = Lattice.hexagonal(3.6, 5.0)
    nias = Structure.from_spacegroup(194, hexagonal, ["Ni", "As"], [[0, 0, 0], [1 / 3, 2 / 3, 0.25]])
    nitride = Structure.from_spacegroup(
        194, hexagonal, ["B", "N"], [[1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.75]]
    )
    one, other = groups.prototypes([nias, nitride])
    assert one != other and groups.space_group(one) == groups.space_group(other) == "P6_3/mmc"


def test_polymorphs_have_names_of_their_own():
    salt = crystal("rocksalt").get_primitive_structure()
    dense = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.4), salt.species, [[0, 0, 0], [0.5] * 3])
    assert salt.formula == dense.formula
    assert groups.prototypes([salt, dense]).tolist() == ["AB Fm-3m: m-3m, m-3m", "AB Pm-3m: m-3m, m-3m"]


def test_space_groups_are_those_of_the_table():
    ds = data.elasticity()
    ids = list(ds.table.index[::40])
    from pymatgen.symmetry.groups import SpaceGroup

    found = [
        SpaceGroup(groups.space_group(name)).int_number for name in groups.prototypes(ds.structures(ids))
    ]
    assert found == ds.table.loc[ids, "space_group"].tolist()


def test_prototypes_are_kept_in_the_cache_and_a_broken_cache_is_renewed(structures, tmp_path, monkeypatch):
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    few = structures[:110]
    names = groups.prototypes(few).tolist()
    path = tmp_path / "prototypes.json"
    kept = json.loads(path.read_text())
    assert len(kept) == len({groups._fingerprint(structure) for structure in few})
    path.write_text(json.dumps({key: "from the cache" for key in kept}))
    assert set(groups.prototypes(few)) == {"from the cache"}
    path.write_text("{half a fi")
    assert groups.prototypes(few).tolist() == names
    monkeypatch.setenv("MG9_CACHE", str(path / "is" / "a file"))
    assert groups.prototypes(few).tolist() == names


def test_chemical_systems_and_small_groups():
    assert groups.chemical_systems(["SiO2", "O2Si", "NaCl"]).tolist() == ["O-Si", "O-Si", "Cl-Na"]
    names = ["oxide"] * 12 + ["boride"] * 9 + ["hydride"] * 3
    assert groups.pooled(names).tolist() == ["oxide"] * 12 + ["other"] * 12
    assert groups.pooled(names, least=3).tolist() == names


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_effective_sample_size_lies_between_one_and_the_number_of_groups(sizes):
    names = np.repeat(np.arange(len(sizes)), sizes)
    size = groups.effective_sample_size(names)
    assert 1 - 1e-9 <= size <= len(sizes) + 1e-9 and size <= len(names) + 1e-9
    if len(set(sizes)) == 1:
        assert size == pytest.approx(len(sizes))
    else:
        assert size < len(sizes)


def test_effective_sample_size_is_that_of_the_variance_of_the_mean():
    """Members of a group that err exactly alike: the mean error varies as that of n_eff independent rows."""
    rng, sizes = np.random.default_rng(0), np.array([1, 1, 2, 5, 20])
    means = (rng.normal(size=(40_000, 5)) @ sizes) / sizes.sum()
    names = np.repeat(np.arange(5), sizes)
    assert 1 / means.var() == pytest.approx(groups.effective_sample_size(names), rel=0.03)
    with pytest.raises(ValueError, match="no rows"):
        groups.effective_sample_size([])


# Splits that deal groups


@given(seed=st.integers(0, 10_000), fractions=st.tuples(st.floats(0.1, 0.3), st.floats(0.1, 0.3)))
@settings(max_examples=15, deadline=None)
def test_no_group_is_on_both_sides(formulas, structures, seed, fractions):
    settings = {"seed": seed, "validation": fractions[0], "test": fractions[1]}
    for split, names in (
        (splits.system_split(formulas, **settings), groups.chemical_systems(formulas)),
        (splits.prototype_split(structures, **settings), groups.prototypes(structures)),
    ):
        assert np.array_equal(rows_of(split), np.arange(N))
        held = [set(names[getattr(split, part)]) for part in PARTS]
        assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
        assert split.effective_sample_size <= len(held[2]) + 1e-9


def test_a_split_that_is_hardly_harder_than_random_says_so():
    ds = data.formation_energy()
    split = splits.system_split(ds.table.formula)
    assert "3,035 chemical systems in 3,538 rows" in str(split) and "hardly harder than a random" in str(
        split
    )
    assert split.effective_sample_size > 0.7 * len(split.test)


def test_prototypes_are_fewer_and_a_test_part_of_them_is_worth_less(structures):
    split = splits.prototype_split(structures, test=0.3)
    assert "hardly harder" not in str(split) and "structure types" in split.note
    assert split.effective_sample_size < 0.8 * len(split.test)
    assert split.polymorphs and "structure types" in split.claim


def test_stratified_parts_have_the_distribution_of_the_target(table):
    target = np.sort(table.formation_energy_per_atom.to_numpy())
    split = splits.stratified_split(target, test=0.2, seed=3)
    assert np.array_equal(rows_of(split), np.arange(N)) and len(split.test) == 80
    decile = np.arange(N) // (N // 10)
    for part in PARTS:
        count = np.bincount(decile[getattr(split, part)], minlength=10)
        assert np.ptp(count) <= 2, f"{part}: {count}"
    assert np.array_equal(
        splits.stratified_split(target, seed=1).test, splits.stratified_split(target, seed=1).test
    )
    with pytest.raises(ValueError, match="row 7 is not finite"):
        splits.stratified_split(np.where(np.arange(N) == 7, np.nan, target))


# Splits that hold a region out


def test_other_stands_for_the_small_families():
    formulas = ["MgO", "CaO", "SrO", "BaO", "FeO", "NiO", "CoO", "MnO", "ZnO", "CdO"] * 3 + [
        "NaCl",
        "KCl",
        "GaN",
    ]
    split = splits.family_split(formulas, hold_out="other", validation=0.2)
    assert sorted(split.test.tolist()) == [30, 31, 32]


@pytest.mark.parametrize("element", ["O", "Li", "S"])
def test_nothing_with_the_element_is_trained_on(formulas, element):
    split = held_out.element_split(formulas, hold_out=element)
    contains = np.array([element in groups.elements_of(formula) for formula in formulas])
    assert np.array_equal(split.test, np.flatnonzero(contains)) and element in split.claim
    assert not contains[np.r_[split.train, split.validation]].any()
    assert not straddle(split, splits.reduced_formulas(formulas))
    assert split.effective_sample_size == 1, "one element is one look"


def test_an_element_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no formula contains 'Og'"):
        held_out.element_split(["NaCl", "KCl"], hold_out="Og")


@given(seed=st.integers(0, 10_000), clusters=st.integers(3, 8))
@settings(max_examples=8, deadline=None)
def test_a_held_out_cluster_is_new_and_every_dealt_test_row_is_tested_once(
    formulas, features, seed, clusters
):
    found = held_out.cluster_splits(features, formulas, clusters=clusters, seed=seed)
    assert len(found) <= clusters
    for split in found:
        assert not straddle(split, split.groups)
        assert not straddle(split, splits.reduced_formulas(formulas))
        assert split.effective_sample_size == 1 and "not seen" not in split.note
    dealt = splits.composition_split(formulas, validation=0.1, test=0.2, seed=seed)
    tested = np.concatenate([split.test for split in found])
    assert np.array_equal(np.sort(tested), np.sort(dealt.test))
    assert len({split.claim for split in found}) == len(found)


def test_the_clusters_do_not_see_the_test_part(formulas, features):
    """Whatever the test rows hold, the clusters of the training rows stay."""
    before = held_out.cluster_splits(features, formulas, clusters=5, seed=1)
    dealt = splits.composition_split(formulas, validation=0.1, test=0.2, seed=1)
    changed = features.copy()
    changed[dealt.test[0]] = 1e6
    changed[dealt.validation[0]] = -1e6
    after = held_out.cluster_splits(changed, formulas, clusters=5, seed=1)
    assert [split.train.tolist() for split in before] == [split.train.tolist() for split in after]


def test_the_clusters_are_of_standardised_features(formulas, features):
    """Another unit of one feature changes nothing."""
    other = features * np.where(np.arange(features.shape[1]) % 3 == 0, 1000.0, 1.0)
    one, two = (held_out.cluster_splits(x, formulas, clusters=5, seed=2) for x in (features, other))
    assert [a.test.tolist() for a in one] == [b.test.tolist() for b in two]


def test_small_clusters_are_pooled(formulas, features):
    found = held_out.cluster_splits(features, formulas, clusters=25, test=0.3)
    assert all(len(split.test) >= 10 or "cluster other" in split.claim for split in found)
    assert any("cluster other" in split.claim for split in found)


def test_time_trains_on_the_past():
    years = np.random.default_rng(0).integers(2011, 2021, size=200)
    dated = pd.DataFrame({"formula": ["NaCl"] * 200, "year": years})
    split = held_out.time_split(dated, cutoff=2018, validation=0.2)
    assert years[split.train].max() <= years[split.validation].min() <= years[split.validation].max() < 2018
    assert years[split.test].min() >= 2018 and np.array_equal(rows_of(split), np.arange(200))
    assert "2018" in split.claim and split.effective_sample_size <= 3
    with pytest.raises(ValueError, match="test part is empty"):
        held_out.time_split(dated, cutoff=2050)


@pytest.mark.parametrize("name", ["formation_energy", "band_gap", "elasticity", "dielectric"])
def test_the_shipped_data_are_not_dated_and_the_error_says_so(name):
    with pytest.raises(ValueError, match="no column 'year' among formula.*not dated.*another split"):
        held_out.time_split(getattr(data, name)().table, cutoff=2015)


def test_a_split_shows_its_effective_sample_size(formulas):
    split = splits.family_split(formulas)
    assert split.effective_sample_size == 1 and "effective sample size of the test part 1" in str(split)
    assert splits.random_split(100).effective_sample_size == 10
    assert dataclasses.replace(split, groups=None).effective_sample_size == len(split.test)
