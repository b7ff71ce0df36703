"""How `tests/megnet_reference.npz` was made: `python tests/make_megnet_reference.py FOLDER`, where FOLDER
holds the folders of matgl's two pretrained MEGNet models.

It needs matgl 4.1.2 (with torch 2.13.0), in an environment of its own. The crystals are those of
`m3gnet_reference.npz`, without those that have an atom alone within 4 Å. The values are matgl's, in double
precision, twice:

NAME_unchanged   what matgl 4.1.2 computes
NAME             the same with one line of it changed: bonds are averaged at the edge's second atom, as they
                 were when the states were trained, not at its first
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from pymatgen.core import Structure

FOLDER = Path(__file__).parent
NAMES = ("MP-2018.6.1-Eform", "MP-2019.4.1-BandGap-mfi")


def crystals() -> tuple[list[int], list[Structure]]:
    with np.load(FOLDER / "m3gnet_reference.npz") as file:
        atoms = zip(
            *(np.split(file[key], np.cumsum(file["atoms"])[:-1]) for key in ("z", "pos")), strict=True
        )
        all_of_them = [
            Structure(cell, z, pos, coords_are_cartesian=True)
            for cell, (z, pos) in zip(file["cell"], atoms, strict=True)
        ]
    chosen = [k for k, one in enumerate(all_of_them) if len(set(one.get_neighbor_list(4.0)[0])) == len(one)]
    return chosen, [all_of_them[k] for k in chosen]


def average_at_second_atom(self, edge_index, edge_feat, node_feat, u_per_node, num_nodes):
    from matgl.utils.maths import scatter_mean

    bonds = scatter_mean(edge_feat, edge_index[1], dim_size=num_nodes, dim=0)
    return self.node_func(torch.hstack([node_feat, bonds, u_per_node]))


def main() -> None:
    import matgl
    from matgl.ext.pymatgen import Structure2Graph
    from matgl.layers._graph_convolution import MEGNetGraphConv
    from matgl.models import MEGNet

    torch.set_default_dtype(torch.float64)
    matgl.float_th, matgl.float_np = torch.float64, np.float64
    places, structures = crystals()
    found = {"crystal": places, "about": "matgl 4.1.2 (BSD-3), MEGNet; eV/atom and eV, before mean and std"}
    changed = MEGNetGraphConv.node_update_, average_at_second_atom
    for name in NAMES:
        folder = Path(sys.argv[1]) / f"MEGNet-{name}"
        form = json.loads((folder / "model.json").read_text())["kwargs"]["model"]["init_args"]
        model = MEGNet(**form).double()
        state = torch.load(folder / "state.pt", weights_only=True)
        model.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
        convert = Structure2Graph(model.element_types, cutoff=form["cutoff"])
        given = torch.tensor([0]) if form["ntypes_state"] else torch.zeros(1, 2)
        for update, key in zip(changed, (f"{name}_unchanged", name), strict=True):
            MEGNetGraphConv.node_update_ = update
            found[key] = []
            for one in structures:
                graph, _, _ = convert.get_graph(one)
                cell = torch.tensor(one.lattice.matrix)
                graph.pbc_offshift = graph.pbc_offset.double() @ cell
                graph.pos = torch.tensor(one.frac_coords) @ cell
                found[key].append(float(model(graph, state_attr=given).detach()))
    np.savez_compressed(FOLDER / "megnet_reference.npz", **found)


if __name__ == "__main__":
    main()
