"""MACE-MP-0 frozen and fine-tuned against CGCNN from scratch, on the same rows (slides 43, 47, 50).

The 600 crystals, models and learning rates of exercise 3: the reference notebook's own cells, with another
split each time. A seed draws the split. Errors are those of the test crystals of whose elements each is in
the training part: for all others a model with references has no answer. Leakage: MPtrj, on which MACE-MP-0
was trained, holds crystals of the Materials Project, so its errors here are those of a fit to the test
crystals, on either split; CGCNN has seen the training part and nothing else.

Writes course/figures/fine_tuning.json after each training; what is there already is not measured again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from tqdm import tqdm

from benchmarks.mace_threshold import SPLITS, names_of
from benchmarks.peers import machine
from benchmarks.usage import command_line
from course import blind

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "fine_tuning.json"
EPOCHS = 40, 160  # of CGCNN: those of exercise 3, and four times as many
SEEN = "MPtrj, which holds the test crystals"
CGCNN = {f"CGCNN from scratch, {epochs} epochs": epochs for epochs in EPOCHS}
TUNED = {f"fine-tuned: {stage}": stage for stage in ("readouts", "last round", "everything")}
MODELS = ["mean of the training part", *CGCNN, "frozen vectors and ridge", "zero-shot, references fitted"]
MODELS += TUNED


def models_of(n: dict) -> dict[str, Callable[[], tuple[np.ndarray, np.ndarray | None]]]:
    """Name -> what returns predictions of all crystals and of the blind ones, in eV/atom."""
    split, rows = n["easy"], range(len(n["graphs"]))

    def constant() -> tuple[np.ndarray, np.ndarray]:
        value = n["target"][split.train].mean()
        return np.full(len(rows), value), np.full(len(n["blind_ids"]), value)

    def cgcnn(epochs: int) -> tuple[np.ndarray, None]:
        n["size"]["cgcnn_epochs"] = epochs
        return n["cgcnn"](split), None

    def frozen() -> tuple[np.ndarray, np.ndarray]:
        scalars, _ = n["one_pass"](n["blind_graphs"])
        atoms = [graph.num_nodes for graph in n["blind_graphs"]]
        crystal_of = n["torch"].tensor(np.repeat(np.arange(len(atoms)), atoms))
        of_blind = n["pool"](scalars, crystal_of, len(atoms)).double().numpy()
        n["x"] = np.vstack([n["x"][: len(rows)], of_blind])
        return tuple(np.split(n["ridge"](split.train), [len(rows)]))

    def potential(stage: str | None) -> tuple[np.ndarray, np.ndarray]:
        found = n["start"]
        if stage is not None:
            trained = n["chosen"](n["names"], stage)
            found = n["fine_tune"](found, n["training"], trained, n["size"]["epochs"], n["rates"][stage])
        return n["predicted"](found, split.test), n["per_atom"](found, n["blind_graphs"])

    found = {"mean of the training part": constant, "frozen vectors and ridge": frozen}
    found |= {name: lambda epochs=epochs: cgcnn(epochs) for name, epochs in CGCNN.items()}
    found |= {name: lambda stage=stage: potential(stage) for name, stage in TUNED.items()}
    return found | {"zero-shot, references fitted": lambda: potential(None)}


def measured(n: dict, name: str) -> dict:
    """The errors of one model (eV/atom), on how many crystals, and the processor time of it."""
    start, test, (prediction, of_blind) = time.process_time(), n["easy"].test, models_of(n)[name]()
    seconds = time.process_time() - start
    answered = test[np.isfinite(n["zero_shot"][test])]
    row = {
        "trained on": len(n["easy"].train),
        "tested on": len(answered),
        "no answer": len(test) - len(answered),
        "MAE": round(float(np.abs(prediction - n["target"])[answered].mean()), 4),
        "processor time (s)": round(seconds, 1),
        "saw before": SEEN if name not in ("mean of the training part", *CGCNN) else "nothing",
    }
    if of_blind is not None:
        truth = blind.labels("formation_energy")["formation_energy_per_atom"][n["blind_ids"]].to_numpy()
        row |= {"blind": len(truth), "blind MAE": round(float(np.abs(of_blind - truth).mean()), 4)}
    return row


def table(rows: list[dict]) -> str:
    """Markdown: mean and range over the seeds, with what each model had seen."""
    text = f"| test MAE (eV/atom), {len({row['seed'] for row in rows})} seeds |"
    text += "".join(f" {split} |" for split in SPLITS) + " blind crystals | had seen the test crystals |\n"
    text += "| --- | --- | --- | --- | --- |\n"
    for name in MODELS:
        of = [row for row in rows if row["model"] == name]
        drawn = {split: [row for row in of if row["split"] == split] for split in SPLITS}
        cells = [spread([row["MAE"] for row in some]) for some in drawn.values()]
        cells.append(spread([row["blind MAE"] for row in drawn["random"] if "blind MAE" in row]))
        seen = {"no" if row["saw before"] == "nothing" else "yes, in MPtrj" for row in of}
        text += f"| {name} | {' | '.join(cells)} | {', '.join(seen)} |\n"
    return text


def spread(errors: list[float]) -> str:
    return f"{mean(errors):.3f} ({min(errors):.3f} to {max(errors):.3f})" if errors else ""


def main() -> None:
    parser = command_line(
        __doc__.split("\n\n")[0], "fine_tuning", "fine_tuning --seeds 0 --splits random     # a part"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the splits (0 1 2)")
    parser.add_argument("--splits", choices=SPLITS, nargs="+", default=list(SPLITS), help="default: all")
    options = parser.parse_args()
    os.environ["MG9_BUDGET"] = "full"
    stored = json.loads(FIGURE.read_text("utf-8")) if FIGURE.exists() else {}
    record = {
        "command": "python -m benchmarks.fine_tuning",
        "run with": stored.get("run with") or machine(),
        "data": "formation energies of the first 600 crystals of exercise 1 with at most 8 atoms",
        "rows": stored.get("rows", []),
    }
    for split, seed in product(options.splits, options.seeds):
        done = {row["model"] for row in record["rows"] if (row["split"], row["seed"]) == (split, seed)}
        missing = [name for name in MODELS if name not in done]
        if not missing:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            n = names_of(seed, split)
        for name in tqdm(missing, desc=f"{split}, seed {seed}", unit="model"):
            record["rows"].append({"split": split, "seed": seed, "model": name} | measured(n, name))
            FIGURE.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(record["rows"]))


if __name__ == "__main__":
    main()
