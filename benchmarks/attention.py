"""What attention costs and how far it reaches, against the number of atoms in the cell (slide 41).

    python -m benchmarks.attention

Cells of rock salt from 8 to 512 atoms, every atom moved by 0.05 Å at random. Reach: the atoms of the cell
whose features change those of one atom after one layer, by the gradient. Cost: a training step (forward and
backward of the energy, 64 features, 3 layers, one thread), the median of five. The graph is built beforehand;
its time stands apart. Writes course/figures/attention.json.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from pymatgen.core import Lattice, Structure
from torch import nn

from benchmarks.peers import machine, seconds
from benchmarks.usage import command_line
from mg9.a_crystal import cell_graph, crystal_graph
from mg9.d_cgcnn import CGCNN
from mg9.g_graphormer import Graphormer
from mg9.g_matformer import CellTransformer, Matformer

FILE = Path(__file__).parents[1] / "course" / "figures" / "attention.json"
CELLS = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 2, 2), (4, 4, 2), (4, 4, 4)]
MODELS = {  # name: model, its graph, its first layer
    "CGCNN": (CGCNN, crystal_graph, lambda model: model.convolutions[0]),
    "Matformer": (Matformer, crystal_graph, lambda model: model.convolutions[0]),
    "CellTransformer": (CellTransformer, cell_graph, lambda model: model.layers[0]),
    "Graphormer": (Graphormer, crystal_graph, lambda model: model.layers[0]),
}


def rock_salt(repeats: tuple[int, int, int]) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell.make_supercell(repeats)
    away = np.random.default_rng(0).normal(scale=0.05, size=(len(cell), 3))
    return Structure(cell.lattice, cell.species, cell.cart_coords + away, coords_are_cartesian=True)


def reach(model: nn.Module, layer: nn.Module, graph) -> int:
    """Atoms (the token is none) whose input features the output of one atom has a gradient in."""
    kept: dict[str, torch.Tensor] = {}

    def keep(_: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        kept["after"], kept["before"] = output, inputs[0]

    hook = layer.register_forward_hook(keep)
    model.eval()(graph)
    hook.remove()
    of_one = kept["after"].reshape(-1, kept["after"].size(-1))[-1]  # the last atom
    (slope,) = torch.autograd.grad(of_one.sum(), kept["before"])
    rows = slope.reshape(-1, slope.size(-1))[-graph.num_nodes :]
    return int(rows.any(dim=1).sum())


def step(model: nn.Module, graph) -> None:
    model.zero_grad()
    model(graph).sum().backward()


def main() -> None:
    command_line(__doc__, "attention").parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    print(f"{'model':16} {'atoms':>5} {'edges':>7} {'reach':>5} {'step, ms':>9} {'graph, ms':>9}")
    for name, (kind, build, first) in MODELS.items():
        model = kind(features=64, layers=3)
        for repeats in CELLS:
            structure = rock_salt(repeats)
            graph = build(structure)
            row = {
                "model": name,
                "atoms": graph.num_nodes,
                "edges": graph.num_edges,
                "reach": reach(model, first(model), graph),
                "step (ms)": round(1e3 * median(seconds(partial(step, model.train(), graph))), 2),
                "graph (ms)": round(1e3 * median(seconds(partial(build, structure))), 2),
            }
            rows.append(row)
            name_, atoms, edges, reached, ms, built = row.values()
            print(f"{name_:16} {atoms:5} {edges:7} {reached:5} {ms:9.1f} {built:9.1f}", flush=True)
    record = {"command": "python -m benchmarks.attention", "run with": machine(), "rows": rows}
    FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
