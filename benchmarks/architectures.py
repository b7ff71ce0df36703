"""A training step of SchNet, MEGNet, M3GNet, ALIGNN beside their peers: same batch, same graph, one thread.

    python -m benchmarks.architectures
    python -m benchmarks.architectures --matgl PYTHON --alignn PYTHON

SchNet's peer, PyTorch Geometric, is always there. matgl 4.1.2 and alignn 2026.8.11 are never installed with
this package: PYTHON is the interpreter of an environment that has one of them. Without it, that peer is left
out.

alignn's line graph is made before the steps, ours in each. What is not equal: Set2Set (matgl's MEGNet has
another one, with 2 x 32 outputs) and atom features (alignn reads 92-dim rows, our ALIGNN has learned ones).
"""

from __future__ import annotations

import importlib

from benchmarks import steps
from benchmarks.steps import Counted, offsets

CASES = [  # name, peer, graph, forces, goal
    ("SchNet", "torch_geometric", "radius", False, 1.3),
    ("SchNet", "torch_geometric", "radius", True, 1.2),
    ("MEGNet", "matgl", "radius", False, 2.0),
    ("M3GNet", "matgl", "radius", False, 2.0),
    ("M3GNet", "matgl", "radius", True, 1.5),
    ("ALIGNN", "alignn", "shells", False, 2.0),
]


def build(name: str, whose: str, batch: dict):
    """(model, function of the positions to the energies)."""
    if whose == "mg9":
        return ours(name, batch)
    if whose == "matgl":
        return matgl_model(name, batch)
    return {"torch_geometric": pyg_schnet, "alignn": alignn_model}[whose](batch)


def ours(name: str, batch: dict):
    module, attribute = {
        "SchNet": ("c_schnet", "SchNet"),
        "MEGNet": ("e_megnet_paper", "ReleasedMEGNet"),
        "M3GNet": ("e_m3gnet", "ReleasedM3GNet"),
        "ALIGNN": ("e_alignn", "ALIGNN"),
    }[name]
    model = getattr(importlib.import_module(f"mg9.{module}"), attribute)()
    return model, steps.of_ours(model, batch)


def pyg_schnet(batch: dict):
    from torch_geometric.nn.models import SchNet

    offset = offsets(batch)

    def edges(pos, _):
        j, i = batch["edge_index"]
        return batch["edge_index"], (pos[j] + offset - pos[i]).norm(dim=1)

    model = SchNet(64, 64, 3, 51, 5.0, interaction_graph=edges)
    return model, lambda pos: model(batch["z"], pos, batch["batch"]).squeeze(-1)


def matgl_model(name: str, batch: dict):
    import torch
    from matgl.models import M3GNet, MEGNet
    from torch_geometric.data import Data

    known = [z for z in range(1, 95) if not 84 <= z <= 88]
    node_type = torch.tensor([known.index(int(z)) for z in batch["z"]])
    if name == "MEGNet":
        sizes = {"dim_node_embedding": 16, "dim_edge_embedding": 100, "dim_state_embedding": 2, "nblocks": 3}
        model = MEGNet(**sizes, include_state=True, cutoff=4.0, activation_type="softplus2")
        state = torch.zeros(len(batch["cell"]), 2)
    else:
        model, state = M3GNet(is_intensive=False), None

    def energy(pos):
        graph = Data(edge_index=batch["edge_index"].flip(0), pbc_offshift=offsets(batch), pos=pos)
        graph.node_type, graph.batch = node_type, batch["batch"]
        return model(Counted(graph, len(batch["cell"])), state_attr=state)

    return model, energy


def alignn_model(batch: dict):
    import torch
    from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
    from alignn.torch_graph_builder import TorchGraph, _line_graph_edges

    config = ALIGNNAtomWisePureConfig(
        name="alignn_atomwise_pure",
        atom_input_features=92,
        calculate_gradient=False,
        use_penalty=False,
        energy_mult_natoms=False,
    )
    j, i = batch["edge_index"]
    crystal = batch["batch"]
    counts = torch.bincount(crystal), torch.bincount(crystal[i])
    r = batch["pos"][i] - offsets(batch) - batch["pos"][j]
    first, second = _line_graph_edges(j, i, len(batch["z"]))
    features = torch.randn(100, 92)[batch["z"]]
    graph = TorchGraph(len(batch["z"]), j, i, {"atom_features": features}, {"r": r}, *counts)
    line = TorchGraph(len(j), first, second)
    model = ALIGNNAtomWisePure(config)
    return model, lambda pos: model((graph, line, batch["cell"]))["out"]


if __name__ == "__main__":
    peers = {"matgl": "matgl 4.1.2", "alignn": "alignn 2026.8.11"}
    steps.main(__doc__, "benchmarks.architectures", CASES, peers, build)
