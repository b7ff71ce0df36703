"""A small GNoME loop (slide 42) [merchant2023gnome]: networks choose what is labelled, learn, choose again.

Known at the start: 800 crystals drawn from the table of formation energies, most of which are stable, as
published crystals are. Hidden: all other unstable ones with so many of the other stable ones that 7 % of the
pool are stable, as proposals are. Round by round an ensemble of three small CGCNNs, in its released form,
predicts how far each crystal of the pool lies above the hull; the 50 lowest are "calculated": their labels
are uncovered, the networks are trained on, and the next round begins. "Stable" is on the hull of the table's
own column e_above_hull.

Beside it, on the same pools: random choice, by its exact mean; the first round's ensemble, never trained
again; one of its networks alone; and the lowest formation energies, which need no network. Each seed is
another start, pool and initial weights. Writes course/figures/discovery.json after each seed, and
draws discovery.png beside it; a seed that is there is not run again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data, plots
from mg9.a_crystal import crystal_graph
from mg9.d_cgcnn import ReleasedCGCNN
from mg9.splits import Split
from mg9.train import Trained, fit

if TYPE_CHECKING:
    from torch_geometric.data import Data

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "discovery.png"
KNOWN, SHARE, EACH, ROUNDS = 800, 0.07, 50, 5
NETWORKS, SIZE = 3, {"features": 32, "layers": 2, "hidden": 32}
EPOCHS = {"first round": 15, "later rounds": 5}
LOOP, ONCE, ALONE, LOWEST = (
    "ensemble, trained again each round",
    "ensemble, trained once",
    "one network, trained once",
    "lowest formation energy",
)
SHOWN = {LOOP: (plots.BLUE, "o-"), ONCE: (plots.SKY, "s--"), ALONE: (plots.ORANGE, "^:")}
SHOWN |= {LOWEST: (plots.VERMILLION, "v:")}


@dataclass(frozen=True)
class Pool:
    """Row numbers: what is known at the start, and what is hidden."""

    known: np.ndarray
    hidden: np.ndarray


def drawn(stable: np.ndarray, *, known: int, share: float, seed: int) -> Pool:
    """`known` rows at random; of the others all unstable ones, and stable ones up to this share of the pool.

    stable (n,), of truth values. Errors: ValueError where too few stable rows are left.
    """
    order = np.random.default_rng(seed).permutation(len(stable))
    start, rest = order[:known], order[known:]
    unstable = rest[~stable[rest]]
    count = round(len(unstable) * share / (1 - share))
    if count > stable[rest].sum():
        raise ValueError(
            f"a share of {share:.0%} needs {count} stable rows, there are {stable[rest].sum()} left"
        )
    return Pool(start, np.sort(np.concatenate([unstable, rest[stable[rest]][:count]])))


def by_chance(pool: int, stable: int, labelled: int) -> tuple[float, float]:
    """Mean and standard deviation of the stable ones among `labelled` of a pool, drawn without putting back:
    the hypergeometric distribution."""
    share = stable / pool
    return labelled * share, float(
        np.sqrt(labelled * share * (1 - share) * (pool - labelled) / max(pool - 1, 1))
    )


@dataclass
class Ensemble:
    """Networks that differ in start, order and validation rows. Read in order: `learn`, `predict`."""

    graphs: list[Data]
    target: np.ndarray  # (n,)
    seed: int
    networks: int = NETWORKS
    trained: list[Trained] = field(default_factory=list)

    def learn(self, rows: np.ndarray, epochs: int) -> Ensemble:
        """From these rows and no others; the second time the networks go on from what they are."""
        fitted = []
        for k in range(self.networks):
            seed = 100 * self.seed + k
            if self.trained:
                network = self.trained[k].model
            else:
                torch.manual_seed(seed)
                network = ReleasedCGCNN(**SIZE)
            order = np.random.default_rng([seed, len(rows)]).permutation(rows)
            # A split's test part may not be empty; this one is never read.
            held, rest, unread = len(rows) // 5, len(rows), np.array([len(self.graphs)])
            split = Split(order[held:rest], order[:held], unread, "none: the pool judges")
            rate = 5e-3 if not self.trained else 2e-3
            fitted.append(
                fit(
                    network,
                    self.graphs,
                    self.target,
                    split,
                    epochs=epochs,
                    batch_size=32,
                    learning_rate=rate,
                    seed=seed,
                    progress=False,
                )
            )
        self.trained = fitted
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """(networks, len(rows))"""
        return np.stack([one.predict([self.graphs[k] for k in rows]).numpy() for one in self.trained])


def lowest(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The rows of the `count` lowest values (len(rows),)."""
    return rows[np.argsort(values, kind="stable")[:count]]


def height(above_hull: np.ndarray) -> np.ndarray:
    """What the networks learn: the logarithm of the energy above the hull (eV/atom), nothing below 1 meV, so
    that a crystal of 1 eV/atom does not outweigh all that matter."""
    return np.log10(np.maximum(above_hull, 1e-3))


def run(ensemble: Ensemble, stable: np.ndarray, pool: Pool, *, each: int, rounds: int) -> dict:
    """The loop, and on the same pool the choices that are made once: stable ones found after each round."""
    labelled, hidden, found, auc = pool.known, pool.hidden, [], []
    for turn in range(rounds):
        ensemble.learn(labelled, EPOCHS["later rounds" if turn else "first round"])
        predicted = ensemble.predict(hidden)
        auc.append(round(ranking(predicted.mean(axis=0), stable[hidden]), 3))
        if turn == 0:
            once = {ONCE: predicted.mean(axis=0), ALONE: predicted[0]}
            chosen = {name: lowest(value, hidden, each * rounds) for name, value in once.items()}
        taken = lowest(predicted.mean(axis=0), hidden, each)
        found.append(int(stable[taken].sum()))
        labelled, hidden = np.concatenate([labelled, taken]), np.setdiff1d(hidden, taken)
    counted = {name: after(stable[rows], each) for name, rows in chosen.items()}
    return {"found": {LOOP: np.cumsum(found).tolist(), **counted}, "ranking": auc}


def after(stable: np.ndarray, each: int) -> list[int]:
    """How many are stable among the first `each`, 2 `each`, ... of a list."""
    return np.cumsum(stable)[each - 1 :: each].tolist()


def ranking(values: np.ndarray, stable: np.ndarray) -> float:
    """The share of pairs of a stable and an unstable crystal whose stable one has the lower value: 0.5 for a
    guess (the area under the ROC curve)."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(stable, -values))


def main() -> None:
    parser = command_line(__doc__.split("\n\n")[0], "discovery", "discovery --seeds 1")
    parser.add_argument("--seeds", type=int, default=5, help="starts, pools and networks (default 5)")
    parser.add_argument("--again", action="store_true", help="forget what is measured already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ds = data.formation_energy()
    above, energy = ds.table.e_above_hull.to_numpy(), ds.table.formation_energy_per_atom.to_numpy()
    stable, file = above <= 1e-6, FIGURE.with_suffix(".json")
    record = {
        "command": "python -m benchmarks.discovery",
        "run with": machine(),
        "data": f"{len(ds):,} crystals of {ds.provenance.package}, {stable.mean():.0%} on the hull",
        "network": {"CGCNN, as released": SIZE, "in an ensemble": NETWORKS, "epochs": EPOCHS},
        "loop": {"known": KNOWN, "share": SHARE, "each round": EACH, "rounds": ROUNDS},
    }
    stored = {} if options.again or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    same = all(stored.get(key) == record[key] for key in ("data", "network", "loop"))
    record["run with"], record["seeds"] = (
        (stored["run with"], stored["seeds"]) if same else (record["run with"], {})
    )
    graphs: list[Data] = []
    for seed in tqdm(range(options.seeds), desc="discovery", unit="seed"):
        if str(seed) in record["seeds"]:
            continue
        graphs = graphs or [crystal_graph(one) for one in ds.structures()]
        start, pool = time.process_time(), drawn(stable, known=KNOWN, share=SHARE, seed=seed)
        row = {"pool": len(pool.hidden), "stable": int(stable[pool.hidden].sum())}
        row |= run(Ensemble(graphs, height(above), seed), stable, pool, each=EACH, rounds=ROUNDS)
        by_energy = lowest(energy[pool.hidden], pool.hidden, EACH * ROUNDS)
        row["found"][LOWEST] = after(stable[by_energy], EACH)
        row["seconds"] = round(time.process_time() - start)
        record["seeds"][str(seed)] = row
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(told(record))
    draw(record)


def factors(record: dict, name: str) -> np.ndarray:
    """(seeds, rounds): how many times as many stable crystals as by chance."""
    each, rounds = record["loop"]["each round"], record["loop"]["rounds"]
    return np.array(
        [
            [
                found / by_chance(row["pool"], row["stable"], each * (turn + 1))[0]
                for turn, found in enumerate(row["found"][name][:rounds])
            ]
            for row in record["seeds"].values()
        ]
    )


def told(record: dict) -> str:
    """The factor over random choice after the last round: the mean of the seeds, the least, the greatest."""
    lines = []
    for name in SHOWN:
        last = factors(record, name)[:, -1]
        lines.append(f"{name:36s}{last.mean():.2f} ({last.min():.2f} to {last.max():.2f})")
    return "\n".join(lines)


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.7), layout="constrained")
    labelled = record["loop"]["each round"] * np.arange(1, record["loop"]["rounds"] + 1)
    rows = list(record["seeds"].values())
    for name, (colour, line) in SHOWN.items():
        found = np.array([row["found"][name] for row in rows])
        left.plot(labelled, found.mean(axis=0), line, color=colour, label=name)
        right.plot(labelled, factors(record, name).mean(axis=0), line, color=colour)
        if name == LOOP:
            left.plot(labelled, found.T, "-", color=colour, linewidth=0.6, alpha=0.6)
            right.plot(labelled, factors(record, name).T, "-", color=colour, linewidth=0.6, alpha=0.6)
    chance = np.array([by_chance(rows[0]["pool"], rows[0]["stable"], n) for n in labelled])
    left.plot(labelled, chance[:, 0], color="grey", label="random choice, mean ± one deviation")
    band = chance[:, 0] - chance[:, 1], chance[:, 0] + chance[:, 1]
    left.fill_between(labelled, *band, color="grey", alpha=0.25, linewidth=0)
    right.axhline(1, color="grey")
    left.set(xlabel="crystals labelled", ylabel="stable ones found", ylim=(0, 48))
    right.set(xlabel="crystals labelled", ylabel="times as many as by chance", ylim=(0, None))
    left.legend(fontsize=8)
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
