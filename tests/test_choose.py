"""The decision tree of slides 45 and 46: every leaf, the crossover, and questions that make no sense."""

import pytest

from mg9.h_choose import EQUIVARIANT, FOREST, LINEAR, MLP, MODULES, SCRATCH, TUNED, choose

DEEP = {"CGCNN", "MEGNet", "ALIGNN", "M3GNet", "Matformer", TUNED, SCRATCH, *EQUIVARIANT}


def names(*question, **more) -> list[str]:
    return [choice.name for choice in choose(*question, **more)]


# Slide 45, by data regime


@pytest.mark.parametrize("n", [1, 30, 99])
def test_tens_of_structures_train_no_deep_model(n):
    for target in ("scalar", "formation energy", "long range", "composition"):
        assert names(n, target) == [FOREST, LINEAR]
    pretrained = names(n, "energy", forces=True)
    assert "MACE-MP-0" in pretrained and not set(pretrained) & (DEEP - {"M3GNet"})
    assert all("used as it is" in choice.reason for choice in choose(n, "energy", forces=True))


@pytest.mark.parametrize("n", [100, 800, 9_999])
def test_hundreds_to_thousands(n):
    assert names(n, "energy", forces=True) == [TUNED, *EQUIVARIANT]
    assert names(n, "band gap")[0] == TUNED
    assert set(EQUIVARIANT) <= set(names(n, "band gap"))


@pytest.mark.parametrize("n", [10_000, 2_000_000, 9_999_999])
def test_tens_of_thousands_to_millions(n):
    found = names(n, "scalar")
    assert found[:2] == [TUNED, "ALIGNN"] and {"M3GNet", "Matformer"} <= set(found)
    assert not set(found) & {*EQUIVARIANT, FOREST}
    assert names(n, "energy", forces=True)[0] == TUNED and "M3GNet" in names(n, "energy", forces=True)


@pytest.mark.parametrize("n", [10_000_000, 118_000_000])
def test_tens_of_millions(n):
    first = choose(n, "energy", forces=True)[0]
    assert first.name == SCRATCH and "rarely justified" in first.reason and first.module is None


# Slide 45, by target type


@pytest.mark.parametrize("n", [500, 50_000, 20_000_000])
def test_composition_only(n):
    assert names(n, "composition") == [FOREST, MLP]


@pytest.mark.parametrize("target", ["scalar", "formation energy", "band gap", "energy"])
def test_scalars_of_the_structure(target):
    for n in (500, 50_000, 20_000_000):
        assert {"CGCNN", "MEGNet", "ALIGNN"} <= set(names(n, target))
    assert names(500, target)[1:4] == ["CGCNN", "MEGNet", "ALIGNN"]


def test_energy_and_forces():
    assert set(EQUIVARIANT) <= set(names(5_000, "energy", forces=True))
    assert names(5_000, "energy and forces", forces=True) == names(5_000, "energy", forces=True)
    for n in (50, 5_000, 50_000, 20_000_000):
        assert not {"CGCNN", "MEGNet", "ALIGNN", "Matformer", FOREST} & set(names(n, "energy", forces=True))


def test_universal_potential():
    for n in (50, 5_000, 50_000):
        assert {"M3GNet", "CHGNet", "MACE-MP-0", "OMat24"} <= set(names(n, "universal potential"))


def test_long_range():
    assert set(names(50_000, "long range")[:2]) == {TUNED, "Matformer"}
    assert {TUNED, "Matformer"} <= set(names(500, "long range"))
    for n in (500, 50_000):
        assert "CGCNN" not in names(n, "long range")
        assert all(
            "beyond a cutoff" in c.reason for c in choose(n, "long range") if c.name in (TUNED, "Matformer")
        )


@pytest.mark.parametrize("latency", ["any", "minimal"])
@pytest.mark.parametrize("forces", [False, True])
def test_what_has_a_cutoff_is_not_offered_for_long_range(forces, latency):
    for n in (100, 50_000, 200_000, 20_000_000):
        found = set(names(n, "long range", forces=forces, latency=latency))
        assert found <= {TUNED, SCRATCH, "Matformer"} and ("Matformer" in found) is not forces


def test_a_universal_potential_is_not_trained_on_hundreds():
    for n in (100, 5_000, 50_000):
        found = names(n, "universal potential")
        assert found == [TUNED, "M3GNet", "CHGNet", "MACE-MP-0", "OMat24"]


# Slides 46 and 39


def test_descriptors_are_competitive_up_to_ten_thousand():
    for target in ("scalar", "energy"):
        few = choose(9_999, target)
        assert [c.name for c in few[-2:]] == [FOREST, MLP]
        assert all("descriptors are competitive" in c.reason and 46 in c.slides for c in few[-2:])
        assert not {FOREST, MLP} & {*names(10_000, target), *names(9_999, "energy", forces=True)}


def test_each_reason_for_an_invariant_potential_names_its_slide():
    fast = {c.name: c for c in choose(800, "energy", forces=True, latency="minimal")}
    assert fast["M3GNet"].slides == (31, 39, 45) and "forces by autograd" in fast["M3GNet"].reason
    assert "with an invariant backbone" in fast[TUNED].reason
    above = {c.name: c for c in choose(200_000, "energy", forces=True)}
    assert "invariant network and scale" in above["M3GNet"].reason and 39 in above["M3GNet"].slides


def test_the_crossover_is_at_a_hundred_thousand():
    below, above = (names(n, "energy", forces=True) for n in (99_999, 100_000))
    assert below.index("NequIP") < below.index("M3GNet") and above.index("M3GNet") < above.index("NequIP")
    said = {n: {c.name: c for c in choose(n, "energy", forces=True)}["MACE"] for n in (99_999, 100_000)}
    assert "below the crossover" in said[99_999].reason and "above the crossover" in said[100_000].reason


def test_fine_tuning_is_said_to_beat_both_where_data_are_few():
    first = choose(800, "energy", forces=True)[0]
    assert first.name == TUNED and "often beats" in first.reason and first.slides == (31, 45, 46)


def test_minimal_latency_leaves_equivariant_networks_out():
    found = choose(800, "energy", forces=True, latency="minimal")
    assert not {c.name for c in found} & {*EQUIVARIANT, "MACE-MP-0"}
    assert "M3GNet" in {c.name for c in found} and all(39 in c.slides for c in found)
    assert all(39 not in c.slides for c in choose(800, "energy", forces=True))


def test_stress_is_named_with_its_slide():
    found = choose(800, "energy", forces=True, stress=True)
    assert all("stress" in c.reason and 31 in c.slides for c in found)
    assert names(800, "universal potential", stress=True)


# All


@pytest.mark.parametrize("latency", ["any", "minimal"])
@pytest.mark.parametrize("n", [1, 99, 100, 9_999, 10_000, 99_999, 100_000, 10_000_000])
def test_every_question_has_an_answer_with_reasons(n, latency):
    for target, forces in [
        ("composition", False),
        ("scalar", False),
        ("energy", True),
        ("long range", False),
    ]:
        found = choose(n, target, forces=forces, latency=latency)
        assert found and len({c.name for c in found}) == len(found)
        for choice in found:
            assert choice.reason and "\n" not in choice.reason and set(choice.slides) & {45, 46}


def test_modules_exist():
    from importlib import import_module

    for module in MODULES.values():
        import_module(f"mg9.{module}")


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ((0, "scalar", {}), "n_structures is 0; give a whole number"),
        ((-5, "scalar", {}), "n_structures is -5"),
        ((2.5, "scalar", {}), "n_structures is 2.5"),
        ((True, "scalar", {}), "n_structures is True"),
        (("many", "scalar", {}), "n_structures is 'many'"),
        ((800, "beauty", {}), "no target 'beauty' on slide 45; there are: composition"),
        ((800, "band gap", {"forces": True}), "'band gap' has no forces"),
        ((800, "composition", {"forces": True}), "'composition' has no forces"),
        ((800, "energy", {"stress": True}), "set forces=True, too"),
        ((800, "energy and forces", {}), "but forces=False"),
        ((800, "energy", {"latency": "soon"}), "latency is 'soon'; it is 'any' or 'minimal'"),
    ],
)
def test_nonsense_is_refused_in_one_line(question, says):
    n, target, more = question
    with pytest.raises(ValueError) as error:
        choose(n, target, **more)
    assert says in str(error.value) and "\n" not in str(error.value)
