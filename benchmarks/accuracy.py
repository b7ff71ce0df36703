"""Test error of CGCNN on formation energies: random 80/10/10 split of all 3,938 crystals, three seeds, the
epoch chosen on the validation part. The seed draws the split, the initial weights and the order of the
batches.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch

from benchmarks.peers import machine
from benchmarks.usage import command_line
from course import blind
from mg9.a_crystal import crystal_graph
from mg9.d_cgcnn import CGCNN, ReleasedCGCNN
from mg9.splits import random_split
from mg9.train import fit

MODELS = {"slide": CGCNN, "released": ReleasedCGCNN}


def main() -> None:
    parser = command_line(__doc__.splitlines()[0], "accuracy", "accuracy --model CGCNN --epochs 43 --seeds 1")
    parser.add_argument("--model", choices=MODELS, nargs="*", default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    dataset = blind.complete("formation_energy")
    target = dataset.table["formation_energy_per_atom"].to_numpy()
    graphs = [crystal_graph(structure) for structure in dataset.structures()]
    print(f"{len(graphs)} crystals, random 80/10/10, {chosen.epochs} epochs, {machine()}")
    for name in chosen.model:
        errors = []
        for seed in range(chosen.seeds):
            split = random_split(len(graphs), seed=seed)
            torch.manual_seed(seed)
            start, cpu = time.perf_counter(), time.process_time()
            trained = fit(MODELS[name](), graphs, target, split, epochs=chosen.epochs, seed=seed)
            took = f"{time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU"
            prediction = trained.predict([graphs[k] for k in split.test]).numpy()
            errors.append(float(np.abs(prediction - target[split.test]).mean()))
            validation = f"validation {trained.history[trained.best_epoch][2]:.4f}, {took}"
            print(f"{name} seed {seed}: test MAE {errors[-1]:.4f} eV/atom, {validation}", flush=True)
        print(f"{name}: median {median(errors):.4f} eV/atom, from {min(errors):.4f} to {max(errors):.4f}")


if __name__ == "__main__":
    main()
