"""Does an ensemble know when it does not know (slide 44)? On crystals like the known ones, and on oxides.

Five small CGCNNs that differ in their start and in the order of the batches learn formation energies of the
same crystals, once with a random test part, once with all oxides held out. Their mean is the prediction,
their standard deviation the uncertainty. Calibrated means: of the errors, 68 % lie within one deviation, 95 %
within two, as a normal distribution has it. The deviation is also scaled by one number, such that one scaled
deviation holds 68 % of the errors on the validation part, which is of known chemistry in both cases.

Writes course/figures/calibration.json after each split, with target, mean and deviation of each test crystal,
and draws calibration.png beside it; a split that is there is not measured again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data, plots, splits
from mg9.a_crystal import crystal_graph
from mg9.d_cgcnn import ReleasedCGCNN
from mg9.train import fit

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "calibration.png"
CRYSTALS, MOST_ATOMS, NETWORKS, EPOCHS = 1200, 12, 5, 15
SIZE = {"features": 32, "layers": 2, "hidden": 32}
RANDOM, OXIDES = "random", "oxides held out"
LEVELS = np.linspace(0.05, 0.95, 19)
ONE, TWO = 0.6827, 0.9545  # what one and two deviations of a normal distribution hold


def normal_quantile(level: np.ndarray) -> np.ndarray:
    """Within how many deviations this share of a normal distribution lies: 0.683 gives 1."""
    from scipy.stats import norm

    return norm.ppf(0.5 + np.asarray(level) / 2)


def covered(error: np.ndarray, deviation: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The share of errors (n,) within the interval that promises each level (k,)."""
    within = np.abs(error)[None] <= normal_quantile(levels)[:, None] * deviation[None]
    return within.mean(axis=1)


def scale(error: np.ndarray, deviation: np.ndarray) -> float:
    """By what the deviations are to be multiplied so that one of them holds 68.3 % of these errors. (The root
    mean square of error over deviation would follow the few worst.)"""
    return float(np.quantile(np.abs(error) / deviation, ONE))


def ranks_agree(error: np.ndarray, deviation: np.ndarray) -> float:
    """Spearman's correlation of error and deviation: 1 where the least certain are the furthest off."""
    from scipy.stats import spearmanr

    return float(spearmanr(np.abs(error), deviation).statistic)


def measured(graphs: list, target: np.ndarray, split: splits.Split, epochs: int = EPOCHS) -> dict:
    """Target, mean and deviation (eV/atom) of the test crystals, and the scale from the validation part."""
    found = []
    for k in tqdm(range(NETWORKS), desc="ensemble", unit="network", leave=False):
        torch.manual_seed(k)
        settings = {"epochs": epochs, "batch_size": 32, "seed": k, "progress": False}
        trained = fit(ReleasedCGCNN(**SIZE), graphs, target, split, **settings)
        found.append(trained.predict(graphs).numpy())
    mean, deviation = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    held, test = split.validation, split.test
    row = {name: np.round(values[test], 4).tolist() for name, values in (("target", target), ("mean", mean))}
    row["deviation"] = np.round(deviation[test], 5).tolist()
    row["scale"] = round(scale(mean[held] - target[held], deviation[held]), 3)
    return row | {"trained on": len(split.train), "MAE on validation": mae(mean[held], target[held])}


def mae(predicted: np.ndarray, target: np.ndarray) -> float:
    return round(float(np.abs(predicted - target).mean()), 4)


def summary(row: dict) -> dict[str, float]:
    """What a stored split says: MAE, mean deviation, coverage at 68 and 95 %, plain and scaled, and whether
    the least certain are the furthest off."""
    target, mean, deviation = (np.array(row[key]) for key in ("target", "mean", "deviation"))
    error, levels = mean - target, np.array([ONE, TWO])
    plain, scaled = covered(error, deviation, levels), covered(error, row["scale"] * deviation, levels)
    return {
        "MAE": float(np.abs(error).mean()),
        "mean deviation": float(deviation.mean()),
        "within 1": float(plain[0]),
        "within 2": float(plain[1]),
        "within 1, scaled": float(scaled[0]),
        "within 2, scaled": float(scaled[1]),
        "rank correlation": ranks_agree(error, deviation),
    }


def main() -> None:
    parser = command_line(__doc__.split("\n\n")[0], "calibration", "calibration --again")
    parser.add_argument("--again", action="store_true", help="forget what is measured already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ds = data.formation_energy()
    table = ds.table[ds.table.nsites <= MOST_ATOMS].sample(CRYSTALS, random_state=0)
    target, formulas = table.formation_energy_per_atom.to_numpy(), list(table.formula)
    parts = {
        RANDOM: splits.random_split(len(table), validation=0.15, test=0.2),
        OXIDES: splits.family_split(formulas, hold_out="oxide", validation=0.15),
    }
    file = FIGURE.with_suffix(".json")
    record = {
        "command": "python -m benchmarks.calibration",
        "run with": machine(),
        "ensemble": {"networks": NETWORKS, "epochs": EPOCHS, **SIZE},
        "crystals": f"{CRYSTALS:,} formation energies, at most {MOST_ATOMS} atoms",
        "splits": {},
    }
    stored = {} if options.again or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    if all(stored.get(key) == record[key] for key in ("ensemble", "crystals")):
        record["splits"] = stored["splits"]
    graphs: list = []
    for name, split in tqdm(parts.items(), desc="calibration", unit="split"):
        if name not in record["splits"]:
            graphs = graphs or [crystal_graph(one) for one in ds.structures(table.index)]
            record["splits"][name] = measured(graphs, target, split)
            file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    for name, row in record["splits"].items():
        print(f"{name:16s}", ", ".join(f"{key} {value:.2f}" for key, value in summary(row).items()))
    draw(record)


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.7), layout="constrained")
    looks = zip((RANDOM, OXIDES), (plots.BLUE, plots.VERMILLION), "os", strict=True)
    for name, colour, mark in looks:
        row = record["splits"][name]
        target, mean, deviation = (np.array(row[key]) for key in ("target", "mean", "deviation"))
        error = mean - target
        left.plot(LEVELS, covered(error, deviation, LEVELS), mark + "-", color=colour, label=name)
        scaled = covered(error, row["scale"] * deviation, LEVELS)
        left.plot(LEVELS, scaled, mark + ":", color=colour, mfc="white", label=f"{name}, scaled")
        right.plot(deviation, np.abs(error), mark, color=colour, markersize=3, alpha=0.6, label=name)
    left.plot([0, 1], [0, 1], color="grey", linewidth=1)
    left.set(xlabel="promised share", ylabel="share of errors inside")
    ends = np.array([2e-3, 2])
    right.plot(ends, ends, color="grey", linewidth=1)
    right.set(xscale="log", yscale="log", xlabel="deviation of the ensemble (eV/atom)")
    right.set(ylabel="error (eV/atom)", ylim=(1e-3, 5))
    left.legend(fontsize=8)
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
