"""How `tests/m3gnet_reference.npz` was made: `python tests/make_m3gnet_reference.py STATE_FOLDER`.

It needs matgl 4.1.2 (with torch 2.13.0), in an environment of its own, beside this package's `data`. The
values are matgl's, in double precision, twice:

energy_unchanged      what matgl 4.1.2 computes
energy, forces, stress   the same with one line of it changed: a message along an edge is summed at the edge's
                      second atom, as it was when the states were trained, not at its first
"""

import sys
from pathlib import Path

import numpy as np
import torch
from pymatgen.core import Structure

from mg9 import data

OUT = Path(__file__).with_name("m3gnet_reference.npz")


def crystals() -> list[tuple[str, Structure]]:
    """102 crystals of the default set, strained by some per cent, each atom moved by some 0.05 Å."""
    rng, found = np.random.default_rng(2021), []
    ds = data.formation_energy()
    for name in ds.table.index[7::35]:
        one = ds.structure(name)
        cell = one.lattice.matrix @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3)))
        moved = Structure(cell, one.species, one.frac_coords)
        pos = moved.cart_coords + rng.normal(scale=0.05, size=(len(one), 3))
        if {84, 85, 86, 87, 88}.isdisjoint(one.atomic_numbers):
            found.append((name, Structure(cell, one.species, pos, coords_are_cartesian=True)))
    return found


def sum_at_second_atom(self, edge_index, edge_feat, node_feat, rbf, u_per_edge, num_nodes):
    from matgl.utils.maths import scatter_add

    first, second = edge_index
    inputs = torch.hstack([node_feat[first], node_feat[second], edge_feat])
    message = self.node_update_func(inputs) * self.node_weight_func(rbf)
    return scatter_add(message, second, dim_size=num_nodes, dim=0)


def main() -> None:
    import matgl
    from matgl.ext.pymatgen import Structure2Graph
    from matgl.layers._graph_convolution import M3GNetGraphConv

    torch.set_default_dtype(torch.float64)
    matgl.float_th, matgl.float_np = torch.float64, np.float64
    potential = matgl.load_model(sys.argv[1]).double()
    convert = Structure2Graph(potential.model.element_types, cutoff=5.0)
    chosen = crystals()

    def run():
        for _, one in chosen:
            graph, cell, _ = convert.get_graph(one)
            graph.frac_coords = torch.tensor(one.frac_coords)
            energy, forces, stress, _ = potential(graph, torch.tensor(one.lattice.matrix).unsqueeze(0))
            yield float(energy.detach()), forces.detach().numpy(), stress.detach().numpy()

    unchanged = [energy for energy, _, _ in run()]
    M3GNetGraphConv.node_update_ = sum_at_second_atom
    energy, forces, stress = zip(*run(), strict=True)
    np.savez_compressed(
        OUT,
        about="matgl 4.1.2 (BSD-3), state M3GNet-MP-2021.2.8-PES; energy eV, forces eV/Å, stress GPa",
        ids=[name for name, _ in chosen],
        atoms=[len(one) for _, one in chosen],
        z=np.concatenate([one.atomic_numbers for _, one in chosen]).astype(np.uint8),
        pos=np.concatenate([one.cart_coords for _, one in chosen]),
        cell=np.stack([one.lattice.matrix for _, one in chosen]),
        energy_unchanged=unchanged,
        energy=energy,
        forces=np.concatenate(forces),
        stress=np.stack(stress),
    )


if __name__ == "__main__":
    main()
