"""Splits: disjoint, reproducible, grouped where they promise it, and outspoken about what they support."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from mg9 import data, splits
from mg9.splits import SharedComposition, Split, composition_split, family_split, random_split

PARTS = ("train", "validation", "test")
FRACTIONS = st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4))


@pytest.fixture(scope="module")
def formulas() -> list[str]:
    return list(data.formation_energy().table["formula"])


@pytest.fixture(scope="module")
def reduced(formulas) -> np.ndarray:
    return splits.reduced_formulas(formulas)


def rows_of(split: Split) -> list[np.ndarray]:
    return [getattr(split, part) for part in PARTS]


def every_row_once(split: Split, n_rows: int) -> bool:
    return np.array_equal(np.sort(np.concatenate(rows_of(split))), np.arange(n_rows))


def same(one: Split, other: Split) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(rows_of(one), rows_of(other), strict=True))


KINDS = {
    "random": lambda formulas, seed: random_split(len(formulas), seed=seed),
    "composition": lambda formulas, seed: composition_split(formulas, seed=seed),
    "family": lambda formulas, seed: family_split(formulas, seed=seed),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_crystal_is_in_one_part_and_the_seed_decides_which(formulas, kind):
    split = KINDS[kind](formulas, 0)
    assert every_row_once(split, len(formulas))
    assert same(split, KINDS[kind](formulas, 0)) and not same(split, KINDS[kind](formulas, 1))


@given(n_rows=st.integers(20, 300), fractions=FRACTIONS, seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_random_split_has_the_wanted_sizes(n_rows, fractions, seed):
    validation, test = fractions
    split = random_split(n_rows, validation=validation, test=test, seed=seed)
    assert every_row_once(split, n_rows)
    assert len(split.test) == round(test * n_rows) and len(split.validation) == round(validation * n_rows)


def test_random_split_is_not_sorted_and_puts_polymorphs_on_both_sides(formulas, reduced):
    split = random_split(len(formulas))
    assert abs(np.corrcoef(split.train, np.arange(len(split.train)))[0, 1]) < 0.1
    assert set(reduced[split.train]) & set(reduced[split.test])
    with pytest.raises(SharedComposition):
        splits.refuse_shared_compositions(split, formulas)


@given(
    polymorphs=st.lists(st.integers(1, 6), min_size=12, max_size=60),
    fractions=FRACTIONS,
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_composition_split_never_parts_a_composition(polymorphs, fractions, seed):
    """Compositions of real crystals with any number of polymorphs, spelled in different ways."""
    known = list(dict.fromkeys(data.formation_energy().table["formula"]))
    chosen = known[:: len(known) // len(polymorphs)][: len(polymorphs)]
    listed = zip(chosen, polymorphs, strict=True)
    multiples = [str(Composition(formula) * (k % 3 + 1)) for formula, n in listed for k in range(n)]
    shuffled = list(np.random.default_rng(seed).permutation(multiples))
    split = composition_split(shuffled, validation=fractions[0], test=fractions[1], seed=seed)
    assert every_row_once(split, len(shuffled))
    groups = [set(splits.reduced_formulas([shuffled[k] for k in rows])) for rows in rows_of(split)]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    for group, fraction in zip(groups[1:], fractions, strict=True):
        assert abs(len(group) - fraction * len(polymorphs)) <= 1.5


def test_composition_split_of_the_table(formulas, reduced):
    split = composition_split(formulas, validation=0.1, test=0.2)
    compositions = len(set(reduced))
    assert len(set(reduced[split.test])) == pytest.approx(0.2 * compositions, abs=1)
    assert len(set(reduced[split.validation])) == pytest.approx(0.1 * compositions, abs=1)
    silica = np.flatnonzero(reduced == "SiO2")
    assert len(silica) == 18
    assert sorted(np.isin(silica, rows).sum() for rows in rows_of(split)) == [0, 0, 18]


@pytest.mark.parametrize("hold_out", ["oxide", "halide", "intermetallic"])
def test_family_split_sees_nothing_of_the_family(formulas, reduced, hold_out):
    split = family_split(formulas, hold_out=hold_out)
    families = np.array([splits.chemistry_family(formula) for formula in formulas])
    assert set(families[split.test]) == {hold_out}
    assert hold_out not in families[split.train] and hold_out not in families[split.validation]
    assert len(split.test) == (families == hold_out).sum()
    assert not set(reduced[split.train]) & set(reduced[split.validation])


def test_without_oxides_no_oxygen_is_trained_on(formulas):
    split = family_split(formulas, hold_out="oxide")
    with_oxygen = np.array(["O" in Composition(formula) for formula in formulas])
    assert with_oxygen[split.test].all() and not with_oxygen[np.r_[split.train, split.validation]].any()
    assert len(split.test) > 900


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("SiO2", "oxide"),
        ("LaOF", "oxide"),
        ("Mg(OH)2", "oxide"),
        ("NaCl", "halide"),
        ("TiNCl", "halide"),
        ("ZnS", "chalcogenide"),
        ("CuInSe2", "chalcogenide"),
        ("GaN", "nitride"),
        ("Ti2CN", "nitride"),
        ("GaAs", "pnictide"),
        ("SiC", "carbide"),
        ("TiH2", "hydride"),
        ("MgB2", "boride"),
        ("Mg2Si", "silicide or germanide"),
        ("Cu3Au", "intermetallic"),
        ("CoSn", "intermetallic"),
        ("Na", "intermetallic"),
        ("Os", "intermetallic"),  # osmium, not O and S
        ("NbCo", "intermetallic"),  # cobalt, not C and O
    ],
)
def test_families_of_known_formulas(formula, family):
    assert splits.chemistry_family(formula) == family
    assert splits.chemistry_family(str(Composition(formula) * 2)) == family


def test_reduced_formulas_have_one_spelling():
    assert splits.reduced_formulas(["Si2O4", "O2Si", "SiO2"]).tolist() == ["SiO2"] * 3


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_polymorph_on_both_sides_is_named(formulas, part):
    split = composition_split(formulas)
    rows = {name: getattr(split, name) for name in PARTS}
    moved = rows["test"][0]
    listed = [*formulas, Composition(formulas[moved]).formula]  # one more polymorph, spelled differently
    rows[part] = np.append(rows[part], len(formulas))
    with pytest.raises(SharedComposition) as caught:
        splits.refuse_shared_compositions(Split(**rows, claim=""), listed)
    message = str(caught.value)
    assert Composition(formulas[moved]).reduced_formula in message and part in message and "test" in message
    assert "composition_split" in message


def test_a_polymorph_between_training_and_validation_is_named_too():
    split = Split(np.array([0]), np.array([1]), np.array([2]), "")
    with pytest.raises(SharedComposition, match="SiO2 is in the train and in the validation part"):
        splits.refuse_shared_compositions(split, ["SiO2", "Si2O4", "NaCl"])


def test_claims_are_phrases_that_differ(formulas):
    claims = [KINDS[kind](formulas, 0).claim for kind in KINDS]
    claims.append(family_split(formulas, hold_out="halide").claim)
    assert len(set(claims)) == 4 and all(len(claim.split()) >= 4 for claim in claims)
    assert "polymorphs" in claims[0] and "composition" in claims[1]
    assert "oxide" in claims[2] and "halide" in claims[3]
    text = str(random_split(100))
    assert text.startswith("80 train, 10 validation, 10 test") and claims[0] in text


# Bad input


IMPOSSIBLE = {
    "four rows": (lambda: random_split(4), "empty"),
    "nothing to train on": (lambda: random_split(100, test=0.6, validation=0.4), "train part is empty"),
    "nothing to test on": (lambda: random_split(100, test=0.0), "test part is empty"),
    "no rows": (lambda: random_split(0), "empty"),
    "one composition": (lambda: composition_split(["SiO2"] * 30), "empty"),
    "no formulas": (lambda: composition_split([]), "empty"),
    "unknown family": (lambda: family_split(["NaCl", "MgO"], hold_out="nitride"), "are.*halide.*oxide"),
    "oxides only": (lambda: family_split(["MgO", "CaO", "SrO"]), "empty"),
    "no formulas at all": (lambda: family_split([]), "no 'oxide' among the formulas"),
    "a row twice": (
        lambda: Split(np.array([0, 1]), np.array([1]), np.array([2]), ""),
        "row 1 is in more",
    ),
    "twice in one part": (lambda: Split(np.array([0, 0]), np.array([1]), np.array([2]), ""), "row 0"),
    "counted from the end": (lambda: Split(np.array([0, -1]), np.array([1]), np.array([2]), ""), "row -1"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_split_that_cannot_be_is_a_value_error(case):
    make, words = IMPOSSIBLE[case]
    with pytest.raises(ValueError, match=words):
        make()
