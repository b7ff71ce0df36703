"""The parts of the softening experiment: slopes, frames, and what fine-tuning changes."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from pinned import pinned

from benchmarks import softening
from mg9.data import sources
from mg9.pretrained import m3gnet, mace


def test_a_slope_is_that_of_the_forces():
    reference = np.random.default_rng(0).normal(size=(500, 3))
    assert softening.slope(0.8 * reference, reference) == pytest.approx(0.8)
    noise = 0.1 * np.random.default_rng(1).normal(size=reference.shape)
    assert softening.slope(0.8 * reference + noise, reference) == pytest.approx(0.8, abs=0.02)
    assert softening.judged(0.8 * reference, reference)["mae"] == pytest.approx(
        0.2 * np.abs(reference).mean(), abs=1e-4
    )


def test_slopes_by_size_take_each_atom_once():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(4000, 3)) * 10 ** rng.uniform(-1.5, 1, size=(4000, 1))
    size = np.linalg.norm(reference, axis=1)
    soft = reference * np.where(size > 3.0, 0.5, 1.0)[:, None]
    assert softening.by_size(soft, reference) == [1, 1, 1, 0.5]
    assert softening.by_size(soft[size < 0.3], reference[size < 0.3]) == [1, None, None, None]


def test_frames_are_of_one_element_and_training_is_not_the_test():
    pinned(sources.ALIGNN)
    test, train = softening.frames("Ge"), softening.frames("Ge", "train")
    assert len(test.structures) == 25 and len(train.structures) == 228
    assert {site.species_string for one in test.structures for site in one} == {"Ge"}
    graph = test.graphs(5.0)[0]
    assert float(graph.energy) == pytest.approx(test.energy[0], rel=1e-6)
    np.testing.assert_allclose(graph.forces.numpy(), test.forces[0], atol=1e-6)
    both = {round(float(E), 6) for E in test.energy} & {round(float(E), 6) for E in train.energy}
    assert len(both) <= 1  # the perfect crystal may be in both
    first, more = softening.drawn(3, 0, 228), softening.drawn(10, 0, 228)
    assert list(more[:3]) == list(first) and len(set(more)) == 10
    assert set(more) != set(softening.drawn(10, 1, 228))


def test_fine_tuning_takes_the_constant_off_and_moves_the_weights():
    pinned(sources.ALIGNN)
    pinned(m3gnet.JANUS)
    from mg9.g_foundation import load

    backbone = load("m3gnet-mp-2021", dtype=torch.float32)
    train = softening.frames("Ge", "train")
    small = [k for k, one in enumerate(train.structures) if len(one) <= 8][:2] or [0]
    chosen = softening.Frames(
        [train.structures[k] for k in small], train.energy[small] + 40, [train.forces[k] for k in small]
    ).graphs(backbone.potential.cutoff)
    before = deepcopy(backbone.potential.state_dict())
    potential = softening.tuned(backbone, chosen, steps=3, seed=0)
    off = [float((potential.energy(one) - one.energy).abs()) / len(one.z) for one in chosen]
    assert max(off) < 1  # eV/atom, of 40 eV a cell
    changed = [
        name
        for name, value in potential.model.state_dict().items()
        if not torch.equal(value, before[f"model.{name}"])
    ]
    assert len(changed) > 10
    gold, germanium = potential.references.e[79], potential.references.e[32]
    assert gold == before["references.e"][79] and germanium != before["references.e"][32]


def test_the_stored_rows_are_complete():
    record = json.loads(softening.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    released = {(row["potential"], row["frames of"]) for row in record["as released"]}
    sets = (softening.MPTRJ, *softening.ELEMENTS)
    assert released == {(name, one) for name in softening.NAMES.values() for one in sets}
    seeds = {row["seed"] for row in record["mended"]}
    points = {(row["potential"], row["frames"], row["seed"]) for row in record["mended"]}
    assert len(points) == 2 * len(softening.SIZES) * len(seeds) and len(record["mended"]) == 3 * len(points)


@pytest.mark.parametrize("name", softening.NAMES)
def test_the_stored_slope_comes_out_again(name):
    pinned(sources.ALIGNN)
    pinned({"mace-mp-0-small": mace.AIIDA}.get(name, m3gnet.JANUS))
    from mg9.g_foundation import load

    potential, frames = load(name, dtype=torch.float32).potential, softening.frames("Ge")
    found = softening.forces_of(potential, frames.graphs(potential.cutoff))
    record = json.loads(softening.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    (row,) = [
        row
        for row in record["as released"]
        if (row["potential"], row["frames of"]) == (softening.NAMES[name], "Ge")
    ]
    judged = softening.judged(found, np.concatenate(frames.forces))
    assert judged["slope"] == pytest.approx(row["slope"], abs=2e-3) and row["slope"] < 0.95
    assert judged["mae"] == pytest.approx(row["mae"], abs=2e-3)
