"""Figure and table of `benchmarks.leaderboard`: errors on both splits, and what a prediction costs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mg9 import plots

ROOT = Path(__file__).parents[1]
FIGURE, README = ROOT / "course" / "figures" / "leaderboard.png", ROOT / "README.md"
BEGIN, END = "<!-- printed by python -m benchmarks.leaderboard -->", "<!-- end of the leaderboard -->"
SPLITS = {
    "random": (plots.BLUE, "o", "random split"),
    "chalcogenide": (plots.VERMILLION, "D", "chalcogenides held out"),
}


def errors(record: dict, model: str, split: str, what: str = "MAE") -> list[float]:
    """A number of each seed's row, MAE in eV/atom."""
    return [row[what] for row in record["rows"] if row["model"] == model and row["split"] == split]


def ranking(record: dict, split: str) -> list[str]:
    """The models that have a row there, the least mean error first."""
    models = {row["model"] for row in record["rows"] if row["split"] == split}
    return sorted(models, key=lambda model: np.mean(errors(record, model, split)))


def table(record: dict) -> str:
    """The leaderboard in Markdown, the least error on the random split first."""
    lines = [
        "| model | random split | chalcogenides held out | epochs | one prediction (ms) |",
        "|" + " --- |" * 5,
    ]
    for model in ranking(record, "random"):
        cells = [f"{model} *" if model in record["leakage"] else model]
        for split in SPLITS:
            seeds = errors(record, model, split)
            spread = f" ± {np.ptp(seeds) / 2:.3f}" if len(seeds) > 1 else ""
            cells.append(f"{np.mean(seeds):.3f}{spread}")
        row = next(row for row in record["rows"] if row["model"] == model)
        cost = min(errors(record, model, "random", "prediction (ms)"))
        cells += [str(row.get("epochs", "")), f"{cost:.2g}" if cost < 100 else f"{cost:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def readme() -> str:
    """What stands in the README between the two marks."""
    return README.read_text(encoding="utf-8").partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0].strip()


def write_readme(text: str) -> None:
    whole = README.read_text(encoding="utf-8")
    marked = f"(?s){re.escape(BEGIN)}.*{re.escape(END)}"
    new = re.sub(marked, lambda _: f"{BEGIN}\n\n{text}\n\n{END}", whole, count=1)
    README.write_text(new, encoding="utf-8")


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    models = ranking(record, "random")
    _, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 4.6), layout="constrained", sharey=True, width_ratios=(3, 2)
    )
    for split, (colour, shape, label) in SPLITS.items():
        for place, model in enumerate(models):
            if seeds := errors(record, model, split):
                left.plot(seeds, [place] * len(seeds), ".", color=colour, markersize=4)
                mean = np.mean(seeds)
                left.plot(mean, place, shape, color=colour, markersize=7, alpha=0.8, label=label)
                label = None
    leaks = record["leakage"]
    left.set_yticks(range(len(models)), [f"{model} *" if model in leaks else model for model in models])
    left.invert_yaxis()
    left.set(xscale="log", xlabel="test MAE of the formation energy (eV/atom)\n* has seen these crystals")
    left.set_xticks(ticks := (0.1, 0.2, 0.4, 0.8), ticks)
    left.minorticks_off()
    left.grid(axis="x", linewidth=0.4)
    left.legend(loc="upper right", fontsize=8)
    cost = [np.min(errors(record, model, "random", "prediction (ms)")) for model in models]
    right.barh(range(len(models)), cost, color=plots.SKY)
    right.set(xscale="log", xlabel="a prediction, from the structure on\n(ms of processor time)")
    FIGURE.write_bytes(plots.png())
