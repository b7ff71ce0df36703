"""The parts of the pretraining experiment: what is held out, what is frozen, where fine-tuning starts."""

import json

import numpy as np
import pytest
import torch

from benchmarks import pretraining
from mg9 import data
from mg9.a_crystal import crystal_graph
from mg9.d_cgcnn import CGCNN
from mg9.groups import elements_of, reduced_formulas
from mg9.train import Trained


@pytest.fixture(scope="module")
def corpus():
    return pretraining.corpus()


@pytest.fixture(scope="module")
def tasks(corpus):
    return pretraining.tasks(corpus[2])


@pytest.fixture(scope="module")
def graphs():
    table = data.formation_energy().table
    ids = table.index[table.nsites <= 3][:40]
    return [crystal_graph(one) for one in data.formation_energy().structures(ids)]


@pytest.fixture
def start():
    torch.manual_seed(7)
    return Trained(CGCNN(**pretraining.SIZE), -1.3, 0.9)


def test_the_network_has_seen_no_oxygen_and_no_composition_of_a_test_crystal(corpus, tasks):
    structures, energy, formulas = corpus
    assert len(structures) == len(energy) == len(formulas) > 2000
    assert not any("O" in elements_of(formula) for formula in formulas)
    for task in tasks:
        assert pretraining.shared(task, formulas) == 0
        assert len(task.target) == len(task.structures) == pretraining.TEST + max(pretraining.LABELS)
    chemistry, target = tasks
    assert all("O" in elements_of(formula) for formula in chemistry.formulas)
    assert not set(reduced_formulas(target.formulas)) & set(reduced_formulas(formulas))
    K = data.elasticity().table.K_VRH
    assert 10 ** target.target.max() <= K.max() and 10 ** target.target.min() >= K.min() > 1


def test_labels_are_nested_and_never_of_the_test_part(tasks):
    for seed in range(3):
        parts = [tasks[0].rows(n, seed) for n in pretraining.LABELS]
        for small, large in zip(parts, parts[1:], strict=False):
            assert len(set(large)) == len(large) and list(large[: len(small)]) == list(small)
        assert min(parts[-1]) >= pretraining.TEST
    assert set(tasks[0].rows(30, 0)) != set(tasks[0].rows(30, 1))


def test_vectors_are_what_the_energies_are_read_from(graphs, start):
    network = start.model.eval()
    found = pretraining.vectors(network, graphs)
    assert found.shape == (40, 32)
    seen = []
    network.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(graphs[7])
    np.testing.assert_allclose(found[7], seen[0].mean(dim=0).numpy(), rtol=1e-4, atol=1e-6)


def test_fine_tuning_starts_at_the_zero_shot(graphs, start):
    labels = np.linspace(-3, 0, 9)
    continued = Trained(pretraining.Continued(start, labels), labels.mean(), labels.std())
    torch.testing.assert_close(continued.predict(graphs), start.predict(graphs), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        next(iter(continued.model.parameters())).add_(1)
    assert not torch.equal(
        next(iter(continued.model.model.parameters())), next(iter(start.model.parameters()))
    )


def test_another_target_keeps_the_body_and_takes_a_new_readout(graphs, start, monkeypatch):
    tried = {}

    def no_training(network, *_, **settings):
        tried["network"], tried["settings"] = network, settings
        return Trained(network, 0.0, 1.0)

    monkeypatch.setattr(pretraining, "fit", no_training)
    monkeypatch.setattr(pretraining, "TEST", 10)
    task = pretraining.Task(pretraining.TARGET, [], [], np.linspace(1, 2, 40), "")
    pretraining.learned(task, graphs, np.arange(10, 20), 0, start)
    new, old = tried["network"].state_dict(), start.model.state_dict()
    for name in old:
        assert torch.equal(new[name], old[name]) == (not name.startswith("readout.")), name
    assert tried["settings"]["learning_rate"] == pretraining.RATES["fine-tuned"]
    pretraining.learned(task, graphs, np.arange(10, 20), 0, None)
    assert not torch.equal(tried["network"].state_dict()["atoms.1.weight"], old["atoms.1.weight"])


def test_the_linear_model_reads_the_labels_only(monkeypatch):
    monkeypatch.setattr(pretraining, "TEST", 20)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4))
    target, train = inputs @ [1.0, -2.0, 0.5, 0.0] + 3, np.arange(20, 60)
    np.testing.assert_allclose(pretraining.linear(inputs, target, train), target[:20], atol=0.05)
    lied = np.where(np.arange(60) < 20, 99.0, target)
    np.testing.assert_array_equal(
        pretraining.linear(inputs, lied, train), pretraining.linear(inputs, target, train)
    )


def test_the_stored_rows_are_complete():
    record = json.loads(pretraining.FIGURE.with_suffix(".json").read_text(encoding="utf-8"))
    rows = {(row["task"], row["method"], row["labels"], row["seed"]) for row in record["rows"]}
    seeds = {row["seed"] for row in record["rows"]}
    assert len(rows) == len(record["rows"]) and len(seeds) >= 2
    for task in (pretraining.CHEMISTRY, pretraining.TARGET):
        methods = set(pretraining.SHOWN) - ({pretraining.ZERO_SHOT} if task == pretraining.TARGET else set())
        wanted = {(task, m, n, seed) for m in methods for n in pretraining.LABELS for seed in seeds}
        assert wanted == {row for row in rows if row[0] == task}
    assert not any(record["test compositions in the corpus"].values())
