"""The training loop on real crystals: what it learns, what it keeps, and how it survives interruptions."""

import numpy as np
import pytest
import torch
from torch import nn

from mg9 import data
from mg9.a_crystal import EmptyList, crystal_graph
from mg9.d_cgcnn import CGCNN, ReleasedCGCNN
from mg9.splits import Split
from mg9.train import Trained, budget, fit

COLUMN = "formation_energy_per_atom"
SPLIT = Split(np.arange(16), np.arange(16, 22), np.arange(22, 26), "a test")
SHORT = {"epochs": 8, "batch_size": 5, "learning_rate": 5e-3, "progress": False}


@pytest.fixture(scope="module")
def table():
    everything = data.formation_energy().table
    return everything[everything.nsites <= 6].sample(26, random_state=0)


@pytest.fixture(scope="module")
def graphs(table):
    return [crystal_graph(structure) for structure in data.formation_energy().structures(table.index)]


@pytest.fixture(scope="module")
def target(table):
    return table[COLUMN].to_numpy()


def small_model(seed: int = 0, **sizes) -> CGCNN:
    torch.manual_seed(seed)
    return CGCNN(**({"features": 12, "layers": 1} | sizes))


class Dies(CGCNN):
    """A model that raises at its nth call, as a kernel that dies or a reader who presses Ctrl-C would."""

    def __init__(self, error: type[BaseException], at: int) -> None:
        super().__init__(features=12, layers=1)
        self.error, self.calls_left = error, at

    def forward(self, graph):
        self.calls_left -= 1
        if self.calls_left == 0:
            raise self.error
        return super().forward(graph)


def dies(error: type[BaseException], at: int, seed: int = 0) -> Dies:
    torch.manual_seed(seed)
    return Dies(error, at)


def fit_until_ctrl_c(at: int, graphs, target, **settings) -> Trained:
    try:
        return fit(dies(KeyboardInterrupt, at), graphs, target, SPLIT, **settings)
    except KeyboardInterrupt:  # it would end the whole test run
        pytest.fail("Ctrl-C went through fit")


CALLS_AN_EPOCH = 4  # three batches, of which the last holds 6 crystals, and the validation part


def validation_error(trained: Trained, graphs, target, split=SPLIT) -> float:
    prediction = trained.predict([graphs[k] for k in split.validation]).numpy()
    return float(np.abs(prediction - target[split.validation]).mean())


def same_run(one: Trained, other: Trained, graphs) -> bool:
    predictions = torch.equal(one.predict(graphs), other.predict(graphs))
    return predictions and one.history == other.history and one.best_epoch == other.best_epoch


# What is learned and kept


def test_a_few_crystals_are_learned_by_heart(graphs, target):
    trained = fit(
        small_model(features=32), graphs, target, SPLIT, **(SHORT | {"epochs": 120, "batch_size": 16})
    )
    assert trained.history[-1][1] < 0.1 * np.abs(target[:16] - target[:16].mean()).mean()
    assert trained.history[-1][1] < 0.2 * trained.history[0][1]


def test_the_state_of_the_least_validation_error_is_kept(graphs, target):
    trained = fit(small_model(), graphs, target, SPLIT, **(SHORT | {"learning_rate": 5e-2, "epochs": 15}))
    errors = [row[2] for row in trained.history]
    assert trained.best_epoch == int(np.argmin(errors)) < len(errors) - 1, (
        "this run must get worse at its end"
    )
    assert validation_error(trained, graphs, target) == pytest.approx(min(errors), abs=1e-6)
    assert [row[0] for row in trained.history] == list(range(15))
    assert not trained.interrupted and not trained.model.training


def test_the_reported_training_error_is_in_the_unit_of_the_target(graphs, target):
    """Nothing is learned at a rate of zero: the first error is that of the untrained model."""
    trained = fit(
        small_model(), graphs, 1000 * target, SPLIT, **(SHORT | {"epochs": 1, "learning_rate": 0.0})
    )
    prediction = trained.predict([graphs[k] for k in SPLIT.train]).numpy()
    expected = np.abs(prediction - 1000 * target[SPLIT.train]).mean()
    assert trained.history[0][1] == pytest.approx(expected, rel=1e-4)


def test_mean_and_scale_come_from_the_training_part_alone(graphs, target):
    leaky = target.copy()
    leaky[SPLIT.validation] += 500.0
    leaky[SPLIT.test] -= 1000.0
    trained = fit(small_model(), graphs, leaky, SPLIT, **(SHORT | {"epochs": 1}))
    assert trained.mean == pytest.approx(target[SPLIT.train].mean(), rel=1e-5)
    assert trained.scale == pytest.approx(target[SPLIT.train].std(ddof=1), rel=1e-5)


def test_the_test_part_is_never_looked_at(graphs, target):
    unknown = target.copy()
    unknown[SPLIT.test] = np.nan
    without = [None if k in SPLIT.test else graph for k, graph in enumerate(graphs)]
    one = fit(small_model(), graphs, target, SPLIT, **SHORT)
    assert same_run(one, fit(small_model(), without, unknown, SPLIT, **SHORT), graphs)


def test_one_seed_one_run(graphs, target):
    one = fit(small_model(), graphs, target, SPLIT, **SHORT)
    assert same_run(one, fit(small_model(), graphs, target, SPLIT, **SHORT), graphs)
    other = fit(small_model(), graphs, target, SPLIT, **SHORT, seed=1)
    assert not same_run(one, other, graphs)


def test_predictions_do_not_depend_on_the_batches(graphs, target):
    trained = fit(small_model(), graphs, target, SPLIT, **(SHORT | {"epochs": 2}))
    once = trained.predict(graphs)
    assert tuple(once.shape) == (len(graphs),) and not once.requires_grad
    torch.testing.assert_close(trained.predict(graphs, batch_size=7), once, rtol=0, atol=1e-5)
    torch.testing.assert_close(trained.predict(graphs[::-1]), once.flip(0), rtol=0, atol=1e-5)


def test_the_learning_rate_rises_and_falls(graphs, target):
    rates = [row[3] for row in fit(small_model(), graphs, target, SPLIT, **(SHORT | {"epochs": 20})).history]
    peak = int(np.argmax(rates))
    assert 0 < peak < 8 and rates[peak] == pytest.approx(5e-3, rel=0.05) and rates[-1] < 1e-5


def test_the_bar_shows_the_validation_error(graphs, target, capsys):
    fit(small_model(), graphs, target, SPLIT, **(SHORT | {"epochs": 2}))
    assert capsys.readouterr().err == ""
    fit(small_model(), graphs, target, SPLIT, **(SHORT | {"epochs": 2, "progress": True}))
    bar = capsys.readouterr().err
    assert "training" in bar and "2/2" in bar and "validation MAE" in bar


def test_early_stopping_waits_for_its_patience(graphs, target):
    """At a rate of zero nothing improves after the first epoch."""
    still = SHORT | {"learning_rate": 0.0, "epochs": 12}
    assert len(fit(small_model(), graphs, target, SPLIT, **still, patience=3).history) == 4
    assert len(fit(small_model(), graphs, target, SPLIT, **still).history) == 12


def test_a_last_batch_of_one_single_atom(target):
    """Batch normalisation in training mode has no variance for one atom; the run must not end there."""
    everything = data.formation_energy().table
    elements = everything[everything.nsites == 1].index[:11]
    alone = [crystal_graph(structure) for structure in data.formation_energy().structures(elements)]
    split = Split(np.arange(9), np.arange(9, 10), np.arange(10, 11), "a test")
    energies = everything.loc[elements, COLUMN].to_numpy()
    trained = fit(
        ReleasedCGCNN(features=8, layers=1), alone, energies, split, epochs=1, batch_size=4, progress=False
    )
    assert torch.isfinite(trained.predict(alone)).all()


def test_a_training_part_of_one_crystal(graphs, target):
    split = Split(np.arange(1), np.arange(1, 3), np.arange(3, 5), "a test")
    trained = fit(small_model(), graphs, target, split, **(SHORT | {"epochs": 2}))
    assert torch.isfinite(trained.predict(graphs)).all()


# Dead kernels and Ctrl-C


@pytest.mark.parametrize("at", [1, CALLS_AN_EPOCH, 3 * CALLS_AN_EPOCH + 1, 5 * CALLS_AN_EPOCH + 3])
def test_a_dead_run_goes_on_as_if_nothing_had_happened(graphs, target, tmp_path, at):
    checkpoint = tmp_path / "new folder" / "run.pt"
    whole = fit(small_model(), graphs, target, SPLIT, **SHORT)
    with pytest.raises(MemoryError):
        fit(dies(MemoryError, at), graphs, target, SPLIT, **SHORT, checkpoint=checkpoint)
    # Within the first epoch there is nothing to go on from; later the new model's weights do not matter.
    fresh = small_model(seed=0 if at <= CALLS_AN_EPOCH else 7)
    resumed = fit(fresh, graphs, target, SPLIT, **SHORT, checkpoint=checkpoint)
    assert same_run(whole, resumed, graphs)


def test_a_run_with_dropout_goes_on_with_the_same_random_numbers(graphs, target, tmp_path):
    class WithDropout(Dies):
        def forward(self, graph):
            return nn.functional.dropout(super().forward(graph), 0.3, self.training)

    def run(at: int, **more):
        torch.manual_seed(0)
        return fit(WithDropout(MemoryError, at), graphs, target, SPLIT, **SHORT, **more)

    whole = run(at=-1)
    with pytest.raises(MemoryError):
        run(at=4 * CALLS_AN_EPOCH + 2, checkpoint=tmp_path / "run.pt")
    assert same_run(whole, run(at=-1, checkpoint=tmp_path / "run.pt"), graphs)


def test_a_kernel_that_died_while_writing_leaves_the_previous_checkpoint(
    graphs, target, tmp_path, monkeypatch
):
    checkpoint, save, written = tmp_path / "run.pt", torch.save, []

    def dies_at_the_third(state, path):
        written.append(path)
        if len(written) == 3:
            path.write_bytes(b"half a file")
            raise MemoryError
        save(state, path)

    monkeypatch.setattr(torch, "save", dies_at_the_third)
    with pytest.raises(MemoryError):
        fit(small_model(), graphs, target, SPLIT, **SHORT, checkpoint=checkpoint)
    monkeypatch.undo()
    resumed = fit(small_model(seed=7), graphs, target, SPLIT, **SHORT, checkpoint=checkpoint)
    assert same_run(fit(small_model(), graphs, target, SPLIT, **SHORT), resumed, graphs)


@pytest.mark.parametrize(
    "more", [{}, {"patience": 2, "learning_rate": 0.0}], ids=["to the end", "stopped early"]
)
def test_a_finished_run_is_read_and_not_trained_further(graphs, target, tmp_path, more):
    settings = SHORT | more | {"checkpoint": tmp_path / "run.pt"}
    first = fit(small_model(), graphs, target, SPLIT, **settings)
    again = fit(small_model(seed=7), graphs, target, SPLIT, **settings)
    assert same_run(first, again, graphs)


OTHER_RUNS = {
    "more epochs": {"epochs": 9},
    "another seed": {"seed": 1},
    "another batch size": {"batch_size": 4},
    "another rate": {"learning_rate": 1e-3},
    "another unit": {"target": 2.0},
    "more layers": {"sizes": {"layers": 2}},
    "wider": {"sizes": {"features": 13}},
    "another validation part": {"split": Split(SPLIT.train, SPLIT.test, SPLIT.validation, "a test")},
}


@pytest.mark.parametrize("other", OTHER_RUNS)
def test_the_checkpoint_of_another_run_is_refused(graphs, target, tmp_path, other):
    checkpoint, change = tmp_path / "run.pt", dict(OTHER_RUNS[other])
    fit(small_model(), graphs, target, SPLIT, **SHORT, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    model, split = small_model(**change.pop("sizes", {})), change.pop("split", SPLIT)
    changed = target * change.pop("target", 1.0)
    with pytest.raises(ValueError, match=r"run\.pt"):
        fit(model, graphs, changed, split, **(SHORT | change), checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before


def test_a_file_that_is_no_checkpoint_is_refused(graphs, target, tmp_path):
    (tmp_path / "run.pt").write_text("my notes")
    with pytest.raises(ValueError, match=r"run\.pt"):
        fit(small_model(), graphs, target, SPLIT, **SHORT, checkpoint=tmp_path / "run.pt")
    assert (tmp_path / "run.pt").read_text() == "my notes"


@pytest.mark.parametrize("at", [3 * CALLS_AN_EPOCH + 2, 4 * CALLS_AN_EPOCH], ids=["training", "validating"])
def test_ctrl_c_returns_the_best_so_far(graphs, target, at):
    trained = fit_until_ctrl_c(at, graphs, target, **(SHORT | {"learning_rate": 5e-2}))
    assert trained.interrupted and len(trained.history) == 3
    errors = [row[2] for row in trained.history]
    assert trained.best_epoch == int(np.argmin(errors))
    assert validation_error(trained, graphs, target) == pytest.approx(min(errors), abs=1e-6)
    assert not trained.model.training


def test_ctrl_c_in_the_first_epoch_returns_the_untrained_model(graphs, target):
    trained = fit_until_ctrl_c(3, graphs, target, **SHORT)
    assert trained.interrupted and trained.history == []
    untrained = Trained(small_model(), trained.mean, trained.scale)
    assert torch.equal(trained.predict(graphs), untrained.predict(graphs))


def test_after_ctrl_c_the_same_call_goes_on(graphs, target, tmp_path):
    checkpoint = tmp_path / "run.pt"
    fit_until_ctrl_c(17, graphs, target, **SHORT, checkpoint=checkpoint)
    resumed = fit(small_model(), graphs, target, SPLIT, **SHORT, checkpoint=checkpoint)
    assert not resumed.interrupted
    assert same_run(fit(small_model(), graphs, target, SPLIT, **SHORT), resumed, graphs)


# Bad input


@pytest.mark.parametrize("length", [25, 27, 0])
def test_a_target_of_another_length(graphs, target, length):
    with pytest.raises(ValueError, match=f"{length} targets for 26 graphs"):
        fit(small_model(), graphs, np.resize(target, length), SPLIT, **SHORT)


def test_a_target_in_a_column_of_its_own(graphs, target):
    """Shape (26, 1) would broadcast against (B,) and train on nonsense."""
    with pytest.raises(ValueError, match="shape|one number"):
        fit(small_model(), graphs, target[:, None], SPLIT, **SHORT)


def test_a_model_that_returns_a_column(graphs, target):
    class Column(CGCNN):
        def forward(self, graph):
            return super().forward(graph)[:, None]

    with pytest.raises(ValueError, match="shape|one number"):
        fit(Column(features=12, layers=1), graphs, target, SPLIT, **SHORT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_target_that_is_not_a_number_is_named_by_its_row(graphs, target, part, value):
    bad, at = target.copy(), getattr(SPLIT, part)[3]
    bad[at] = value
    with pytest.raises(ValueError, match=f"row {at} is NaN or infinite"):
        fit(small_model(), graphs, bad, SPLIT, **SHORT)


def test_a_split_of_a_longer_table(graphs, target):
    with pytest.raises(ValueError, match="row 21, but there are 20 graphs"):
        fit(small_model(), graphs[:20], target[:20], SPLIT, **SHORT)


def test_an_empty_list_of_graphs(graphs, target):
    with pytest.raises(ValueError, match="0 graphs"):
        fit(small_model(), [], [], SPLIT, **SHORT)
    with pytest.raises(EmptyList, match="at least one"):
        Trained(small_model(), 0.0, 1.0).predict([])


# The budget


def test_budget_is_full_unless_the_environment_says_tiny(monkeypatch):
    sizes = {"full": {"epochs": 24}, "tiny": {"epochs": 1}}
    monkeypatch.delenv("MG9_BUDGET", raising=False)
    assert budget(**sizes) == {"epochs": 24}
    for value in ("full", "tiny"):
        monkeypatch.setenv("MG9_BUDGET", value)
        assert budget(**sizes) == sizes[value]


@pytest.mark.parametrize("value", ["Tiny", "0", ""])
def test_another_budget_is_an_error_that_names_the_choices(monkeypatch, value):
    monkeypatch.setenv("MG9_BUDGET", value)
    with pytest.raises(ValueError, match="MG9_BUDGET.*'full' or 'tiny'"):
        budget(full={}, tiny={})
