"""The checks of the assignment "symmetry": right tests pass however they are written, wrong ones by no means.

Right code comes from the solution notebook and from rewrites of it; wrong code is below, each piece with the
words that its message must contain.
"""

import re

import numpy as np
import pytest
import torch
from across import Across, Handle
from checking import Cases, code_cells, definitions, graded
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

import course.hidden.symmetry  # noqa: F401  registers the hidden checks
from mg9.checks import REGISTRY, CheckFailed, check, faulty, find
from mg9.checks.descriptions import Crystal, drawn, known
from mg9.checks.suspects import BREAKS, SYMMETRIES

find("symmetry.permute")
GRADED = graded("symmetry")
REFERENCE = definitions("symmetry", "crystals")
CASES = Cases()
right, wrong = CASES.right, CASES.wrong

# The same crystal, whatever is asked


@wrong(*(f"symmetry.{name}" for name in (*SYMMETRIES, "stretch")), says="cannot fail: it left the crystal")
def identity(z, pos, cell, how):
    return z, pos, cell


@wrong("symmetry.permute", "symmetry.stretch", says="three arrays are wanted.*\n.*got tuple of 2")
def without_the_cell(z, pos, cell, how):
    return z, pos


@wrong("symmetry.wrap", "symmetry.supercell", says="is the return statement missing")
def nothing(z, pos, cell, how):
    pass


@wrong("symmetry.translate", says="pos should be a tensor.*\n.*got list")
def positions_in_a_list(z, pos, cell, vector):
    return z, (pos + vector).tolist(), cell


@wrong("symmetry.rotate", says="NaN or infinite numbers in pos")
def not_a_number(z, pos, cell, rotation):
    return z, pos * np.nan, cell


# Permutations


@right("symmetry.permute")
def one_atom_after_another(z, pos, cell, order):
    return np.array([z[k] for k in order]), np.array([pos[k] for k in order]), cell


@right("symmetry.permute")
def in_torch(z, pos, cell, order):
    z, pos, order = (torch.from_numpy(x) for x in (z, pos, order))
    return z[order], pos[order], torch.from_numpy(cell)


@wrong("symmetry.permute", says="pos was reordered, z was not")
def positions_alone(z, pos, cell, order):
    return z, pos[order], cell


@wrong("symmetry.permute", says="z was reordered, pos was not")
def elements_alone(z, pos, cell, order):
    return z[order], pos, cell


@wrong("symmetry.permute", says=r"atom k of the answer is atom order\[k\]")
def the_other_way_round(z, pos, cell, order):
    return z[np.argsort(order)], pos[np.argsort(order)], cell


@wrong("symmetry.permute", says="not a symmetry: the distances between")
def two_different_orders(z, pos, cell, order):
    return z[order], pos[np.argsort(order)], cell


@wrong("symmetry.permute", says=r"lattice vector \w")
def lattice_vectors_reordered(z, pos, cell, order):
    return z[order], pos[order], cell[[1, 2, 0]]


# Rotations

RANDOM = ("symmetry.random_rotation", "hidden.symmetry.random_rotation")


@right(*RANDOM)
def of_scipy(seed):
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


@right(*RANDOM)
def from_a_quaternion(seed):
    a, b, c, d = (q := np.random.default_rng(seed).normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)],
        ]
    )


@right(*RANDOM)
def by_gram_schmidt(seed):
    one, two = np.random.default_rng(seed).normal(size=(2, 3))
    one = one / np.linalg.norm(one)
    two = two - (two @ one) * one
    two = two / np.linalg.norm(two)
    return torch.from_numpy(np.stack([one, two, np.cross(one, two)]))


@wrong(*RANDOM, says=r"every seed gives the same matrix \(the identity\)")
def no_rotation(seed):
    return np.eye(3)


@wrong(*RANDOM, says="every seed gives the same matrix")
def always_the_same(seed):
    return of_scipy(0)


@wrong(*RANDOM, says="the same seed gives another rotation")
def never_the_same(seed):
    return Rotation.random().as_matrix()


@wrong(*RANDOM, says="a reflection is among the rotations")
def now_and_then_a_reflection(seed):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


@wrong(*RANDOM, says="some directions are preferred")
def signs_left_as_they_come(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


@wrong(*RANDOM, says="some directions are preferred")
def about_z(seed):
    return Rotation.from_euler("z", np.random.default_rng(seed).uniform(0, 360), degrees=True).as_matrix()


@wrong(*RANDOM, says="some directions are preferred")
def uniform_euler_angles(seed):
    angles = np.random.default_rng(seed).uniform(0, [360, 180, 360])
    return Rotation.from_euler("zyz", angles, degrees=True).as_matrix()


@wrong(*RANDOM, says="some directions are preferred")
def any_axis_and_any_angle(seed):
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(0, 2 * np.pi)).as_matrix()


@wrong(*RANDOM, says="not a rotation")
def gaussian_numbers(seed):
    return np.random.default_rng(seed).normal(size=(3, 3))


@right("symmetry.rotate")
def with_einsum(z, pos, cell, rotation):
    return z, np.einsum("ab,nb->na", rotation, pos), (rotation @ cell.T).T


@wrong("symmetry.rotate", says="the atoms were turned, the lattice was not")
def atoms_alone(z, pos, cell, rotation):
    return z, pos @ rotation.T, cell


@wrong("symmetry.rotate", says="the lattice was turned, the atoms were not")
def lattice_alone(z, pos, cell, rotation):
    return z, pos, cell @ rotation.T


@wrong("symmetry.rotate", says="turned the other way round")
def turned_back(z, pos, cell, rotation):
    return z, pos @ rotation, cell @ rotation


@wrong("symmetry.rotate", says="another volume|lattice vector")
def columns_for_rows(z, pos, cell, rotation):
    return z, pos @ rotation.T, rotation @ cell


# Reflections


@right("symmetry.reflect")
def as_the_formula_says(z, pos, cell, normal):
    n = normal / np.sqrt((normal**2).sum())
    return z, pos - 2 * (pos @ n)[:, None] * n, np.array([a - 2 * np.dot(n, a) * n for a in cell])


@wrong("symmetry.reflect", says="the normal was not brought to length one")
def normal_of_any_length(z, pos, cell, normal):
    mirror = np.eye(3) - 2 * np.outer(normal, normal)
    return z, pos @ mirror, cell @ mirror


@wrong("symmetry.reflect", says="pressed flat")
def without_the_factor_two(z, pos, cell, normal):
    n = normal / np.linalg.norm(normal)
    return z, pos - (pos @ n)[:, None] * n, cell - (cell @ n)[:, None] * n


@wrong("symmetry.reflect", says="the inversion")
def inverted(z, pos, cell, normal):
    return z, -pos, -cell


@wrong("symmetry.reflect", says="half a turn, a rotation: it cannot tell left from right")
def half_a_turn(z, pos, cell, normal):
    _, p, c = as_the_formula_says(z, pos, cell, normal)
    return z, -p, -c


@wrong("symmetry.reflect", says="the atoms were reflected, the lattice was not")
def atoms_in_the_mirror(z, pos, cell, normal):
    return z, as_the_formula_says(z, pos, cell, normal)[1], cell


@wrong("symmetry.reflect", says="lattice vector")
def always_the_same_mirror(z, pos, cell, normal):
    return as_the_formula_says(z, pos, cell, np.array([1.0, 0.0, 0.0]))


# Translations and images


@right("symmetry.translate")
def atom_by_atom(z, pos, cell, vector):
    return z, np.array([r + vector for r in pos]), cell


@wrong("symmetry.translate", says="the lattice vectors were moved too")
def lattice_moved_too(z, pos, cell, vector):
    return z, pos + vector, cell + vector


@wrong("symmetry.translate", says="folded back into the cell")
def folded_back(z, pos, cell, vector):
    return z, ((pos + vector) @ np.linalg.inv(cell) % 1) @ cell, cell


@wrong("symmetry.translate", says=r"not every atom moved by the vector \(atom [1-9]\d*\)")
def the_first_atom_alone(z, pos, cell, vector):
    pos[0] += vector
    return z, pos, cell


@wrong("symmetry.translate", says="in Å, not in lattice vectors")
def in_lattice_vectors(z, pos, cell, vector):
    return z, pos + vector @ cell, cell


@right("symmetry.wrap")
def three_steps(z, pos, cell, shift):
    for axis in range(3):
        pos = pos + shift[:, axis : axis + 1] * cell[axis]
    return z, pos, cell


@wrong("symmetry.wrap", says="shift was added in Å")
def shift_in_angstrom(z, pos, cell, shift):
    return z, pos + shift, cell


@wrong("symmetry.wrap", says="columns were the lattice vectors")
def cell_transposed(z, pos, cell, shift):
    return z, pos + shift @ cell.T, cell


@wrong("symmetry.wrap", says="all atoms moved together")
def one_row_for_all(z, pos, cell, shift):
    return z, pos + shift[0] @ cell, cell


@wrong("symmetry.wrap", says="moved by other lattice vectors")
def subtracted(z, pos, cell, shift):
    return z, pos - shift @ cell, cell


# Cells


@right("symmetry.other_cell")
def row_by_row(z, pos, cell, matrix):
    return z, pos, np.array([sum(matrix[k, m] * cell[m] for m in range(3)) for k in range(3)])


@wrong("symmetry.other_cell", says="cell @ matrix mixes x, y and z")
def columns_combined(z, pos, cell, matrix):
    return z, pos, cell @ matrix


@wrong("symmetry.other_cell", says="the matrix was transposed")
def matrix_transposed(z, pos, cell, matrix):
    return z, pos, matrix.T @ cell


@wrong("symmetry.other_cell", says="fractional coordinates were kept")
def atoms_sheared(z, pos, cell, matrix):
    return z, pos @ np.linalg.inv(cell) @ matrix @ cell, matrix @ cell


@wrong("symmetry.other_cell", says="folded back")
def folded_into_the_new_cell(z, pos, cell, matrix):
    new = matrix @ cell
    return z, (pos @ np.linalg.inv(new) % 1) @ new, new


@wrong("symmetry.other_cell", says="lattice vector")
def doubled(z, pos, cell, matrix):
    return z, pos, 2 * cell


# Supercells


@right("symmetry.supercell")
def atoms_first(z, pos, cell, repeats):
    moved = [r + np.array(k) @ cell for r in pos for k in np.ndindex(*repeats)]
    return np.repeat(z, np.prod(repeats)), np.array(moved), np.diag(repeats) @ cell


@right("symmetry.supercell")
def by_pymatgen(z, pos, cell, repeats):
    big = Structure(cell, z, pos, coords_are_cartesian=True).make_supercell(repeats, in_place=False)
    return np.array(big.atomic_numbers), big.cart_coords, big.lattice.matrix.copy()


def copies_of(z, pos, cell, repeats):
    return np.concatenate([pos + np.array(k) @ cell for k in np.ndindex(*repeats)])


@wrong("symmetry.supercell", says="not a symmetry: the distances between")
def elements_in_another_order(z, pos, cell, repeats):
    return np.repeat(z, 6), copies_of(z, pos, cell, repeats), np.diag(repeats) @ cell


@wrong("symmetry.supercell", says="the cell is still the small one")
def in_the_small_cell(z, pos, cell, repeats):
    return np.tile(z, 6), copies_of(z, pos, cell, repeats), cell


@wrong("symmetry.supercell", says="what came back is no crystal")
def copies_on_top_of_each_other(z, pos, cell, repeats):
    return np.tile(z, 6), np.tile(pos, (6, 1)), np.diag(repeats) @ cell


@wrong("symmetry.supercell", says="columns of cell were multiplied")
def cell_times_repeats(z, pos, cell, repeats):
    return np.tile(z, 6), copies_of(z, pos, cell, repeats), cell * repeats


@wrong("symmetry.supercell", says=r"z has another shape.*\n.*expected \(24,\), got \(4,\)")
def larger_but_empty(z, pos, cell, repeats):
    return z, pos, np.diag(repeats) @ cell


# Stretching


@right("symmetry.stretch")
def through_fractions(z, pos, cell, factor):
    return z, (pos @ np.linalg.inv(cell)) @ (cell * factor), cell * factor


@wrong("symmetry.stretch", says="the atoms were stretched, the lattice was not")
def atoms_stretched(z, pos, cell, factor):
    return z, pos * factor, cell


@wrong("symmetry.stretch", says="an atom is not where the stretched crystal has it")
def lattice_stretched(z, pos, cell, factor):
    return z, pos, cell * factor


# Comparing and turning


@right("symmetry.differs")
def with_allclose(before, after, copies=1, extensive=False, tolerance=1e-6):
    return not np.allclose(after, before * (copies if extensive else 1), rtol=0, atol=tolerance)


@right("symmetry.differs")
def with_a_maximum(before, after, copies=1, extensive=False, tolerance=1e-6):
    error = np.max(np.abs(np.asarray(after) - np.asarray(before) * (copies if extensive else 1)))
    return np.isnan(error) or error > tolerance


@wrong("symmetry.differs", says="NaN afterwards: a fault is missed")
def fooled_by_nan(before, after, copies=1, extensive=False, tolerance=1e-6):
    return bool(np.any(np.abs(np.asarray(after) - np.asarray(before) * copies**extensive) > tolerance))


@wrong("symmetry.differs", says="fell by 0.01 eV: a fault is missed")
def without_the_modulus(before, after, copies=1, extensive=False, tolerance=1e-6):
    return not bool(np.all(np.asarray(after) - np.asarray(before) * copies**extensive <= tolerance))


@wrong("symmetry.differs", says="rounding: a false alarm")
def exactly(before, after, copies=1, extensive=False, tolerance=1e-6):
    return bool(np.any(np.asarray(after) != np.asarray(before) * copies**extensive))


@wrong("symmetry.differs", says=r"8 times the total \(extensive\): a false alarm")
def never_extensive(before, after, copies=1, extensive=False, tolerance=1e-6):
    return not bool(np.all(np.abs(np.asarray(after) - before) <= tolerance))


@wrong("symmetry.differs", says=r"\(intensive\): a false alarm")
def always_extensive(before, after, copies=1, extensive=False, tolerance=1e-6):
    return not bool(np.all(np.abs(np.asarray(after) - np.asarray(before) * copies) <= tolerance))


@wrong("symmetry.differs", says="one component changed: a fault is missed")
def only_if_all_change(before, after, copies=1, extensive=False, tolerance=1e-6):
    return not bool(np.any(np.abs(np.asarray(after) - np.asarray(before) * copies**extensive) <= tolerance))


@wrong("symmetry.differs", says="a fault is missed")
def never(before, after, copies=1, extensive=False, tolerance=1e-6):
    return False


@wrong("symmetry.differs", says="a false alarm")
def always(before, after, copies=1, extensive=False, tolerance=1e-6):
    return True


@wrong("symmetry.differs", says="True or False is wanted.*\n.*got float")
def the_change_itself(before, after, copies=1, extensive=False, tolerance=1e-6):
    return float(np.max(np.abs(np.asarray(after) - before)))


TURN = ("symmetry.turn", "hidden.symmetry.turn")


@right(*TURN)
def by_einsum(value, rotation, kind):
    if kind == "tensor":
        return np.einsum("ia,jb,ab->ij", rotation, rotation, value)
    return value if kind == "scalar" else np.einsum("ab,nb->na", rotation, value)


@right(*TURN)
def vectors_in_torch(value, rotation, kind):
    return torch.from_numpy(value) @ torch.from_numpy(rotation).T if kind == "vector" else by_einsum(
        value, rotation, kind
    )  # fmt: skip


@wrong(*TURN, says="forces turn with the crystal; here they stay")
def unturned(value, rotation, kind):
    return value


@wrong(*TURN, says="turned the other way round: for rows, R v is")
def vectors_turned_back(value, rotation, kind):
    return value @ rotation if kind == "vector" else by_einsum(value, rotation, kind)


@wrong(*TURN, says="one index of the tensor was turned; it has two")
def one_index(value, rotation, kind):
    return rotation @ value if kind == "tensor" else by_einsum(value, rotation, kind)


@wrong(*TURN, says="turned the other way round: a tensor")
def tensors_turned_back(value, rotation, kind):
    return rotation.T @ value @ rotation if kind == "tensor" else by_einsum(value, rotation, kind)


@wrong(*TURN, says="a tensor turns with the crystal; here it stays")
def tensors_unturned(value, rotation, kind):
    return value if kind == "tensor" else by_einsum(value, rotation, kind)


@wrong(*TURN, says="energies do not turn")
def energies_scaled(value, rotation, kind):
    return value * rotation[0, 0] if kind == "scalar" else by_einsum(value, rotation, kind)


# Harnesses: the reference with one transformation or one habit exchanged

SUSPECTS = ("symmetry.suspects", "hidden.symmetry.suspects")


def verdict_with(**exchanged):
    """The reference's verdict on a suspect with other functions in the place of its own."""
    names = definitions("symmetry", "crystals")
    names.update(exchanged)
    return names["suspect_verdict"]


HARNESSES = {
    "'permute' is missed": {"permute": lambda *crystal_and_how: crystal_and_how[:3]},
    "'other_cell' is missed": {"other_cell": lambda *crystal_and_how: crystal_and_how[:3]},
    "'reflect' is missed": {"reflect": half_a_turn},
    "'rotate' is missed": {"rotate": lambda *crystal_and_how: crystal_and_how[:3]},
    "a false alarm: '.*' does not change": {"differs": lambda *values, **how: True},
    "a list of names of tests is wanted": {"faults": None},
}


@pytest.mark.parametrize("says", HARNESSES)
def test_a_harness_that_misses_or_cries_wolf_is_told_so(says):
    verdict = verdict_with(**HARNESSES[says])
    if "list" in says:
        verdict = lambda said, seed, extensive: ({"rotate": True}, [])  # noqa: E731
    with pytest.raises(CheckFailed, match=says):
        check("symmetry.suspects", verdict)


def test_a_harness_without_the_twin_lets_the_constant_pass():
    names = REFERENCE | {}
    assert names["faults"](faulty.constant, list(names["known"].values()), False, 0) == ["stretch"]
    with pytest.raises(CheckFailed, match="a false alarm: this model does notice a stretched crystal"):
        check("symmetry.suspects", verdict_with(stretch=identity))


@pytest.mark.parametrize("name", SUSPECTS)
def test_another_harness_is_right_too(name):
    check(name, verdict_with(random_rotation=of_scipy, differs=with_allclose, supercell=atoms_first))


# What is typed in is what running gives


def test_the_table_of_the_check_is_what_the_models_do():
    crystals = [REFERENCE["known"][name] for name in ("TeO2", "Cu3Pt")]
    for seed in (0, 1):
        for name, model in faulty.MODELS.items():
            broken = REFERENCE["faults"](model, crystals, name in faulty.TOTAL, seed)
            assert sorted(broken) == sorted(BREAKS[name]), name


def test_the_table_is_graded_model_by_model():
    table = {name: list(tests) for name, tests in BREAKS.items()}
    harness = verdict_with()
    check("symmetry.table", table, harness)
    for change, says in (
        ({"cut_shells": ["rotate"]}, "'reflect' is missed"),
        ({"right": ["wrap"]}, "a false alarm: 'wrap'"),
        ({"constant": []}, "does not notice that the crystal was stretched"),
        ({"total": ["stretch"]}, "does notice a stretched crystal"),
        ({"handedness": ["mirror"]}, "there is no test 'mirror'"),
        ({"handedness": "reflect"}, "a list of names"),
    ):
        with pytest.raises(CheckFailed, match=says):
            check("symmetry.table", table | change, harness)
    with pytest.raises(CheckFailed, match="a dict from model"):
        check("symmetry.table", {"right": []}, harness)


def test_a_table_without_a_harness_earns_nothing():
    """The table stands in the package; the harness has to find the same."""
    table = {name: list(tests) for name, tests in BREAKS.items()}
    for harness in (lambda said, seed, extensive: ([], []), lambda said, seed, extensive: (["wrap"], [])):
        with pytest.raises(CheckFailed, match="your harness on .*, which the table has right"):
            check("symmetry.table", table, harness)


def looked_up(energy, crystals, extensive, seed):
    """The verdict on whatever model can be recognised."""
    inside = [cell.cell_contents for cell in getattr(energy, "__closure__", None) or ()]
    names = [name for thing in inside for name in (thing if isinstance(thing, dict) else ())]
    return {test for name in [*names, getattr(energy, "__name__", "")] for test in BREAKS.get(name, ())}


def test_a_verdict_cannot_be_looked_up():
    assert looked_up(faulty.mixture({"cut_shells": 1.0}), [], False, 0) == {"rotate", "reflect"}
    for name in SUSPECTS:
        with pytest.raises(CheckFailed, match="is missed"):
            check(name, verdict_with(faults=looked_up))


def in_a_hurry(energy, crystals, extensive, seed):
    """Does not repeat a test that has found something: it asks in rounds."""
    names, rng, broken = REFERENCE, np.random.default_rng(seed), set()
    for crystal in crystals:
        before = energy(*crystal)
        for _ in range(5):
            for test, other in names["descriptions"](crystal, rng).items():
                if test not in broken and names["differs"](before, energy(*other)):
                    broken.add(test)
        doubled = energy(*names["supercell"](*crystal, np.array([1, 1, 2])))
        if names["differs"](before, doubled, 2, extensive):
            broken.add("supercell")
        if "stretch" not in broken and not names["differs"](before, energy(*stretch_by(crystal))):
            broken.add("stretch")
    return broken


def stretch_by(crystal):
    return crystal[0], 1.02 * crystal[1], 1.02 * crystal[2]


@pytest.mark.parametrize("name", SUSPECTS)
def test_a_harness_that_stops_at_the_first_fault_is_right_too(name):
    check(name, verdict_with(faults=in_a_hurry))


ASKS = {
    "draw everything from rng": lambda z, pos, cell: (z, pos + np.random.normal(size=3), cell),
    "flat, or of atoms in no space": lambda z, pos, cell: (z, pos, cell * [1, 1, 1e-9]),
    "no crystal: z": lambda z, pos, cell: (z[:-1], pos, cell),
    "is there a loop in it": lambda z, pos, cell: None,
}


@pytest.mark.parametrize("says", ASKS)
def test_a_harness_that_asks_for_what_cannot_be_is_told_so(says):
    def harness(energy, crystals, extensive, seed):
        for number in range(3000 if "loop" in says else 1):
            energy(*(ASKS[says](*crystals[0]) or (crystals[0][0], crystals[0][1] + number, crystals[0][2])))
        return []

    with pytest.raises(CheckFailed, match=says):
        check("symmetry.suspects", verdict_with(faults=harness))


def test_forces_are_the_slope_of_the_energy():
    rng = np.random.default_rng(3)
    c = known(rng)[1]
    step, forces = 1e-4, faulty.forces(c.z, c.pos, c.cell)
    for atom, axis in ((0, 0), (3, 2)):
        there, back = c.pos.copy(), c.pos.copy()
        there[atom, axis] += step
        back[atom, axis] -= step
        slope = (faulty.total(c.z, there, c.cell) - faulty.total(c.z, back, c.cell)) / (2 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)
    assert np.abs(forces.sum(axis=0)).max() < 1e-12
    strain = np.zeros((3, 3))
    strain[0, 1] = strain[1, 0] = step / 2
    turned = [
        Crystal("", c.z, c.pos @ (np.eye(3) + s * strain), c.cell @ (np.eye(3) + s * strain)) for s in (1, -1)
    ]
    slope = np.subtract(*(faulty.total(x.z, x.pos, x.cell) for x in turned)) / (2 * step)
    assert faulty.virial(c.z, c.pos, c.cell)[0, 1] == pytest.approx(slope, abs=1e-5)


# Every check against right and wrong code


@pytest.fixture(scope="module")
def objects():
    names = REFERENCE | {"table": {name: list(tests) for name, tests in BREAKS.items()}}
    return {name: [names[argument] for argument in arguments] for name, arguments in GRADED.items()}


def test_the_notebook_calls_every_check():
    assert set(GRADED) == {name for name in REGISTRY if "symmetry." in name}
    points = sum(c["metadata"].get("nbgrader", {}).get("points", 0) for c in code_cells("symmetry"))
    assert points == 24


@pytest.mark.parametrize("name", sorted(GRADED))
def test_the_reference_passes_with_one_line_through_the_five_verbs(name, objects, capsys):
    check(name, *objects[name])
    assert re.fullmatch(rf"passed  {re.escape(name)}: .+\n", capsys.readouterr().out)
    handed = [Handle(thing) if callable(thing) else thing for thing in objects[name]]
    REGISTRY[name].function(Across(), np.random.default_rng(7), *handed)


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_reference_passes_whatever_is_drawn(seed, objects, monkeypatch):
    monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
    for name in GRADED:
        check(name, *objects[name])


@pytest.mark.parametrize(("name", "thing"), CASES.good, ids=lambda x: getattr(x, "__name__", x))
def test_right_code_passes_however_it_is_written(name, thing):
    check(name, thing)


@pytest.mark.parametrize(("name", "thing", "says"), CASES.bad, ids=lambda x: getattr(x, "__name__", None))
def test_wrong_code_fails_and_its_mistake_is_named(name, thing, says):
    with pytest.raises(CheckFailed) as caught:
        check(name, thing)
    message = str(caught.value)
    assert re.search(says, message), message
    assert f"reread slide {REGISTRY[name].slide:02d}" in message


@pytest.mark.parametrize("seed", (0, 4))
@pytest.mark.parametrize(
    ("name", "broken"),
    [
        *(("hidden.symmetry.motions", f) for f in ("permute", "rotate", "reflect", "translate")),
        *(("hidden.symmetry.periodic", f) for f in ("wrap", "other_cell", "supercell")),
    ],
)
def test_hidden_checks_catch_each_of_their_functions(name, broken, seed, objects, monkeypatch):
    monkeypatch.setenv("MG9_CHECK_SEED", str(seed))
    wrongly = [thing for check_name, thing, _ in CASES.bad if check_name == f"symmetry.{broken}"]
    assert len(wrongly) >= 5
    for thing in wrongly:
        handed = [thing if a == broken else REFERENCE[a] for a in GRADED[name]]
        with pytest.raises(CheckFailed):
            check(name, *handed)


def test_hidden_crystals_are_drawn_from_the_seed():
    one, same, other = (drawn(np.random.default_rng(s)) for s in (1, 1, 2))
    assert [c.name for c in one] == [c.name for c in same] != [c.name for c in other]
    assert np.array_equal(one[0].pos, same[0].pos)


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text"])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))
