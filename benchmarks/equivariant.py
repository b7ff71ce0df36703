"""A training step of NequIP, Allegro and MACE beside their peers: same batch, same irreps, one thread.

    python -m benchmarks.equivariant --mace PYTHON --nequip PYTHON

mace-torch 0.3.16 (with e3nn 0.4.4), nequip 0.19.1 and nequip-allegro 0.8.3 are never installed with this
package: PYTHON is the interpreter of an environment that has them beside this package. Without it, that peer
is left out.

What is not equal: the parameters are counted beside each model. Ours counts products that differ only in the
order of their factors once, sums over neighbours before it couples, and applies an element's own matrix where
mace-torch multiplies by 94 zeros and ones. All run as plain torch, without compilation.
"""

from __future__ import annotations

from benchmarks import steps
from benchmarks.steps import offsets

CASES = [  # name, peer, graph, forces, goal
    ("NequIP", "nequip", "radius", True, 1.2),
    ("Allegro", "nequip", "radius", True, 1.5),
    ("MACE", "mace", "radius", True, 1.3),
]
ELEMENTS = range(1, 95)


def build(name: str, whose: str, batch: dict):
    """(model, function of the positions to the energies)."""
    makers = {"mg9": ours, "mace": mace_torch, "nequip": nequip}
    return makers[whose](name, batch, batch["edge_index"].size(1) / len(batch["z"]))


def ours(name: str, batch: dict, degree: float):
    from mg9.f_allegro import Allegro
    from mg9.f_mace import MACE
    from mg9.f_nequip import NequIP

    options = {"mean_neighbors": degree, "elements": ELEMENTS}
    model = {"NequIP": NequIP, "Allegro": Allegro, "MACE": MACE}[name](**options)
    return model, steps.of_ours(model, batch)


def mace_torch(_: str, batch: dict, degree: float):
    """32x0e + 32x1o, l up to 3, three factors, two rounds, as `MACE` is by default."""
    import numpy as np
    import torch
    from e3nn import o3
    from mace import modules

    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("32x0e + 32x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(ELEMENTS)),
        avg_num_neighbors=degree,
        atomic_numbers=list(ELEMENTS),
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    B = len(batch["cell"])
    inputs = {
        "node_attrs": torch.nn.functional.one_hot(batch["z"] - 1, len(ELEMENTS)).float(),
        "edge_index": batch["edge_index"],
        "shifts": -offsets(batch),
        "unit_shifts": -batch["shift"],
        "cell": batch["cell"].reshape(-1, 3),
        "batch": batch["batch"],
        "ptr": torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(batch["batch"]).cumsum(0)]),
        "head": torch.zeros(B, dtype=torch.long),
    }

    def energy(pos):
        found = model({"positions": pos, **inputs}, training=True, compute_force=False)
        return found["energy"]

    return model, energy


def nequip(name: str, batch: dict, degree: float):
    """Irreps up to l = 1 of both parities, 32 features; no derivatives of its own."""
    import torch
    from nequip.utils.global_state import set_global_state
    from pymatgen.core import Element

    set_global_state()
    common = {
        "seed": 0,
        "model_dtype": "float32",
        "r_max": 5.0,
        "type_names": [Element.from_Z(z).symbol for z in ELEMENTS],
        "avg_num_neighbors": degree,
        "compile_mode": "eager",
        "do_derivatives": False,
        "l_max": 1,
        "parity": True,
    }
    if name == "NequIP":
        from nequip.model import NequIPGNNModel

        sizes = {"num_layers": 3, "num_features": 32, "radial_mlp_depth": 2, "radial_mlp_width": 64}
        model = NequIPGNNModel(**sizes, **common)
    else:
        from allegro.model import AllegroModel

        radial = {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 8}
        sizes = {"num_layers": 2, "num_scalar_features": 64, "num_tensor_features": 32}
        model = AllegroModel(radial_chemical_embed=radial, **sizes, **common)
    inputs = {
        "edge_index": batch["edge_index"].flip(0),
        "edge_cell_shift": batch["shift"],
        "cell": batch["cell"],
        "pbc": torch.ones(len(batch["cell"]), 3, dtype=torch.bool),
        "atom_types": batch["z"] - 1,
        "batch": batch["batch"],
        "num_atoms": torch.bincount(batch["batch"]),
    }
    return model, lambda pos: model({"pos": pos, **inputs})["total_energy"].squeeze(-1)


if __name__ == "__main__":
    peers = {"nequip": "nequip 0.19.1 and nequip-allegro 0.8.3", "mace": "mace-torch 0.3.16"}
    steps.main(__doc__, "benchmarks.equivariant", CASES, peers, build)
