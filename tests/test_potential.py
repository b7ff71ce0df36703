"""Energy, forces and stress against finite differences and ASE's Lennard-Jones; references, loss, ASE."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from torch import nn

from mg9 import data
from mg9.a_crystal import batch_graphs, molecule_graph, radius_graph
from mg9.a_errors import CrystalError
from mg9.a_graph import crystals_of, sum_over_crystals
from mg9.c_schnet import SchNet
from mg9.calculator import PotentialCalculator, graph_of
from mg9.potential import (
    ElementReferences,
    NoCell,
    NoReference,
    Potential,
    Prediction,
    differentiate,
    labelled,
    three_term_loss,
)
from mg9.splits import Split
from mg9.train import fit_potential

CUTOFF = 4.0
EPSILON, SIGMA = 0.1, 2.2  # eV, Å: roughly aluminium


class Pairs(nn.Module):
    """The Lennard-Jones potential of ASE's calculator: zero at the cutoff, half of it for each edge."""

    def forward(self, graph):
        batch, B = crystals_of(graph)
        x6, cut6 = (SIGMA / graph.distance) ** 6, (SIGMA / CUTOFF) ** 6
        E_ij = 2 * EPSILON * (x6**2 - x6 - cut6**2 + cut6)
        E_i = torch.zeros_like(graph.pos[:, 0]).index_add(0, graph.edge_index[1], E_ij)
        return sum_over_crystals(E_i, batch, B)


def lennard_jones() -> Potential:
    return Potential(Pairs(), cutoff=CUTOFF).double().eval()


def theirs() -> LennardJones:
    return LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, smooth=False)


def schnet(seed: int = 0) -> Potential:
    torch.manual_seed(seed)
    return Potential(SchNet(features=16, layers=2, cutoff=CUTOFF), cutoff=CUTOFF).double().eval()


def rattled(atoms: Atoms) -> Atoms:
    """Moved off its symmetric place and sheared, so that no force and no stress is zero."""
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=3)
    if atoms.pbc.all():
        shear = np.eye(3) + np.array([[0.03, 0.02, 0.0], [0.0, -0.01, 0.04], [0.01, 0.0, 0.02]])
        atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


SOLIDS = {
    "aluminium": bulk("Al", cubic=True),
    "rock salt": bulk("NaCl", "rocksalt", a=5.0),
    "silicon": bulk("Si", cubic=False),
}


def graph(atoms: Atoms):
    return graph_of(atoms, CUTOFF, torch.float64)


# The derivatives


@pytest.mark.parametrize("name", SOLIDS)
def test_energy_forces_and_stress_are_those_of_ases_lennard_jones(name):
    atoms = rattled(SOLIDS[name])
    atoms.calc = theirs()
    found = lennard_jones()(graph(atoms))
    assert float(found.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found.stress[0], atoms.get_stress(voigt=False), atol=1e-10)
    assert np.abs(found.forces).max() > 0.01 and np.abs(found.stress).max() > 1e-3


def test_a_stretched_crystal_pulls():
    """ASE's sign: positive stress in tension; slide 31 prints a minus."""
    for factor, sign in ((1.05, 1), (0.95, -1)):
        atoms = bulk("Al", a=3.35 * factor)
        stress = lennard_jones()(graph(atoms)).stress[0]
        assert torch.equal(torch.sign(torch.diagonal(stress)), torch.full((3,), float(sign)).double())


@pytest.mark.parametrize("make", [schnet, lennard_jones])
def test_forces_are_finite_differences_of_the_energy(make):
    potential, atoms, h = make(), rattled(SOLIDS["rock salt"]), 1e-4
    forces = potential(graph(atoms)).forces
    for atom, axis in ((0, 0), (1, 1), (1, 2)):
        energy = []
        for step in (h, -h):
            moved = atoms.copy()
            moved.positions[atom, axis] += step
            energy.append(float(potential(graph(moved)).energy))
        assert float(forces[atom, axis]) == pytest.approx(-(energy[0] - energy[1]) / (2 * h), abs=1e-6)


@pytest.mark.parametrize("make", [schnet, lennard_jones])
def test_stress_is_finite_differences_of_the_energy(make):
    potential, atoms, h = make(), rattled(SOLIDS["silicon"]), 1e-5
    stress = potential(graph(atoms)).stress[0]
    for a, b in ((0, 0), (2, 2), (0, 1), (1, 2)):
        energy = []
        for step in (h, -h):
            strain = np.zeros((3, 3))
            strain[a, b] += step / 2
            strain[b, a] += step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energy.append(float(potential(graph(strained)).energy))
        slope = (energy[0] - energy[1]) / (2 * h) / atoms.get_volume()
        assert float(stress[a, b]) == pytest.approx(slope, abs=1e-7), (a, b)
    torch.testing.assert_close(stress, stress.T)


def test_a_batch_gives_what_single_graphs_give():
    potential, graphs = schnet(), [graph(rattled(atoms)) for atoms in SOLIDS.values()]
    together, alone = potential(batch_graphs(graphs)), [potential(g) for g in graphs]
    torch.testing.assert_close(together.energy, torch.cat([one.energy for one in alone]))
    torch.testing.assert_close(together.forces, torch.cat([one.forces for one in alone]))
    torch.testing.assert_close(together.stress, torch.cat([one.stress for one in alone]))


def test_the_graph_is_left_as_it_was_and_nothing_is_tracked_outside_training():
    potential, one = schnet(), graph(rattled(SOLIDS["silicon"]))
    before = one.clone()
    found = potential(one)
    assert all(torch.equal(one[key], before[key]) for key in before.keys()) and not one.pos.requires_grad
    assert not any(value.requires_grad for value in (found.energy, found.forces, found.stress))
    with torch.no_grad():
        torch.testing.assert_close(potential(one).forces, found.forces)


def test_a_molecule_has_forces_and_no_stress():
    water = molecule("H2O")
    one = graph(water)
    found = schnet()(one)
    assert found.stress is None and found.forces.shape == (3, 3)
    torch.testing.assert_close(found.forces.sum(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    with pytest.raises(NoCell, match="graph 1 of the batch has no cell"):
        schnet()(batch_graphs([graph(SOLIDS["silicon"]), one]), stress=True)
    assert schnet()(batch_graphs([graph(SOLIDS["silicon"]), one])).stress is None


def test_a_model_without_edges_has_zero_forces():
    atom = molecule_graph([2], [[0.0, 0.0, 0.0]], cutoff=5.0, dtype=torch.float64)
    assert torch.equal(schnet()(atom).forces, torch.zeros(1, 3).double())


def test_a_loss_on_forces_reaches_the_parameters():
    potential = schnet().train()
    found = potential(graph(rattled(SOLIDS["rock salt"])))
    found.forces.square().sum().backward()
    slopes = [p.grad for name, p in potential.named_parameters() if "filter" in name]
    assert slopes and all(slope is not None and slope.abs().max() > 0 for slope in slopes)


def test_any_function_of_the_graph_will_do():
    found = differentiate(lambda g: g.pos.square().sum()[None], graph(SOLIDS["silicon"]), stress=False)
    torch.testing.assert_close(found.forces, -2 * graph(SOLIDS["silicon"]).pos)


# References


def compounds():
    salt, al = bulk("NaCl", "rocksalt", a=5.0), bulk("Al", cubic=True)
    mixed = al.copy()
    mixed.numbers[0] = 11
    return [graph(atoms) for atoms in (salt, al, mixed)]


def test_references_are_the_energies_of_the_elements():
    e = {11: -1.3, 17: -2.5, 13: -3.7}
    graphs = compounds()
    energy = [sum(e[int(z)] for z in one.z) for one in graphs]
    references = ElementReferences().double().fit(graphs, energy)
    for z, value in e.items():
        assert float(references.e[z]) == pytest.approx(value)
    batch = batch_graphs(graphs)
    torch.testing.assert_close(
        references(batch.z, batch.batch, 3), torch.tensor(energy, dtype=torch.float64), rtol=0, atol=1e-10
    )


def test_an_element_that_training_lacks_is_named():
    references = ElementReferences().fit(compounds()[1:], [-1.0, -2.0])
    one = compounds()[0]
    with pytest.raises(NoReference, match=r"Cl \(Z = 17\).*no crystal with it"):
        references(one.z, torch.zeros_like(one.z), 1)
    with pytest.raises(ValueError, match="2 energies for 1 graphs"):
        ElementReferences().fit(compounds()[:1], [1.0, 2.0])


# Loss and training


def frames(count: int, element: str = "Si"):
    ds = data.mlearn()
    ids = ds.table.index[ds.table.element == element][:count]
    rows = zip(ids, ds.tensors("forces", ids), ds.tensors("stress", ids), strict=True)
    return [
        labelled(radius_graph(ds.structure(k), cutoff=CUTOFF), energy=ds.table.energy[k], forces=f, stress=s)
        for k, f, s in rows
    ]


def small_frames():
    """Labels of Lennard-Jones for four small solids; two of them have no stress."""
    made, potential = [], lennard_jones()
    for n, atoms in enumerate([*SOLIDS.values(), bulk("Al", cubic=True)]):
        found = potential(graph(rattled(atoms)))
        made.append(
            labelled(
                graph_of(rattled(atoms), CUTOFF, torch.float32),
                energy=float(found.energy),
                forces=found.forces.numpy(),
                stress=None if n > 1 else found.stress[0].numpy(),
            )
        )
    return made


def test_the_three_terms_are_means_with_their_weights():
    batch = batch_graphs(small_frames())
    N, B = batch.num_nodes, batch.num_graphs
    atoms = torch.bincount(batch.batch)
    off = Prediction(batch.energy + 0.5 * atoms, batch.forces + 2.0, batch.stress.nan_to_num() + 3.0)
    only = {"energy": 0.0, "forces": 0.0, "stress": 0.0}
    for name, expected in (("energy", 0.25), ("forces", 4.0), ("stress", 9.0)):
        loss = three_term_loss(off, batch, **(only | {name: 1.5}))
        assert float(loss) == pytest.approx(1.5 * expected, rel=1e-5), name
    assert N > B > 1
    assert float(three_term_loss(off, batch)) == pytest.approx(13.25, rel=1e-5)


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"forces of shape \(3, 3\).*for 2 atoms"):
        labelled(graph(SOLIDS["silicon"]), energy=0.0, forces=np.zeros((3, 3)))


def test_training_learns_energies_and_forces_of_silicon(tmp_path):
    graphs = frames(11)
    split = Split(np.arange(8), np.arange(8, 10), np.arange(10, 11), claim="one element")

    def fitted(epochs: int, **more):
        torch.manual_seed(0)
        potential = Potential(SchNet(features=16, layers=2, cutoff=CUTOFF), cutoff=CUTOFF)
        kept = {"epochs": epochs, "batch_size": 2, "weights": {"forces": 10.0}, "progress": False}
        return fit_potential(potential, graphs, split, **(kept | more))

    run = fitted(12)
    assert run.history[-1][1] < 0.3 * run.history[0][1]
    assert run.best_epoch == int(np.argmin([row[2] for row in run.history]))
    again = fitted(12, checkpoint=tmp_path / "run.pt")
    assert again.history == run.history
    resumed = fitted(12, checkpoint=tmp_path / "run.pt")
    assert resumed.history == run.history
    torch.testing.assert_close(resumed.model(graphs[0]).forces, run.model(graphs[0]).forces)
    with pytest.raises(ValueError, match="another run"):
        fitted(12, checkpoint=tmp_path / "run.pt", weights={"forces": 1.0})


def test_references_come_from_the_training_part_only():
    graphs = frames(3) + frames(2, "Ni")
    potential = Potential(SchNet(features=8, layers=1, cutoff=CUTOFF), cutoff=CUTOFF)
    split = Split(np.arange(3), np.arange(3, 4), np.arange(4, 5), claim="another element")
    with pytest.raises(NoReference, match=r"Ni \(Z = 28\)"):
        fit_potential(potential, graphs, split, epochs=1, progress=False)


# ASE


def test_the_calculator_gives_what_ases_own_gives():
    one, other = rattled(SOLIDS["aluminium"]), rattled(SOLIDS["aluminium"])
    one.calc, other.calc = PotentialCalculator(lennard_jones()), theirs()
    assert one.get_potential_energy() == pytest.approx(other.get_potential_energy())
    np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-9)
    np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-10)


def test_ase_relaxes_atoms_and_cell_and_fits_an_equation_of_state():
    atoms = rattled(SOLIDS["aluminium"])
    atoms.calc = PotentialCalculator(lennard_jones())
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.01, steps=200)
    assert np.abs(atoms.get_forces()).max() < 0.01 and np.abs(atoms.get_stress()).max() < 1e-3
    volumes, energies = [], []
    for factor in np.linspace(0.97, 1.03, 7):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * factor, scale_atoms=True)
        scaled.calc = atoms.calc
        volumes.append(scaled.get_volume())
        energies.append(scaled.get_potential_energy())
    minimum, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert minimum == pytest.approx(atoms.get_volume(), rel=0.01) and modulus > 0


def test_the_energy_of_a_molecular_dynamics_run_is_conserved():
    atoms = rattled(SOLIDS["silicon"] * (2, 1, 1))
    atoms.calc = PotentialCalculator(schnet())
    total = [atoms.get_total_energy()]
    run = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    run.attach(lambda: total.append(atoms.get_total_energy()))
    run.run(20)
    assert np.ptp(total) < 0.02 * atoms.get_kinetic_energy() and atoms.get_kinetic_energy() > 0


def test_what_has_no_stress_says_so():
    water = molecule("H2O")
    water.calc = PotentialCalculator(schnet())
    assert water.get_forces().shape == (3, 3)
    with pytest.raises(PropertyNotImplementedError, match="no cell"):
        water.get_stress()
    with pytest.raises(CrystalError, match="some directions only"):
        graph_of(Atoms("He", cell=[4, 4, 20], pbc=[True, True, False]), CUTOFF)
