"""SchNet on QM9: the error of the internal energy U0 against the number of training molecules.

Random splits of all molecules: 1,000 to test, 250 to choose the epoch, nested training sets. Each seed is
another split and another start. The network learns what a sum over the elements, fitted to the
training part, leaves. Writes course/figures/qm9_curve.png and, beside it, a JSON file with command, versions
and every error; it is written after each training, and what is in it is not measured again.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from course.registry import literature
from mg9 import data, plots
from mg9.a_crystal import molecule_graph
from mg9.c_schnet import SchNet
from mg9.potential import ElementReferences
from mg9.splits import Split
from mg9.train import fit

if TYPE_CHECKING:
    from torch_geometric.data import Data

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "qm9_curve.png"
EPOCHS = {250: 60, 500: 45, 1000: 30, 2000: 20}  # training molecules -> epochs
TEST, VALIDATION, CUTOFF = 1000, 250, 5.0
SIZE = {"features": 32, "layers": 3, "cutoff": CUTOFF}
NETWORK, ELEMENTS = "MAE of U0 (eV) by training molecules and seed", "the same of the elements alone"
ACCURACY, PUBLISHED = "chemical-accuracy", ("schnet-qm9-50k", "schnet-qm9-100k", "schnet-qm9-110k")


def main() -> None:
    parser = command_line(__doc__.splitlines()[0], "qm9_curve", "qm9_curve --seeds 1")
    parser.add_argument("--seeds", type=int, default=2, help="splits and starts (default 2)")
    parser.add_argument("--again", action="store_true", help="forget what is measured already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    qm9 = data.qm9()
    record = {
        "command": "python -m benchmarks.qm9_curve"
        + (f" --seeds {options.seeds}" if options.seeds != 2 else ""),
        "run with": machine(),
        "data": f"{len(qm9):,} molecules of {qm9.provenance.package}",
        "split": f"random, {TEST} test, {VALIDATION} validation",
        "network": SIZE,
        "epochs": {str(n): epochs for n, epochs in EPOCHS.items()},
    }
    file = FIGURE.with_suffix(".json")
    stored = {} if options.again or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    same = all(stored.get(key) == record[key] for key in ("run with", "data", "split", "network", "epochs"))
    points = [(n, seed) for n in EPOCHS for seed in range(options.seeds)]
    for kind in (NETWORK, ELEMENTS):
        record[kind] = stored[kind] if same else {}
    for n, seed in tqdm(points, desc="QM9", unit="training"):
        if str(seed) not in record[NETWORK].setdefault(str(n), {}):
            found, alone = measured(qm9, n, seed)
            record[NETWORK][str(n)][str(seed)] = round(found, 3)
            record[ELEMENTS].setdefault(str(n), {})[str(seed)] = round(alone, 3)
            file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(record[NETWORK], record[ELEMENTS])


@cache
def molecules(qm9: data.Dataset, seed: int) -> tuple[list[Data], np.ndarray]:
    """The graphs and energies (eV) of one seed: test, validation, and the largest training set."""
    rows = np.random.default_rng(seed).permutation(len(qm9))[: TEST + VALIDATION + max(EPOCHS)]
    found = qm9.structures(qm9.table.index[rows])
    graphs = [molecule_graph(one.atomic_numbers, one.cart_coords, cutoff=CUTOFF) for one in found]
    return graphs, qm9.table["U0"].to_numpy()[rows]


def measured(qm9: data.Dataset, n: int, seed: int) -> tuple[float, float]:
    """Test MAE (eV) of SchNet after n molecules, and of the sum over elements alone."""
    graphs, energy = molecules(qm9, seed)
    train = np.arange(TEST + VALIDATION, TEST + VALIDATION + n)
    split = Split(train, np.arange(TEST, TEST + VALIDATION), np.arange(TEST), "new molecules of QM9")
    references = ElementReferences().double().fit([graphs[k] for k in train], energy[train])
    atoms = torch.tensor([len(graph.z) for graph in graphs])
    batch = torch.arange(len(graphs)).repeat_interleave(atoms)
    rest = energy - references(torch.cat([graph.z for graph in graphs]), batch, len(graphs)).numpy()
    torch.manual_seed(seed)
    settings = {"epochs": EPOCHS[n], "batch_size": 32, "seed": seed, "progress": False}
    trained = fit(SchNet(**SIZE), graphs, rest, split, **settings)
    off = trained.predict(graphs[:TEST]).numpy() - rest[:TEST]
    return float(np.abs(off).mean()), float(np.abs(rest[:TEST]).mean())


def draw(network: dict[str, dict[str, float]], elements: dict[str, dict[str, float]]) -> None:
    import matplotlib.pyplot as plt

    figures = literature()
    paper = [(figures[key].train, figures[key].value) for key in PUBLISHED]
    _, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
    curves = (
        (elements, plots.ORANGE, "s--", "sum over elements"),
        (network, plots.BLUE, "o-", "SchNet, measured"),
    )
    for errors, colour, shape, label in curves:
        mean = {int(n): np.mean(list(values.values())) for n, values in errors.items()}
        ax.plot(list(mean), list(mean.values()), shape, color=colour, label=label)
        for n, values in errors.items():
            ax.plot([int(n)] * len(values), list(values.values()), ".", color=colour, markersize=4)
    ax.plot(*zip(*paper, strict=True), "D", color=plots.VERMILLION, label="SchNet, published")
    ax.axhline(figures[ACCURACY].value, color="grey", linestyle=":", label="chemical accuracy")
    ax.set(xscale="log", yscale="log", xlabel="training molecules", ylabel="test MAE of U0 (eV)")
    ax.legend()
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
