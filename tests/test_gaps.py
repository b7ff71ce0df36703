"""What slide 44 still lacks, in figures: calibration, ions out of reach, power laws."""

import json

import numpy as np
import pytest
import torch
from pinned import pinned

from benchmarks import calibration, long_range, scaling_laws
from mg9.pretrained import m3gnet, mace

# Calibration


def test_normal_errors_of_the_promised_size_are_calibrated():
    rng = np.random.default_rng(0)
    deviation = rng.uniform(0.1, 1, 20000)
    error = rng.normal(size=20000) * deviation
    np.testing.assert_allclose(
        calibration.covered(error, deviation, calibration.LEVELS), calibration.LEVELS, atol=0.02
    )
    assert calibration.scale(error, deviation) == pytest.approx(1, abs=0.02)
    assert calibration.scale(3 * error, deviation) == pytest.approx(3, abs=0.06)
    assert calibration.covered(3 * error, deviation, np.array([0.683]))[0] < 0.3
    assert calibration.ranks_agree(error, deviation) > 0.3
    assert abs(calibration.ranks_agree(error, rng.permutation(deviation))) < 0.05


def test_one_deviation_holds_two_thirds():
    assert calibration.normal_quantile(0.6827) == pytest.approx(1, abs=1e-3)
    error, deviation = np.array([0.5, -0.5, 1.5, -3.0]), np.ones(4)
    assert calibration.covered(error, deviation, np.array([0.6827, 0.9545])).tolist() == [0.5, 0.75]


def test_the_stored_ensemble_is_less_certain_and_less_calibrated_where_oxygen_is_new():
    record = json.loads(calibration.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    known, new = (
        calibration.summary(record["splits"][name]) for name in (calibration.RANDOM, calibration.OXIDES)
    )
    assert new["MAE"] > 2 * known["MAE"] and new["mean deviation"] > known["mean deviation"]
    assert known["within 1"] < 0.6 and known["within 1, scaled"] > known["within 1"]
    assert new["within 1, scaled"] < known["within 1, scaled"]


# Long range


def test_coulomb_is_its_own_slope_and_that_of_two_charges_far_away():
    for r in (4.0, 9.0):
        up, down = (long_range.coulomb(r + step)[0] for step in (1e-4, -1e-4))
        assert long_range.coulomb(r)[1] == pytest.approx((up - down) / 2e-4, rel=1e-6)
    energy, force = long_range.coulomb(28.0)
    assert energy == pytest.approx(-long_range.COULOMB / 28, rel=0.03)
    assert force == pytest.approx(long_range.COULOMB / 28**2, rel=0.06)
    assert long_range.CHARGES[:3].sum() == 1 and long_range.CHARGES[3:].sum() == -1


@pytest.mark.parametrize("name", long_range.NAMES)
def test_beyond_its_cutoff_a_potential_is_silent(name):
    from mg9.g_foundation import load

    pinned({"mace-mp-0-small": mace.AIIDA}.get(name, m3gnet.JANUS))
    backbone = load(name, dtype=torch.float64)
    cutoff = backbone.potential.cutoff
    inside, beyond, far = (long_range.pair(r) for r in (cutoff - 1.2, cutoff + 0.1, 25.0))
    found = backbone.predict([inside, beyond, far])
    pull = found.forces.view(3, 6, 3)[:, :3, 0].sum(dim=1)
    assert abs(pull[0]) > 1e-2 and pull[1:].abs().max() < 1e-9
    assert found.energy[1] == pytest.approx(float(found.energy[2]), abs=1e-9)
    assert abs(long_range.coulomb(cutoff + 0.1)[1]) > 0.2


def test_the_stored_curves_are_flat_where_the_law_is_not():
    record = json.loads(long_range.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    r, law = np.array(record["distance (Å)"]), np.array(record["Coulomb"]["force"])
    for potential in record["potentials"].values():
        beyond = r > potential["cutoff (Å)"]
        assert beyond.sum() > 15 and not np.array(potential["force"])[beyond].any()
        assert (law[beyond] > 0.02).all()


# Scaling laws


def test_a_power_law_comes_out_again_with_its_interval():
    n = np.repeat([10, 100, 1000], 4)
    exact = scaling_laws.power_law(n, 3 * n**-0.4)
    assert (exact.a, exact.b) == (pytest.approx(3), pytest.approx(0.4))
    assert exact.high - exact.low < 1e-6 and exact(np.array(100)) == pytest.approx(3 * 100**-0.4)
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        law = scaling_laws.power_law(n, 3 * n**-0.4 * np.exp(0.2 * rng.normal(size=12)))
        inside += law.low < 0.4 < law.high
    assert 0.92 < inside / 400 < 0.98


def test_a_line_needs_runs_and_sizes():
    for n in ([10, 10, 10], [10, 100]):
        with pytest.raises(ValueError, match="a law needs three runs and two sizes"):
            scaling_laws.power_law(np.array(n), np.ones(len(n)))


def test_what_is_foretold_does_not_know_the_answer():
    points = [(10, 1.0), (10, 1.1), (100, 0.5), (100, 0.55)]
    kind, cruel = (scaling_laws.fitted([*points, (1000, last), (1000, last)]) for last in (0.25, 5.0))
    assert kind["foretold there"] == cruel["foretold there"] == pytest.approx(0.262, abs=0.01)
    assert cruel["measured there"] == 5.0 and cruel["b"] < kind["b"]


def test_the_stored_laws_are_those_of_the_stored_curves():
    record = json.loads(scaling_laws.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    curves = scaling_laws.curves()
    assert set(record["curves"]) == set(curves)
    for title, (unit, points) in curves.items():
        row = record["curves"][title]
        assert row["unit"] == unit and [tuple(point) for point in row["points"]] == points
        assert row["low"] <= row["b"] <= row["high"]
        assert row["b"] == pytest.approx(scaling_laws.fitted(points)["b"])
