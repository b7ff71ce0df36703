"""The course's first result: baselines, CGCNN and its released weights, on splits with different claims.

Formation energies of all 3,938 crystals; three seeds, which draw the split, the initial weights and the order
of the batches. The epoch is chosen on the validation part; nothing is chosen on a test part.

    random              80/10/10
    oxide, halide, ...  that family is the test part (slide 50)
    cluster             leave one cluster out, k-means on Magpie: each of five in turn (slide 47)
    fluorides trained   oxides without F are the test part, the 53 crystals with O and F are in training

Measures what `benchmarks/evaluation.csv` does not have yet, a split at a time, so that it can be stopped and
go on; then prints the tables, writes them into the README, and draws course/figures/held_out.png. With the
file as committed it measures nothing. To measure a model again, delete its lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from benchmarks import evaluation_tables
from benchmarks.evaluation_tables import FAMILIES, SEEDS
from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import b_ladder, splits
from mg9.d_cgcnn import CGCNN, ReleasedCGCNN
from mg9.groups import elements_of
from mg9.held_out import cluster_splits
from mg9.report import Reading, network
from mg9.report.models import fitted, predicted

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).with_name("evaluation.csv")
KEY = ["model", "split", "seed"]
COLUMNS = [*KEY, "part", "crystals", "mae", "cpu_seconds", "date", "machine"]
EPOCHS, CLUSTERS = 16, 5


class AlreadyTrained:
    """Weights from elsewhere: what it reads is its prediction."""

    def fit(self, inputs: Sequence, target: np.ndarray) -> AlreadyTrained:
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs


def released_weights(structures: Sequence) -> np.ndarray:
    """The formation energies (n,) in eV/atom of the published model, by its own rule of twelve neighbours."""
    from mg9.pretrained.cgcnn import load

    return load("formation-energy-per-atom").predict(structures)


def start_of_torch() -> CGCNN:
    """The slide's network with torch's initial atom features instead of `_variance_one`'s."""
    model = CGCNN()
    model.atoms[1].reset_parameters()
    return model


def trained(make: Callable) -> Callable[[int], Reading]:
    return lambda seed: network(make, seed=seed, epochs=EPOCHS, progress=False)


MODELS: dict[str, Callable[[int], Reading]] = {
    "training mean": lambda seed: Reading(b_ladder.constant()),
    "ridge": lambda seed: Reading(b_ladder.ridge()),
    "boosted trees": lambda seed: Reading(b_ladder.boosted_trees(seed=seed)),
    "random forest": lambda seed: Reading(b_ladder.random_forest(seed=seed)),
    "MLP": lambda seed: Reading(b_ladder.mlp(seed=seed)),
    "CGCNN, as released": trained(ReleasedCGCNN),
    "CGCNN, slide 21": trained(CGCNN),
    "released weights": lambda seed: Reading(AlreadyTrained(), released_weights),
    "CGCNN, torch's start": trained(start_of_torch),
}
EVERYONE = ("training mean", "ridge", "boosted trees", "random forest", "MLP")
EVERYONE += "CGCNN, slide 21", "CGCNN, as released", "released weights"
EVERYWHERE = ("random", *FAMILIES, "cluster")
SPLITS = (*EVERYWHERE, "fluorides trained")
PLAN = [
    *((model, split) for model in EVERYONE for split in EVERYWHERE),
    ("boosted trees", "fluorides trained"),
    ("CGCNN, as released", "fluorides trained"),
    ("CGCNN, torch's start", "oxide"),
]


class Task:
    """The question that all models answer, and what they read of the crystals (computed once)."""

    def __init__(self) -> None:
        from course import blind

        self.dataset = blind.complete("formation_energy")
        self.formulas = list(self.dataset.table["formula"])
        self.target = self.dataset.table["formation_energy_per_atom"].to_numpy()
        self.family = np.array([splits.chemistry_family(formula) for formula in self.formulas])
        self._inputs: dict[Callable, Sequence] = {}

    @cached_property
    def structures(self) -> list:
        return self.dataset.structures()

    def inputs(self, reading: Reading) -> Sequence:
        if reading.inputs not in self._inputs:
            self._inputs[reading.inputs] = reading.inputs(self.structures)
        return self._inputs[reading.inputs]

    def splits(self, name: str, seed: int) -> list[splits.Split]:
        """The splits of one name; only "cluster" has several."""
        if name == "random":
            return [splits.random_split(len(self.target), seed=seed)]
        if name == "cluster":
            features = np.nan_to_num(self.inputs(Reading(None)))  # unknown values of He and Ne
            return cluster_splits(features, self.formulas, clusters=CLUSTERS, seed=seed)
        if name == "fluorides trained":
            fluoride = np.array([bool({"F"} & elements_of(formula)) for formula in self.formulas])
            held = (self.family == "oxide") & ~fluoride
            groups = np.where(held, "oxide without F", "other")
            return [splits.hold_out_rows(self.formulas, held, groups, "new oxides", 0.1, seed)]
        return [splits.family_split(self.formulas, hold_out=name, seed=seed)]

    def measure(self, model: str, split: str, seed: int) -> Iterator[tuple[str, int, float]]:
        """(part, crystals, MAE in eV/atom): "all" the test part, on a random split each family of it too."""
        reading = MODELS[model](seed)
        inputs = self.inputs(reading)
        for number, parts in enumerate(self.splits(split, seed)):
            fit = fitted(reading.model, inputs, self.target, parts)
            error = np.abs(predicted(fit, inputs, parts.test) - self.target[parts.test])
            yield f"cluster {number}" if split == "cluster" else "all", len(error), error.mean()
            for family in FAMILIES if split == "random" else ():
                own = error[self.family[parts.test] == family]
                yield family, len(own), own.mean()


def read() -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(FILE) if FILE.exists() else pd.DataFrame(columns=COLUMNS)


def complete(models: Sequence[str], split_names: Sequence[str]) -> None:
    """Measure what the file does not have, and append it."""
    import pandas as pd

    def known() -> set[tuple]:
        return set(read()[KEY].itertuples(index=False, name=None))

    wanted = [(m, s, seed) for seed in range(SEEDS) for m, s in PLAN if m in models and s in split_names]
    if not (wanted := [key for key in wanted if key not in known()]):
        return
    task, where = Task(), f"mg9 {version('mg9')}, {machine()}, scikit-learn {version('scikit-learn')}"
    for model, split, seed in (bar := tqdm(wanted, desc="evaluation")):
        bar.set_postfix_str(f"{model}, {split}, seed {seed}")
        if (model, split, seed) in known():  # another process was faster
            continue
        cpu = time.process_time()
        found = list(task.measure(model, split, seed))
        about = (round(time.process_time() - cpu, 1), date.today().isoformat(), where)
        rows = [(model, split, seed, part, n, round(mae, 5), *about) for part, n, mae in found]
        lines = pd.DataFrame(rows, columns=COLUMNS).to_csv(header=not FILE.exists(), index=False)
        with FILE.open("a", encoding="utf-8") as file:
            file.write(lines)


def main() -> None:
    parser = command_line(__doc__.splitlines()[0], "evaluation")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--splits", nargs="*", choices=SPLITS, default=list(SPLITS), metavar="SPLIT")
    chosen = parser.parse_args()
    complete(chosen.models, chosen.splits)
    printed = evaluation_tables.tables(read())
    evaluation_tables.write_readme(printed)
    evaluation_tables.draw(read())
    print(printed)


if __name__ == "__main__":
    main()
