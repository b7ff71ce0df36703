"""Pretraining itself, at toy size (slide 43): error against labels, from scratch and after other crystals.

A CGCNN is pretrained on formation energies of all crystals without oxygen in the table. Two tasks follow:

    another chemistry   formation energies of oxides, of which it has seen none
    another target      logarithms of bulk moduli, of crystals whose compositions it has not seen

For each, with 10 to 100 labels: the mean of the labels, the same network from scratch, the pretrained one
asked as it is (zero-shot, where the target is the same), its frozen vectors with a linear model, and all of
it trained further. Beside them the frozen vectors of MACE-MP-0 small, with the same linear model. Mind what
each has seen: our network no composition of a test crystal; MACE-MP-0 was trained on MPtrj, which holds the
Materials Project's crystals, so these, with their energies: its error is no prediction of new ones.

A fifth of the labels chooses the epoch. Each seed draws other labels, nested (the 100 are all there are, so
the same for each seed), and another start; the test part stays. Writes course/figures/pretraining.json after
each training and draws pretraining.png beside it; what is in it is not measured again.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data, plots
from mg9.a_crystal import crystal_graph
from mg9.a_graph import sum_over_crystals
from mg9.d_cgcnn import CGCNN
from mg9.data.cache import folder
from mg9.descent import batches
from mg9.groups import chemistry_family, elements_of, reduced_formulas
from mg9.splits import Split, random_split
from mg9.train import Trained, fit

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "pretraining.png"
LABELS, TEST, MOST_ATOMS = (10, 30, 100), 150, 20
EPOCHS = {10: 60, 30: 50, 100: 30}
SIZE = {"features": 32, "layers": 2}
PRETRAINING = {"epochs": 12, "learning_rate": 5e-3}
RATES = {"from scratch": 5e-3, "fine-tuned": 1e-3}
CHEMISTRY, TARGET = "another chemistry", "another target"
MEAN, SCRATCH, ZERO_SHOT, FROZEN, TUNED, MACE = (
    "mean of the labels",
    "from scratch",
    "zero-shot",
    "frozen, linear",
    "fine-tuned",
    "MACE-MP-0 frozen, linear",
)
SHOWN = {
    MEAN: ("grey", "-"),
    SCRATCH: (plots.ORANGE, "s--"),
    ZERO_SHOT: (plots.PURPLE, ":"),
    FROZEN: (plots.SKY, "^-"),
    TUNED: (plots.BLUE, "o-"),
    MACE: (plots.VERMILLION, "*:"),
}


@dataclass
class Task:
    """Crystals to transfer to: the first `TEST` are the test part, labels are drawn from the others."""

    name: str
    structures: list[Structure]
    formulas: list[str]
    target: np.ndarray
    unit: str

    def rows(self, n: int, seed: int) -> np.ndarray:
        """Of n labels: the first of the seed's order."""
        return TEST + np.random.default_rng([seed, 1]).permutation(len(self.target) - TEST)[:n]


def corpus() -> tuple[list[Structure], np.ndarray, list[str]]:
    """Crystals without oxygen, formation energies (eV/atom), formulas."""
    ds = data.formation_energy()
    table = ds.table[["O" not in elements_of(formula) for formula in ds.table.formula]]
    return ds.structures(table.index), table.formation_energy_per_atom.to_numpy(), list(table.formula)


def tasks(seen: list[str]) -> list[Task]:
    """seen: formulas of the corpus, whose compositions the second task leaves out."""
    energies, moduli = data.formation_energy(), data.elasticity()
    known = set(reduced_formulas(seen))
    oxide = [chemistry_family(formula) == "oxide" for formula in energies.table.formula]
    new = [formula not in known for formula in reduced_formulas(moduli.table.formula)]
    small = (one.table.nsites <= MOST_ATOMS for one in (energies, moduli))
    found = []
    for name, ds, keep, few in zip((CHEMISTRY, TARGET), (energies, moduli), (oxide, new), small, strict=True):
        table = ds.table[few & np.array(keep)].sample(frac=1, random_state=0)[: TEST + max(LABELS)]
        target, unit = (
            (table.formation_energy_per_atom, "eV/atom")
            if name == CHEMISTRY
            else (np.log10(table.K_VRH), "log10 of GPa")
        )
        found.append(
            Task(name, ds.structures(table.index), list(table.formula), target.to_numpy(float), unit)
        )
    return found


def pretrained(graphs: list[Data], energy: np.ndarray) -> Trained:
    split = random_split(len(graphs), validation=0.1, test=0.01)
    torch.manual_seed(0)
    return fit(CGCNN(**SIZE), graphs, energy, split, batch_size=32, checkpoint=checkpoint(), **PRETRAINING)


def checkpoint() -> Path:
    """Of the pretraining, which goes on from its last epoch after a stop."""
    return folder() / "benchmark-pretraining.pt"


@torch.no_grad()
def vectors(network: CGCNN, graphs: list[Data]) -> np.ndarray:
    """(B, F): what the readout of a CGCNN is given, as the mean over the atoms."""
    seen: list[Tensor] = []
    hook = network.readout.register_forward_pre_hook(lambda _, inputs: seen.append(mean_of(*inputs)))
    try:
        for batch in batches(graphs, np.arange(len(graphs)), 64):
            network(batch)
    finally:
        hook.remove()
    return torch.cat(seen).numpy()


def mean_of(v: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
    return sum_over_crystals(v, batch, n_crystals) / torch.bincount(batch, minlength=n_crystals)[:, None]


def linear(inputs: np.ndarray, target: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The test part by ridge regression on standardised inputs, the penalty chosen inside the labels."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 5, 15)))
    return model.fit(inputs[train], target[train]).predict(inputs[:TEST])


class Continued(nn.Module):
    """A trained network in the standardised unit of new labels, so that training starts at its zero-shot."""

    def __init__(self, trained: Trained, labels: np.ndarray) -> None:
        super().__init__()
        self.model = deepcopy(trained.model)
        self.factor = trained.scale / labels.std()
        self.offset = (trained.mean - labels.mean()) / labels.std()

    def forward(self, graph: Data) -> Tensor:
        return self.factor * self.model(graph) + self.offset


def learned(
    task: Task, graphs: list[Data], train: np.ndarray, seed: int, start: Trained | None
) -> np.ndarray:
    """The test part by a network trained on these labels, from `start` or from scratch."""
    torch.manual_seed(seed)
    held = max(2, len(train) // 5)
    split = Split(train[held:], train[:held], np.arange(TEST), "more crystals of this table")
    network: nn.Module = CGCNN(**SIZE)
    if start is not None and task.name == CHEMISTRY:
        network = Continued(start, task.target[split.train])
    elif start is not None:  # the last readout speaks of energies: a new one
        network.load_state_dict({**start.model.state_dict(), **prefixed(network.readout, "readout.")})
    trained = fit(
        network,
        graphs,
        task.target,
        split,
        epochs=EPOCHS[len(train)],
        batch_size=min(32, max(4, len(train) // 8)),
        learning_rate=RATES["from scratch" if start is None else "fine-tuned"],
        seed=seed,
        progress=False,
    )
    return trained.predict(graphs[:TEST]).numpy()


def prefixed(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in module.state_dict().items()}


def measured(task: Task, method: str, n: int, seed: int, held: dict) -> float:
    """Test MAE. held: graphs, the pretrained network, and vectors by method."""
    train = task.rows(n, seed)
    if method == MEAN:
        found = np.full(TEST, task.target[train].mean())
    elif method in (FROZEN, MACE):
        found = linear(held[method], task.target, train)
    elif method == ZERO_SHOT:
        found = held["start"].predict(held["graphs"][:TEST]).numpy()
    else:
        found = learned(task, held["graphs"], train, seed, held["start"] if method == TUNED else None)
    return float(np.abs(found - task.target[:TEST]).mean())


def main() -> None:
    parser = command_line(__doc__.split("\n\n")[0], "pretraining", "pretraining --seeds 1")
    parser.add_argument("--seeds", type=int, default=3, help="labels and starts (default 3)")
    parser.add_argument("--again", action="store_true", help="forget what is measured already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.again:
        checkpoint().unlink(missing_ok=True)
    structures, energy, formulas = corpus()
    found, file = tasks(formulas), FIGURE.with_suffix(".json")
    about = {
        "command": "python -m benchmarks.pretraining",
        "run with": machine(),
        "pretraining": {"crystals": len(structures), "of": "formation energies without O", **PRETRAINING},
        "network": SIZE,
        "test crystals": TEST,
        "units": {task.name: task.unit for task in found},
        "test compositions in the corpus": {task.name: shared(task, formulas) for task in found},
        "learning rates": RATES,
        "epochs": {str(n): epochs for n, epochs in EPOCHS.items()},
    }
    stored = {} if options.again or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    same = all(stored.get(key) == about[key] for key in about if key != "run with")
    record = about | {"rows": stored["rows"] if same else []}
    done = {(row["task"], row["method"], row["labels"], row["seed"]) for row in record["rows"]}
    points = [
        (task, method, n, seed)
        for task in found
        for seed in range(options.seeds)
        for n in LABELS
        for method in SHOWN
        if (task.name, method, n, seed) not in done and not (method == ZERO_SHOT and task.name == TARGET)
    ]
    start = None
    held: dict[str, dict] = {}
    for task, method, n, seed in tqdm(points, desc="pretraining", unit="training"):
        if start is None:
            start = pretrained([crystal_graph(one) for one in structures], energy)
        if task.name not in held:
            held[task.name] = prepared(task, start)
        error = round(measured(task, method, n, seed, held[task.name]), 4)
        record["rows"].append({"task": task.name, "method": method, "labels": n, "seed": seed, "mae": error})
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(record)


def prepared(task: Task, start: Trained) -> dict:
    from mg9.g_foundation import load

    graphs = [crystal_graph(one) for one in task.structures]
    backbone = load("mace-mp-0-small", dtype=torch.float32)
    vector = {FROZEN: vectors(start.model, graphs), MACE: backbone.embed(task.structures).numpy()}
    return {"graphs": graphs, "start": start, **vector}


def shared(task: Task, formulas: list[str]) -> int:
    """How many test crystals have a composition of the corpus."""
    return int(np.isin(reduced_formulas(task.formulas[:TEST]), reduced_formulas(formulas)).sum())


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2, figsize=(9, 3.7), layout="constrained")
    for ax, task in zip(axes, (CHEMISTRY, TARGET), strict=True):
        for method, (colour, line) in SHOWN.items():
            rows = [row for row in record["rows"] if (row["task"], row["method"]) == (task, method)]
            if rows:
                found = {n: [row["mae"] for row in rows if row["labels"] == n] for n in LABELS}
                ax.plot(LABELS, [np.mean(found[n]) for n in LABELS], line, color=colour, label=method)
                for n in LABELS:
                    ax.plot([n] * len(found[n]), found[n], ".", color=colour, markersize=4)
        unit = record["units"][task]
        ax.set(xscale="log", yscale="log", xlabel="labels", ylabel=f"test MAE ({unit})", title=task)
        ax.minorticks_off()
        ax.set_xticks(LABELS, LABELS)
    ticks = {CHEMISTRY: (0.1, 0.2, 0.5, 1), TARGET: (0.1, 0.2, 0.4)}
    for ax, task in zip(axes, (CHEMISTRY, TARGET), strict=True):
        ax.set_yticks(ticks[task], ticks[task])
    axes[0].legend(fontsize=8)
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
