"""What `benchmarks.evaluation` has measured, as the README shows it, and its figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mg9 import plots

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "course" / "figures" / "held_out.png"
README = ROOT / "README.md"
BEGIN, END = "<!-- printed by python -m benchmarks.evaluation -->", "<!-- end -->"
FAMILIES = ("oxide", "halide", "chalcogenide", "nitride", "intermetallic")
SEEDS = 3
COLUMNS = (
    *("training mean", "ridge", "random forest", "boosted trees", "MLP"),
    *("CGCNN, slide 21", "CGCNN, as released", "released weights"),
)
RATIOS = ("ridge", "boosted trees", "MLP", "CGCNN, as released")
NETWORK = "CGCNN, as released"


def tables(found: pd.DataFrame) -> str:
    """Everything that the README shows, from the rows of evaluation.csv, in Markdown."""
    lines = [row("test part (crystals)", *COLUMNS), row(*["---"] * (1 + len(COLUMNS)))]
    lines.append(row("random 80/10/10", *(cell(errors(found, model, "random")) for model in COLUMNS)))
    for family in FAMILIES:
        n = found[(found.split == family)].crystals.max()
        cells = (cell(errors(found, model, family)) for model in COLUMNS)
        lines.append(row(f"{family} ({n:,})", *cells))
    for title, how in (("mean", "mean"), ("worst", "max")):
        cells = (cell(errors(found, model, "cluster", how=how)) for model in COLUMNS)
        lines.append(row(f"cluster, {title} of five", *cells))
    lines += ["", row("family", *RATIOS), row(*["---"] * (1 + len(RATIOS)))]
    lines += [row(family, *(ratio(found, model, family) for model in RATIOS)) for family in FAMILIES]
    return "\n".join([*lines, *(f"\n{sentence}" for sentence in sentences(found))])


def errors(found: pd.DataFrame, model: str, split: str, *, part: str = "all", how: str = "mean") -> pd.Series:
    """MAE in eV/atom of each seed; of the clusters of a seed the mean, or with how = "max" the worst."""
    mine = found[(found.model == model) & (found.split == split)]
    if split != "cluster":
        mine = mine[mine.part == part]
    return mine.groupby("seed").mae.agg(how)


def cell(seeds: pd.Series) -> str:
    """ "0.137 ± 0.002": the mean of the seeds and half their range."""
    return f"{seeds.mean():.3f} ± {np.ptp(seeds) / 2:.3f}"


def ratio(found: pd.DataFrame, model: str, family: str) -> str:
    """ "0.18 to 0.59: 3.2": a family's error on the random split, held out, and held out over random."""
    known, new = errors(found, model, "random", part=family).mean(), errors(found, model, family).mean()
    return f"{known:.2f} to {new:.2f}: {new / known:.1f}" if known == known and new == new else ""


def sentences(found: pd.DataFrame) -> list[str]:
    """The two questions beside the table: which oxides were held out, and how atom features start."""
    says = []
    few = {model: errors(found, model, "fluorides trained") for model in ("boosted trees", NETWORK)}
    if all(len(seeds) for seeds in few.values()):
        all_of_them = {model: errors(found, model, "oxide") for model in few}
        says.append(
            "Which oxides are held out matters: with the 53 crystals that contain O and F in training and "
            "the other 1,180 held out, "
            + ", ".join(f"{m} {cell(few[m])} instead of {cell(all_of_them[m])}" for m in few)
            + " eV/atom."
        )
    start = {m: errors(found, m, "oxide") for m in ("CGCNN, slide 21", "CGCNN, torch's start")}
    if all(len(seeds) for seeds in start.values()):
        mine, torchs = map(cell, start.values())
        says.append(
            "Elements that training does not show keep their first weights: with oxides held out, the "
            f"slide's network gets {mine} eV/atom when atom features start with variance one, {torchs} "
            "with torch's smaller start."
        )
    return says


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def readme() -> str:
    """What stands in the README between the two marks."""
    return README.read_text(encoding="utf-8").partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0].strip()


def write_readme(text: str) -> None:
    whole = README.read_text(encoding="utf-8")
    new = re.sub(
        f"(?s){re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n\n{text}\n\n{END}", whole, count=1
    )
    README.write_text(new, encoding="utf-8")


def draw(found: pd.DataFrame) -> None:
    """Two bars for each family: its test error on a random split, and when it is held out."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    measured = [family for family in FAMILIES if len(errors(found, NETWORK, family))]
    place = np.arange(len(measured))
    bars = (
        ("random split: relatives are in training", -0.2, plots.BLUE, {}),
        ("family held out", 0.2, plots.VERMILLION, {"hatch": "//", "edgecolor": "white"}),
    )
    for label, shift, colour, style in bars:
        seeds = [
            errors(found, NETWORK, "random", part=family) if shift < 0 else errors(found, NETWORK, family)
            for family in measured
        ]
        height = np.array([one.mean() for one in seeds])
        ends = np.array(
            [[one.mean() - one.min(), one.max() - one.mean()] for one in seeds]
        ).T  # (2, families)
        axes.bar(place + shift, height, 0.38, color=colour, label=label, **style)
        axes.errorbar(place + shift, height, ends, fmt="none", color="black", capsize=3, linewidth=1)
    axes.set_xticks(place, measured)
    axes.set_ylabel("test error of the formation energy,\nMAE (eV/atom)")
    axes.legend()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
