"""Figures of the course: colour-blind safe, axes with units, one function for each kind (slides 24, 47).

Every function draws into `ax` if it is given and returns the axes. In a notebook, `show` ends the cell: it
displays what was drawn, with an alternative text for readers who cannot see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pymatgen.core import Structure
    from torch_geometric.data import Data

    from mg9.report import Curve, Report
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


def show(alt: str) -> None:
    """Display matplotlib's current figure as a PNG with the alternative text `alt`, and close it."""
    import base64

    from IPython.display import display

    picture = {"image/png": base64.b64encode(png()).decode(), "text/plain": f"figure: {alt}"}
    display(picture, metadata={"image/png": {"alt": alt}}, raw=True)


def png() -> bytes:
    """matplotlib's current figure as a PNG of 100 dots an inch and 256 colours; the figure is closed."""
    import io

    import matplotlib.pyplot as plt
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    plt.savefig(drawn, format="png", dpi=100)
    plt.close()
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def crystal(
    structure: Structure, *, graph: Data | None = None, atom: int = 0, ax: Axes | None = None
) -> Axes:
    """The unit cell and its atoms in 3D, each element in a colour and a size of its own; atoms on the faces
    of the cell are repeated there. With a graph: the edges of one atom, to its neighbours (hollow)."""
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.figure(figsize=(4.2, 3.8), layout="constrained").add_subplot(projection="3d")
    for ends in cell_edges(structure):
        ax.plot(*ends.T, color="grey", linewidth=0.8)
    for ends in bonds(graph, atom):
        ax.plot(*ends.T, color=SKY, linewidth=1)
        ax.scatter(*ends[1], s=25, facecolor="white", edgecolor=SKY)
    for element, (places, size, colour) in atoms(structure).items():
        ax.scatter(*places.T, s=size, color=colour, edgecolor="black", alpha=1, label=element)
    ax.set(xlabel="x (Å)", ylabel="y (Å)", zlabel="z (Å)", aspect="equal")
    ax.locator_params(nbins=4)
    ax.legend(loc="upper left")
    return ax


def cell_edges(structure: Structure) -> list[np.ndarray]:
    """The twelve edges of the unit cell, each with its two ends (2, 3) in Å."""
    corners = [(start, step) for start in np.ndindex(2, 2, 2) for step in np.eye(3) if not step @ start]
    return [np.array([start, start + step]) @ structure.lattice.matrix for start, step in corners]


def bonds(graph: Data | None, atom: int) -> list[np.ndarray]:
    """The edges that end in an atom, each from the atom to the neighbour's image (2, 3) in Å."""
    from mg9.a_crystal import edge_vectors

    if graph is None:
        return []
    start, own = graph.pos[atom].double().numpy(), graph.edge_index[1] == atom
    return [np.array([start, start + r_ij]) for r_ij in edge_vectors(graph)[own].double().numpy()]


def atoms(structure: Structure) -> dict[str, tuple[np.ndarray, float, str]]:
    """Element -> the places (n, 3) in Å of its atoms, repeated on the faces of the cell; size; colour."""
    fractional, found = structure.frac_coords % 1 % 1, {}  # twice: -1e-17 % 1 is 1
    for number, element in enumerate(sorted(set(structure.species), key=lambda one: one.Z)):
        own = fractional[[one == element for one in structure.species]]
        drawn = np.concatenate([own + shift for shift in np.ndindex(2, 2, 2)])
        inside = drawn[(drawn < 1 + 1e-6).all(axis=1)] @ structure.lattice.matrix
        found[element.symbol] = inside, 90 * float(element.atomic_radius or 1.5), COLOURS[number % 6]
    return found


def history(runs: Mapping[str, Trained], unit: str, ax: Axes | None = None) -> Axes:
    """Training (dashed) and validation error (line) against the epoch for named runs; a mark shows the
    epoch that was kept, another shape after every six runs. A run without an epoch is left out."""
    ax = ax or _axes()
    for number, (name, run) in enumerate((name, run) for name, run in runs.items() if run.history):
        colour, shape = COLOURS[number % 6], "osD^v"[number // 6 % 5]
        epoch, training, validation, _ = np.array(run.history).T
        ax.plot(epoch, training, "--", color=colour, linewidth=1)
        ax.plot(epoch, validation, color=colour, label=f"{name}: validation")
        ax.plot(run.best_epoch, validation[run.best_epoch], shape, color=colour)
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
            bar.set(facecolor=VERMILLION, hatch="//", edgecolor="white", label=f"{held_out}: held out")
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


def errors_with_intervals(table: DataFrame, *, unit: str, mark: str = "", ax: Axes | None = None) -> Axes:
    """A dot with its 95 % interval for each row of a table with the columns mae, low, high, in its order; the
    row `mark` in another colour and shape; the number of crystals beside it where there is a column n."""
    ax = ax or _axes()
    for place, (name, row) in enumerate(table.iterrows()):
        colour, shape = (VERMILLION, "D") if name == mark else (BLUE, "o")
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=2, alpha=0.6)
        ax.plot(row.mae, place, shape, color=colour, markersize=6)
    names = [f"{name} ({row.n:.0f})" if "n" in table else str(name) for name, row in table.iterrows()]
    ax.set_yticks(range(len(table)), names)
    ax.invert_yaxis()
    ax.grid(axis="x", linewidth=0.4)
    ax.set(xlabel=f"mean absolute error ({unit}), 95 % interval")
    ax.set_xlim(left=0)
    return ax


def learning_curve(curve: Curve, *, unit: str, ax: Axes | None = None) -> Axes:
    """Test error with its interval (line and band) and training error (dashed) against the number of
    training crystals, both axes logarithmic; the title says what limits the model."""
    ax = ax or _axes()
    table = curve.table
    ax.fill_between(table.n, table.low, table.high, color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(table.n, table.test, "o-", color=BLUE, label="test")
    ax.plot(table.n, table.train, "s--", color=VERMILLION, label="training")
    ax.set(xscale="log", yscale="log", xlabel="training crystals", title=curve.limited_by)
    ax.set_ylabel(f"mean absolute error ({unit})")
    ax.set_xticks(table.n, [f"{n:,.0f}" for n in table.n])
    ax.minorticks_off()
    ax.legend()
    return ax


def report(study: Report) -> Figure:
    """A panel for each table that a report has: ladder, regions (the eight worst), ablations, learning
    curve (slide 47). Errors: ValueError for a report without any."""
    import matplotlib.pyplot as plt

    panels = []
    if study.scores is not None:
        panels.append(("the ladder", study.scores, study.headline))
    if study.regions is not None:
        panels += [
            (f"{study.headline} by {kind}", part.set_index("region").head(8), "")
            for kind, part in study.regions.groupby("kind")
        ]
    panels += [(f"{name}, retrained", table, "intact") for name, table in study.ablated.items()]
    count = len(panels) + (study.curve is not None)
    if count == 0:
        raise ValueError("nothing to draw yet: call report.ladder({name: model, ...}) first")
    rows = -(-count // 2)
    figure, axes = plt.subplots(
        rows, min(count, 2), figsize=(12, 3.2 * rows), layout="constrained", squeeze=False
    )
    for ax, (title, table, mark) in zip(axes.flat, panels, strict=False):
        errors_with_intervals(table, unit=study.unit, mark=mark, ax=ax).set_title(title)
    if study.curve is not None:
        learning_curve(study.curve, unit=study.unit, ax=axes.flat[count - 1])
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure


def _axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
