"""Power laws through the course's own learning curves (slide 44): error = a n^-b, b with its 95 % interval.

The curves are those that other benchmarks stored in course/figures: SchNet on QM9, and three potentials on
silicon. Each run is a point; b and its interval are those of a straight line in logarithms. Then the test
that a law has to pass: fitted without the largest training sets, what does it say about them? Measures
nothing, takes a second. Writes course/figures/scaling_laws.json and draws scaling_laws.png beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import qm9_curve
from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import plots

FOLDER = Path(__file__).parents[1] / "course" / "figures"
FIGURE = FOLDER / "scaling_laws.png"


@dataclass(frozen=True)
class PowerLaw:
    """error = a n^-b; low, high: the 95 % interval of b."""

    a: float
    b: float
    low: float
    high: float

    def __call__(self, n: np.ndarray) -> np.ndarray:
        return self.a * np.asarray(n, dtype=float) ** -self.b


def power_law(n: np.ndarray, error: np.ndarray) -> PowerLaw:
    """Least squares in logarithms; the interval is Student's, of independent runs with equal spread.

    n, error (runs,), positive. Errors: ValueError for fewer than three runs or a single n.
    """
    from scipy.stats import t

    x, y = np.log(np.asarray(n, dtype=float)), np.log(np.asarray(error, dtype=float))
    if len(x) < 3 or np.ptp(x) == 0:
        raise ValueError(f"{len(x)} runs at {len(set(x))} sizes; a law needs three runs and two sizes")
    away = x - x.mean()
    slope = (away * y).sum() / np.square(away).sum()
    rest = y - y.mean() - slope * away
    deviation = np.sqrt(np.square(rest).sum() / (len(x) - 2) / np.square(away).sum())
    half = t.ppf(0.975, len(x) - 2) * deviation
    return PowerLaw(float(np.exp(y.mean() - slope * x.mean())), -slope, -slope - half, -slope + half)


def curves() -> dict[str, tuple[str, list[tuple[int, float]]]]:
    """Title -> unit, and a point (n, error) for each run."""

    def stored(name: str) -> dict:
        return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))

    found = {}
    of_n = stored("qm9_curve")[qm9_curve.NETWORK]
    points = [(int(n), error) for n, of in of_n.items() for error in of.values()]
    found["SchNet, QM9"] = "eV", points
    silicon = stored("data_efficiency")["rows"]
    for model in ("SchNet", "NequIP, l = 1", "MACE"):
        points = [(row["structures"], row["forces"]) for row in silicon if row["model"] == model]
        found[f"{model}, silicon"] = "eV/Å", points
    return found


def fitted(points: list[tuple[int, float]]) -> dict:
    """The law of all points, and what the law without the largest n says there."""
    n, error = np.array(points).T
    law, most = power_law(n, error), n.max()
    row = {"a": law.a, "b": law.b, "low": law.low, "high": law.high, "runs": len(n)}
    row |= {"largest n": int(most), "measured there": float(np.exp(np.log(error[n == most]).mean()))}
    rest = n < most
    row["foretold there"] = float(power_law(n[rest], error[rest])(most))
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    command_line(__doc__.split("\n\n")[0], "scaling_laws").parse_args()
    record = {"command": "python -m benchmarks.scaling_laws", "run with": machine(), "curves": {}}
    for title, (unit, points) in curves().items():
        row = record["curves"][title] = {"unit": unit, "points": points} | fitted(points)
        there = f"foretold {row['foretold there']:.3f}, measured {row['measured there']:.3f} {unit}"
        print(f"{title:28s}b = {row['b']:.2f} ({row['low']:.2f} to {row['high']:.2f}); {there}")
    FIGURE.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(record)


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6.4, 3.9), layout="constrained")
    looks = zip(record["curves"].items(), plots.COLOURS, "osD^v", strict=False)
    for (title, row), colour, mark in looks:
        n, error = np.array(row["points"]).T
        ax.plot(n, error, mark, color=colour, markersize=4, alpha=0.7)
        ends = np.array([n.min(), n.max()])
        label = f"{title}: {row['b']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        ax.plot(ends, row["a"] * ends ** -row["b"], color=colour, label=label)
    ax.set(xscale="log", yscale="log", xlabel="training examples", ylabel="test MAE (eV, eV/Å)")
    ax.legend(fontsize=7, title="exponent b, 95 % interval", title_fontsize=7)
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
