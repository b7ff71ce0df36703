"""One interface for pretrained potentials, with MACE-MP-0 small: predict, embed, freeze, fine-tune."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase.build import bulk
from pinned import pinned
from pymatgen.core import Lattice, Structure

from mg9 import data
from mg9.a_crystal import radius_graph
from mg9.a_errors import EmptyList
from mg9.b_symmetry import permute, random_rotation, rotate, stretch, supercell
from mg9.calculator import PotentialCalculator
from mg9.g_foundation import NotInstalled, load, names
from mg9.groups import elements_of
from mg9.potential import NoReference
from mg9.pretrained import adapters, m3gnet, mace
from mg9.splits import Split

DOUBLE = torch.float64


@pytest.fixture(scope="module", autouse=True)
def archive():
    return pinned(mace.AIIDA)


@pytest.fixture(scope="module")
def backbone():
    return load("mace-mp-0-small", dtype=DOUBLE)


@pytest.fixture(scope="module")
def crystals() -> list[Structure]:
    """20 small crystals of the default set with few elements: rows 0 to 12 have all of them but oxygen, 13 to
    16 have none else, 17 to 19 are oxides."""
    ds = data.formation_energy()
    small = ds.table[ds.table.nsites <= 6]
    few = {"Li", "K", "Mg", "Ca", "Al", "Zn", "F", "Cl", "S", "O"}
    small = small[[elements_of(formula) <= few for formula in small.formula]]
    oxide = np.array(["O" in elements_of(formula) for formula in small.formula])
    found = ds.structures([*small.index[~oxide], *small.index[oxide]])[:20]
    seen = [{element.symbol for element in one.elements} for one in found]
    assert set.union(*seen[13:17]) <= set.union(*seen[:13]) == few - {"O"} and all(
        "O" in one for one in seen[17:]
    )
    return found


TRAIN, VALIDATION = range(13), range(13, 17)


def labels(crystals, backbone) -> np.ndarray:
    """Energies that the pretrained model is wrong about: by element, and by how dense a crystal is."""
    return np.array(
        [
            float(E) + len(c) + 0.3 * len(c) * c.density / 5
            for E, c in zip(backbone.energy(crystals), crystals, strict=True)
        ]
    )


def parts(rows, validation) -> Split:
    return Split(
        np.array(rows), np.array(validation), np.array([99]), claim="none: row 99 is never asked for"
    )


# Predicting


def test_zero_shot_is_the_plain_model(backbone, crystals):
    potential = mace.load(dtype=DOUBLE)
    found = backbone.predict(crystals[:5])
    graphs = [radius_graph(one, cutoff=6.0, dtype=DOUBLE) for one in crystals[:5]]
    plain = [potential(graph) for graph in graphs]
    torch.testing.assert_close(found.energy, torch.cat([one.energy for one in plain]))
    torch.testing.assert_close(found.forces, torch.cat([one.forces for one in plain]), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.stress, torch.cat([one.stress for one in plain]), rtol=0, atol=1e-9)
    torch.testing.assert_close(backbone.energy(crystals[:5]), found.energy)
    assert [len(F) for F in backbone.forces(crystals[:5])] == [len(one) for one in crystals[:5]]
    atoms = bulk("NaCl", "rocksalt", 5.69)
    atoms.calc = PotentialCalculator(potential)
    one = Structure(atoms.cell.array, atoms.numbers, atoms.positions, coords_are_cartesian=True)
    assert float(backbone.energy(one)) == pytest.approx(atoms.get_potential_energy())


def test_units_and_signs(backbone):
    """A stretched crystal pulls (ASE's sign), and stress is the slope of the energy per volume."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    sigma = backbone.stress(salt)[0]
    assert (sigma.diagonal() > 0.01).all()
    up, down = (float(backbone.energy(stretch(salt, 1 + sign * 1e-3))) for sign in (1, -1))
    assert float(sigma.trace()) == pytest.approx((up - down) / 2e-3 / salt.volume, rel=1e-3)


def test_batches_do_not_mix_crystals(backbone, crystals):
    together = backbone.energy([*crystals, crystals[0]])
    alone = torch.cat([backbone.energy(one) for one in [*crystals, crystals[0]]])
    torch.testing.assert_close(together, alone)


def test_no_crystals_are_refused(backbone):
    with pytest.raises(EmptyList, match="no crystals"):
        backbone.energy([])


# Embedding


def test_embedding_keeps_the_symmetries(backbone, crystals):
    rng, one = np.random.default_rng(0), max(crystals, key=len)
    before = backbone.embed(one)
    assert before.shape == (1, 256)
    order = rng.permutation(len(one))
    turned = rotate(one, random_rotation(rng, reflect=True))
    for moved in (turned, permute(one, order), supercell(one, [2, 1, 1])):
        torch.testing.assert_close(backbone.embed(moved), before, rtol=0, atol=1e-8)
    (atoms,), (renumbered,) = backbone.embed_atoms(one), backbone.embed_atoms(permute(one, order))
    assert atoms.shape == (len(one), 256)
    torch.testing.assert_close(renumbered, atoms[order], rtol=0, atol=1e-8)
    torch.testing.assert_close(before[0], atoms.mean(dim=0))
    assert (backbone.embed(stretch(one, 1.02)) - before).abs().max() > 1e-3


def test_energies_are_read_from_the_embedding(backbone, crystals):
    """The published readouts, applied to it, give the energy: nothing else goes in."""
    potential = backbone.potential
    for one in crystals[:3]:
        (atoms,) = backbone.embed_atoms(one)
        E = sum(
            read(v).sum() for read, v in zip(potential.model.readouts, atoms.chunk(2, dim=1), strict=True)
        )
        e = potential.references.e[torch.tensor(one.atomic_numbers)].sum()
        torch.testing.assert_close(potential.scale * E + e, backbone.energy(one)[0])


# Freezing and fine-tuning


def test_parts_are_the_whole_model(backbone):
    inside = [id(p) for modules in backbone.parts.values() for m in modules for p in m.parameters()]
    assert sorted(inside) == sorted(id(p) for p in backbone.potential.parameters())


@pytest.fixture(scope="module")
def strained(crystals) -> list[Structure]:
    """24 times one of four salts, its lattice constant up to 5 % off."""
    salts = [one for one in crystals if one.reduced_formula in ("LiF", "LiCl", "KCl", "KF")]
    assert len(salts) == 4
    factors = np.random.default_rng(0).uniform(0.96, 1.05, size=24)
    return [stretch(salts[k % 4], factor) for k, factor in enumerate(factors)]


DEALT = parts(range(16), range(16, 24))


@pytest.mark.parametrize(
    ("until", "rate", "trained"),
    [
        (None, 1e-4, {"atoms", "round 1", "round 2", "readout"}),
        ("round 1", 3e-4, {"round 2", "readout"}),
        ("round 2", 1e-3, {"readout"}),
    ],
)
def test_freezing_really_freezes(strained, until, rate, trained):
    """After training, every frozen weight is what it was, to the bit; in every other part some have moved."""
    tuned = load("mace-mp-0-small").freeze(until=until)

    def weights() -> dict[str, list[torch.Tensor]]:
        of = {part: [p for m in modules for p in m.parameters()] for part, modules in tuned.parts.items()}
        return {part: [p.detach().clone() for p in parameters] for part, parameters in of.items()}

    before, energy = weights(), 0.7 * tuned.energy(strained).numpy()
    options = {"epochs": 4, "batch_size": 4, "learning_rate": rate, "progress": False}
    assert tuned.fine_tune(strained, energy, DEALT, **options).best_epoch >= 0
    pairs = {part: zip(before[part], now, strict=True) for part, now in weights().items()}
    assert {part for part, both in pairs.items() if not all(torch.equal(*pair) for pair in both)} == trained


def test_fine_tuning_lowers_the_error(strained):
    """Energies that rise by another eV/atom for each doubling of the volume: no reference can say that."""
    tuned, plain = load("mace-mp-0-small"), load("mace-mp-0-small")
    volume = np.array([one.volume / one.composition.num_atoms for one in strained])
    relaxed = {one.reduced_formula: one.volume / len(one) for one in strained[:4]}
    off = np.array([v / relaxed[one.reduced_formula] - 1 for v, one in zip(volume, strained, strict=True)])
    energy = tuned.energy(strained).numpy() + 2 * off
    scale = float(tuned.potential.scale)
    plain.fit_references(plain.graphs(strained[:16]), energy[:16])

    def error(backbone) -> float:
        """In eV/atom, of the eight that are not trained on."""
        return float(np.abs(backbone.energy(strained).numpy() - energy)[16:].mean() / 2)

    run = tuned.fine_tune(strained, energy, DEALT, batch_size=4, progress=False)
    assert 0.02 < error(plain) < 0.2
    assert error(tuned) < 0.6 * error(plain)
    assert error(tuned) == pytest.approx(min(row[2] for row in run.history), rel=1e-3)
    assert float(tuned.potential.scale) == scale


def test_where_no_epoch_is_better_the_refitted_references_are_kept(crystals):
    tuned, plain = load("mace-mp-0-small"), load("mace-mp-0-small")
    energy = plain.energy(crystals).numpy()
    run = tuned.fine_tune(
        crystals, energy, parts(TRAIN, VALIDATION), epochs=1, learning_rate=0.1, progress=False
    )
    assert run.best_epoch == -1
    for now, before in zip(
        tuned.potential.model.parameters(), plain.potential.model.parameters(), strict=True
    ):
        assert torch.equal(now, before)


def test_references_are_what_the_model_leaves_over(backbone, crystals):
    """Of energies that are off by 1 eV for each Na and -2 for each Cl, exactly that."""
    tuned = load("mace-mp-0-small", dtype=DOUBLE)
    salts = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for a in (5.5, 5.9)
    ]
    salts += [Structure(Lattice.cubic(3.5), ["Na"], [[0, 0, 0]])]
    off = np.array([one.composition["Na"] - 2 * one.composition["Cl"] for one in salts])
    before = tuned.potential.references.e.clone()
    tuned.fit_references(tuned.graphs(salts), tuned.energy(salts).numpy() + off)
    change = tuned.potential.references.e - before
    assert float(change[11]) == pytest.approx(1, abs=1e-9) and float(change[17]) == pytest.approx(
        -2, abs=1e-9
    )
    assert torch.isnan(tuned.potential.references.e[8])


def test_held_out_oxygen_explains_itself(crystals):
    tuned = load("mace-mp-0-small").freeze(until="round 2")
    energy = labels(crystals, tuned)
    with pytest.raises(
        NoReference, match=r"no reference energy for .*O \(Z = 8\).*training part has no crystal"
    ):
        tuned.fine_tune(crystals, energy, parts(TRAIN, [13, 17]), epochs=50, progress=False)
    tuned.fine_tune(crystals, energy, parts(TRAIN, VALIDATION), epochs=1, progress=False)
    assert torch.isfinite(tuned.energy(crystals[:17])).all()
    for ask in (tuned.energy, tuned.predict):
        with pytest.raises(NoReference, match=r"O \(Z = 8\)"):
            ask(crystals[17:])
    assert torch.isfinite(tuned.embed(crystals[17:])).all()  # the embedding needs no reference


def test_forces_can_be_fine_tuned(crystals):
    """LiF, its atoms moved, with forces a fifth weaker than the model's."""
    rng, tuned = np.random.default_rng(0), load("mace-mp-0-small")
    salt = next(one for one in crystals if one.reduced_formula == "LiF")
    moved = [salt.cart_coords + rng.normal(scale=0.15, size=(2, 3)) for _ in range(6)]
    rattled = [Structure(salt.lattice, salt.species, pos, coords_are_cartesian=True) for pos in moved]
    energy, stress = tuned.energy(rattled).numpy(), tuned.stress(rattled).numpy()
    softer = [0.8 * F.numpy() for F in tuned.forces(rattled)]

    def error() -> float:
        return float((torch.cat(tuned.forces(rattled)) - torch.tensor(np.concatenate(softer))).abs().mean())

    before, weights = error(), {"energy": 0.0, "stress": 0.0}
    options = {"weights": weights, "epochs": 5, "batch_size": 2, "progress": False}
    run = tuned.fine_tune(rattled, energy, parts(range(4), [4, 5]), forces=softer, stress=stress, **options)
    assert error() < 0.5 * before and run.best_epoch >= 0


def test_nonsense_is_refused_in_one_line(backbone, crystals):
    with pytest.raises(ValueError, match="no part 'head'; it has: atoms, round 1, round 2, readout"):
        backbone.freeze(until="head")
    tuned = load("mace-mp-0-small").freeze(until="readout")
    with pytest.raises(ValueError, match="every part of mace-mp-0-small is frozen"):
        tuned.fine_tune(crystals, np.zeros(16), parts([0], [1]))
    tuned.freeze(until=None)
    with pytest.raises(ValueError, match="3 energies for 20 crystals"):
        tuned.fine_tune(crystals, np.zeros(3), parts([0], [1]))
    with pytest.raises(ValueError, match="the split names row 20, but there are 20 crystals"):
        tuned.fine_tune(crystals, np.zeros(20), parts([0], [20]))
    with pytest.raises(ValueError, match="the energy of crystal 2 is NaN"):
        tuned.fine_tune(crystals[:3], [0.0, 1.0, np.nan], parts([0], [1]))


# Other potentials


def test_m3gnet_has_the_same_interface(crystals):
    pinned(m3gnet.JANUS)
    other, one = load("m3gnet-mp-2021", dtype=DOUBLE), crystals[0]
    plain = m3gnet.load("MP-2021.2.8-DIRECT", dtype=DOUBLE)(radius_graph(one, cutoff=5.0, dtype=DOUBLE))
    torch.testing.assert_close(other.energy(one), plain.energy)
    (atoms,) = other.embed_atoms(one)
    E = other.potential.scale * other.potential.model.atomwise(atoms).sum()
    e = other.potential.references.e[torch.tensor(one.atomic_numbers)].sum()
    torch.testing.assert_close(E + e, plain.energy[0])
    inside = [id(p) for modules in other.parts.values() for m in modules for p in m.parameters()]
    assert sorted(inside) == sorted(id(p) for p in other.potential.parameters())


def test_every_name_is_known_and_another_is_refused():
    assert names()[:2] == ["mace-mp-0-small", "m3gnet-mp-2021"] and set(adapters.FOREIGN) < set(names())
    with pytest.raises(KeyError, match="no pretrained potential 'mace'; there are: mace-mp-0-small"):
        load("mace")


@pytest.mark.parametrize("name", adapters.FOREIGN)
def test_what_is_not_installed_says_what_to_install(name, monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda package: None)
    with pytest.raises(NotInstalled) as error:
        load(name)
    message = str(error.value)
    assert "\n" not in message and "pip install" in message and "icence" in message


def test_without_a_network_the_file_is_named(tmp_path):
    """An empty cache and no index: the file, its sha256, and where to put it."""
    program = "from mg9.g_foundation import load; load('mace-mp-0-small')"
    offline = os.environ | {"PIP_NO_INDEX": "1", "MG9_CACHE": str(tmp_path)}
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=offline)
    message = printed.stderr.strip().splitlines()[-1]
    for part in ("FetchError", mace.AIIDA.file, mace.AIIDA.sha256, str(tmp_path / mace.AIIDA.file)):
        assert part in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name, of in adapters.FOREIGN.items() if of.wrapped])
def test_a_wrapped_potential_predicts(name, crystals):
    if find_spec(adapters.FOREIGN[name].package) is None:
        pytest.skip(f"{name} needs its package: {adapters.FOREIGN[name].install}, or see CONTRIBUTING.md")
    other, one = load(name), stretch(crystals[0], 1.05)
    found = other.predict([one, crystals[1]])
    assert found.energy.shape == (2,) and found.stress.shape == (2, 3, 3)
    assert len(found.forces) == len(one) + len(crystals[1])
    up, down = (float(other.energy(stretch(one, 1 + sign * 5e-3))) for sign in (1, -1))
    assert float(found.stress[0].trace()) == pytest.approx((up - down) / 1e-2 / one.volume, rel=0.05)
    with pytest.raises(NotImplementedError, match="is trained by its own package"):
        other.freeze(until=None)
    if name == "chgnet-0.3.0":
        assert other.embed([one, crystals[1]]).shape == (2, 64)
    else:
        with pytest.raises(NotImplementedError, match="gives no features of atoms"):
            other.embed(one)


def test_sevennet_does_not_keep_reflections():
    """Quartz, its atoms moved, and its mirror image; turned, it has the same energy."""
    if find_spec("sevenn") is None:
        pytest.skip(f"sevennet-0: {adapters.FOREIGN['sevennet-0'].install}, or see CONTRIBUTING.md")
    sites = [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
    quartz = Structure.from_spacegroup("P3_221", Lattice.hexagonal(4.916, 5.405), ["Si", "O"], sites)
    away = np.random.default_rng(0).normal(scale=0.1, size=(len(quartz), 3))
    quartz = Structure(quartz.lattice, quartz.species, quartz.cart_coords + away, coords_are_cartesian=True)
    turned, mirrored = (
        rotate(quartz, random_rotation(np.random.default_rng(0), reflect=k)) for k in (False, True)
    )
    E, E_turned, E_mirrored = load("sevennet-0").energy([quartz, turned, mirrored]).tolist()
    assert abs(E_turned - E) < 1e-4 < abs(E_mirrored - E)
    E, E_mirrored = load("mace-mp-0-small", dtype=DOUBLE).energy([quartz, mirrored]).tolist()
    assert E_mirrored == pytest.approx(E, abs=1e-9)
