"""What becomes of a notebook's questions when its cells raise, die or take too long; in real kernels."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nbformat.v4 import new_notebook
from sandboxes import needs_sandbox
from waves import cell

from course.grader import pool
from course.grader.cached import paths_of
from course.grader.execution import NoKernel, grade
from course.grader.ingest import Submission
from course.grader.kernel import Dead, counted
from course.grader.terms import Run, Terms
from mg9.data.cache import FetchError
from mg9.data.sources import MATTERSIM
from mg9.pretrained.mace import AIIDA

pytestmark = [needs_sandbox, pytest.mark.usefixtures("plugin")]
TERMS = Terms(cell_seconds=20, total_seconds=60, call_seconds=10)
ENERGY = 'check("waves.energy", {})'  # holds if energy(np.zeros(3)) is 3


def run(*cells: tuple[str, str], terms: Terms = TERMS, **marks: list) -> Run:
    """(name, source) of each cell; those whose name ends in "?" are questions, in "!" the course's own."""
    made = [cell("import numpy as np\nfrom mg9.checks import check", "imports")]
    for name, source in cells:
        made.append(
            cell(
                source,
                name.replace("?", "-check").rstrip("!"),
                1.0 * name.endswith("?"),
                solution=name[-1] not in "?!",
            )
        )
    notebook = new_notebook(cells=made, metadata={"mg9": marks})
    return grade(Submission("amira", "waves", "ok", notebook=notebook), terms)


def says(result: Run) -> dict[str, tuple[str, str]]:
    """Question -> (state, what is said)."""
    found = result.results.items()
    return {name.removesuffix("-check"): (one.state, one.says) for name, one in found}


def test_after_a_death_what_does_not_depend_on_it_is_graded():
    """A new process gets definitions, constants and the course's own cells, and nothing that computes."""
    result = run(
        ("given!", "BASE = np.array(3.0)"),
        ("constants", "N = {'atoms': 3}\ncomputed = np.ones(3)"),
        ("deadly", "def gone(r):\n    return 3.0\nimport os\nos._exit(3)"),
        ("gone?", ENERGY.format("gone")),
        ("energy", "def energy(r):\n    return N['atoms'] + float(BASE) - 3.0"),
        ("energy?", ENERGY.format("energy")),
        ("later", "late = computed.sum()\ndef unmade(r): return 3.0"),
        ("late?", ENERGY.format("late")),
        ("again", "def gone(r):\n    return 3.0"),
        ("again?", ENERGY.format("gone")),
    )
    found = says(result)
    assert (
        found["gone"][0] == "not run" and "cell deadly ended the process: it ended itself" in found["gone"][1]
    )
    assert found["energy"][0] == "passed" and found["again"][0] == "passed"
    assert found["late"][0] == "error" and "late does not exist: in cell later, NameError" in found["late"][1]
    assert result.stopped.startswith("cell deadly ended the process") and result.sandboxed


def test_cells_that_are_nested_deeply_cost_nothing_also_after_a_death():
    result = run(
        ("sum", "total = " + " + ".join(["0.1"] * 600) + "\nassert abs(total - 60.0) < 1e-9"),
        ("sign", "signed = " + "-" * 900 + "1\ndef helper():\n    return 2.0 + signed"),
        ("deadly", "import os\nos._exit(3)"),
        ("energy", "def energy(r):\n    return helper()"),
        ("energy?", ENERGY.format("energy")),
        ("wrong", "deep = " + "-" * 900 + "1\nraise ValueError(deep)"),
        ("other", "def other(r):\n    return 3.0 if signed else deep"),
        ("other?", ENERGY.format("other")),
    )
    assert [state for state, _ in says(result).values()] == ["passed", "passed"], says(result)
    assert result.stopped.startswith("cell deadly ended the process")


def test_an_error_costs_what_hangs_on_it_and_names_the_cell():
    result = run(
        ("table", "rows = [1, 2]\nrows[7]\nmore = rows"),
        ("user", "def energy(r):\n    return len(more) + 1.0"),
        ("energy?", ENERGY.format("energy")),
        ("typo", "def half(r:\n    return 3.0"),
        ("half?", ENERGY.format("half")),
        ("fine", "def fine(r):\n    return 3.0"),
        ("fine?", ENERGY.format("fine")),
        ("text", "word = 'three'"),
        ("word?", ENERGY.format("word")),
        ("odd", "def odd(r):\n    return {'energy': 3.0}"),
        ("odd?", ENERGY.format("odd")),
        ("none?", "1 + 1"),
        ("kills", "def kills(r):\n    import os\n    os._exit(0)"),
        ("kills?", ENERGY.format("kills")),
        ("later?", ENERGY.format("fine")),
    )
    found = says(result)
    assert found["energy"][0] == "error" and "in cell table, IndexError: list index" in found["energy"][1]
    assert found["half"][0] == "error" and "half does not exist: in cell typo, line 1:" in found["half"][1]
    assert found["word"][0] == "failed" and "a function or class is needed here" in found["word"][1]
    assert found["odd"][0] == "failed" and "is not what waves.energy can compare" in found["odd"][1]
    assert found["none"] == (
        "refused",
        "this is no call of a check: the assignment's source departs from the form",
    )
    assert (
        found["kills"][0] == "error"
        and "kills ended the process when waves.energy called it" in found["kills"][1]
    )
    assert found["fine"][0] == found["later"][0] == "passed"


def test_a_process_that_dies_again_and_again_is_given_up():
    dies = "import os; os._exit(1)"
    result = run(
        *((f"d{n}", dies) for n in range(2)),
        ("energy", "def energy(r): return 3.0"),
        ("energy?", ENERGY.format("energy")),
        terms=replace(TERMS, restarts=1),
    )
    assert says(result)["energy"] == ("not run", "the process died 2 times; the rest was not run")
    assert result.stopped.count("ended the process") == 2 and len(result.results) == 1


LATE = """
try:
    time.sleep(120)
finally:
    until = time.process_time() + 1.0  # it computes when it is told to stop, as a long traceback does
    while time.process_time() < until:
        pass
"""


def test_the_time_for_the_whole_notebook_ends_it():
    result = run(
        ("slow", "import time\ntime.sleep(1.5)"),
        ("slower", LATE),
        ("energy", "def energy(r): return 3.0"),
        ("energy?", ENERGY.format("energy")),
        terms=replace(TERMS, total_seconds=3),
    )
    assert says(result)["energy"] == ("time", "the time for the whole notebook was over (3 s)")
    assert "the time for the whole notebook" in result.stopped


def test_without_a_kernel_nothing_is_guessed(monkeypatch):
    def none(*_, **__):
        raise Dead("the kernel was not ready after 180 s")

    monkeypatch.setattr(pool.shared, "take", none)
    with pytest.raises(NoKernel, match="was not ready after 180 s"):
        run(("energy", "def energy(r): return 3.0"), ("energy?", ENERGY.format("energy")))


def test_a_file_of_the_cache_folder_that_the_assignment_names_can_be_read(monkeypatch, tmp_path):
    (tmp_path / "weights.npz").write_text("3.0")
    monkeypatch.setattr(
        "course.grader.execution.paths_of", lambda names: tuple(str(tmp_path / n) for n in names)
    )
    path = "from mg9.data.cache import folder\npath = folder() / 'weights.npz'\n"
    reads = path + "def energy(r): return float(path.read_text())"
    cells = ("energy", reads), ("energy?", ENERGY.format("energy"))
    assert says(run(*cells, cache=["weights.npz"]))["energy"][0] == "passed"
    assert "FileNotFoundError" in says(run(*cells))["energy"][1]


def test_a_file_that_cannot_be_fetched_is_named_and_nothing_is_guessed(monkeypatch, tmp_path):
    def no_network(archive, target):
        raise FetchError(f"cannot download {archive.file} (sha256 {archive.sha256}): copy it to {target}")

    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    monkeypatch.setattr("mg9.data.cache._download", no_network)
    for name, archive in (("mace-mp-0-small", AIIDA), ("mptrj", MATTERSIM)):
        notebook = new_notebook(metadata={"mg9": {"cache": [name]}})
        with pytest.raises(NoKernel) as caught:
            grade(Submission("amira", "waves", "ok", notebook=notebook), Terms())
        for word in (archive.file, archive.sha256, str(tmp_path)):
            assert word in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no file of the cache folder is called 'weights'"):
        paths_of(["weights"])


@pytest.mark.parametrize(
    ("wall", "cpu", "seconds"),
    [(10, 0, 10), (10, 10, 10), (10, 12, 10), (10, 5, 5), (10, 1, 2), (10, 0.4, 10)],
)
def test_who_waits_for_a_busy_machine_is_not_charged_and_who_sleeps_is(wall, cpu, seconds):
    assert counted(wall, cpu) == seconds
