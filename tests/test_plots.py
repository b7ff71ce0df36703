"""The figures of the course: what is drawn where, with which unit, and that colour is not all that speaks."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mg9 import plots
from mg9.train import Trained


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def run(best_epoch: int = 2) -> Trained:
    """Epoch, training error, validation error, learning rate."""
    rows = [(0, 1.0, 1.2, 1e-3), (1, 0.6, 0.9, 5e-3), (2, 0.4, 0.8, 2e-3), (3, 0.3, 0.85, 1e-5)]
    return Trained(None, 0.0, 1.0, history=rows, best_epoch=best_epoch)


def texts(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


def test_history_shows_both_errors_and_the_epoch_that_was_kept():
    ax = plots.history({"oxides held out": run(), "random": run(best_epoch=1)}, "eV/atom")
    drawn = [line.get_xydata().tolist() for line in ax.lines]
    assert [[0, 1.0], [1, 0.6], [2, 0.4], [3, 0.3]] in drawn  # training
    assert [[0, 1.2], [1, 0.9], [2, 0.8], [3, 0.85]] in drawn  # validation
    assert [[2, 0.8]] in drawn and [[1, 0.9]] in drawn  # the kept epochs
    assert ax.get_xlabel() == "epoch" and "eV/atom" in ax.get_ylabel()
    assert texts(ax.get_legend()) == ["oxides held out: validation", "random: validation", "training"]
    training, validation, kept = ax.lines[:3]
    assert training.get_linestyle() == "--" and validation.get_linestyle() == "-"
    assert training.get_color() == validation.get_color() == kept.get_color() != ax.lines[3].get_color()


def test_history_of_a_run_that_was_interrupted_before_its_first_epoch_ended():
    ax = plots.history({"nothing yet": Trained(None, 0.0, 1.0, interrupted=True), "a run": run()}, "eV")
    assert any("a run" in text for text in texts(ax.get_legend()))


def test_history_draws_every_run_that_it_is_given():
    ax = plots.history({f"run {k}": run() for k in range(8)}, "eV")
    assert len(texts(ax.get_legend())) == 8 + 1


def test_errors_by_family_has_the_longest_bar_on_top_and_marks_the_held_out_one():
    errors = {"oxide": 0.5, "halide": 0.1, "nitride": 0.25}
    ax = plots.errors_by_family(errors, held_out="oxide", unit="eV/atom")
    names = [label.get_text() for label in ax.get_yticklabels()]
    widths = [bar.get_width() for bar in ax.patches]
    assert names == ["halide", "nitride", "oxide"] and widths == [0.1, 0.25, 0.5]  # from below
    hatched = [bool(bar.get_hatch()) for bar in ax.patches]
    assert hatched == [False, False, True], "the held-out family differs in more than its colour"
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    assert ax.patches[2].get_hatchcolor() != ax.patches[2].get_facecolor(), "a hatch that nobody sees"
    assert "eV/atom" in ax.get_xlabel() and texts(ax.get_legend()) == ["oxide: held out"]
    assert {"0.50", "0.10", "0.25"} <= {text.get_text() for text in ax.texts}
    assert ax.get_xlim()[1] > 0.5, "room for the number of the longest bar"


def test_errors_by_family_without_a_held_out_family_has_no_legend():
    ax = plots.errors_by_family({"oxide": 0.5, "halide": 0.1}, unit="eV")
    assert ax.get_legend() is None and not any(bar.get_hatch() for bar in ax.patches)


def test_parity_has_a_diagonal_and_the_mean_absolute_error():
    target, prediction = np.array([0.0, -1.0, -3.0]), np.array([0.2, -1.1, -3.3])
    ax = plots.parity(target, prediction, unit="eV/atom")
    diagonal, points = ax.lines
    assert diagonal.get_xydata().tolist() == [[-3.3, -3.3], [0.2, 0.2]]
    np.testing.assert_array_equal(points.get_xydata(), np.stack([target, prediction], axis=1))
    assert ax.get_title() == "MAE 0.200 eV/atom"
    assert "DFT (eV/atom)" in ax.get_xlabel() and "predicted (eV/atom)" in ax.get_ylabel()
    assert ax.get_aspect() == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.history({"a": run()}, "eV", ax=ax),
        lambda ax: plots.errors_by_family({"oxide": 0.5}, unit="eV", ax=ax),
        lambda ax: plots.parity([0.0, 1.0], [0.1, 0.9], unit="eV", ax=ax),
    ],
    ids=["history", "errors_by_family", "parity"],
)
def test_figures_go_into_the_given_axes_and_can_be_saved(draw, tmp_path):
    figure, (left, right) = plt.subplots(ncols=2)
    assert draw(right) is right and not left.has_data() and right.has_data()
    assert draw(None).figure is not figure
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_colours_can_be_told_apart_without_colour_vision():
    """Each pair of colours stays apart for red- and green-blind readers (Viénot et al. 1999)."""
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in plots.COLOURS]) ** 2.2
    to_lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    missing = {
        "protanope": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
        "deuteranope": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    }
    for kind, matrix in missing.items():
        seen = rgb @ to_lms.T @ np.array(matrix).T @ np.linalg.inv(to_lms).T
        seen = np.clip(seen, 0, 1) ** (1 / 2.2)
        gap = min(np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[:k])
        assert gap > 0.12, f"two colours are alike to a {kind}"
