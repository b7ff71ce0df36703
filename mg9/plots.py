"""Figures of the course: colour-blind safe, axes with units, one function for each kind (slides 24, 47).

Every function draws into `ax` if it is given and returns the axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mg9.train import Trained

# Okabe and Ito's palette: distinct for all common forms of colour blindness, and in grey by lightness.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)


def history(runs: Mapping[str, Trained], unit: str, ax: Axes | None = None) -> Axes:
    """Training (dashed) and validation error (line) against the epoch for named runs; a dot marks the
    epoch that was kept."""
    ax = ax or _axes()
    for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
        epoch, training, validation, _ = np.array(run.history).T
        ax.plot(epoch, training, "--", color=colour, linewidth=1)
        ax.plot(epoch, validation, color=colour, label=f"{name}: validation")
        ax.plot(run.best_epoch, validation[run.best_epoch], "o", color=colour)
    ax.plot([], [], "--", color="grey", label="training")
    ax.set(xlabel="epoch", ylabel=f"mean absolute error ({unit})", yscale="log")
    ax.legend()
    return ax


def errors_by_family(
    errors: Mapping[str, float], *, unit: str, held_out: str = "", ax: Axes | None = None
) -> Axes:
    """Bars of the mean absolute error of each family, longest on top; the held-out family in another
    colour and hatched."""
    ax = ax or _axes()
    names = sorted(errors, key=errors.__getitem__)
    bars = ax.barh(names, [errors[name] for name in names], color=BLUE)
    for name, bar in zip(names, bars, strict=True):
        if name == held_out:
            bar.set(color=VERMILLION, hatch="//", edgecolor="white", label=f"{held_out}: held out")
    ax.bar_label(bars, fmt="%.2f", padding=3)
    ax.set(xlabel=f"mean absolute error ({unit})", xlim=(0, 1.15 * max(errors.values())))
    if held_out in errors:
        ax.legend(loc="lower right")
    return ax


def parity(
    target: Sequence[float], prediction: Sequence[float], *, unit: str, ax: Axes | None = None
) -> Axes:
    """Prediction against target with the diagonal; the title gives the mean absolute error."""
    ax = ax or _axes()
    target, prediction = np.asarray(target), np.asarray(prediction)
    ends = [min(target.min(), prediction.min()), max(target.max(), prediction.max())]
    ax.plot(ends, ends, color="grey", linewidth=1)
    ax.plot(target, prediction, ".", color=BLUE, markersize=4, alpha=0.5)
    error = np.abs(target - prediction).mean()
    ax.set(
        xlabel=f"DFT ({unit})", ylabel=f"predicted ({unit})", title=f"MAE {error:.3f} {unit}", aspect="equal"
    )
    return ax


def _axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
