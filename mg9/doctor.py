"""What is wrong with an installation: one line for each thing that the course needs, and what to do."""

import importlib.metadata
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from packaging.requirements import Requirement

from mg9.score import QUIET_KERNEL

PIN = "run `pip install -r requirements.lock` in the course's folder"
REINSTALL = "delete .venv and run `make setup`; on a JupyterHub, tell your instructor"
GIB = 2**30
MEMORY_NEEDED = 2 * GIB
DISK_NEEDED = 1 * GIB
SETS = ("formation_energy", "band_gap", "elasticity", "dielectric", "piezoelectricity", "nanoindentation")


class Problem(RuntimeError):
    """Something does not work, and the message says what to do."""


def diagnose() -> Iterator[tuple[bool, str]]:
    """(works, line) for each thing that is examined, as soon as it is known; takes some ten seconds."""
    with ThreadPoolExecutor(max_workers=1) as background:
        kernel = background.submit(kernel_prints)  # a kernel and torch both take seconds to start: at once
        yield attempt("Python", python_version)
        for requirement in requirements():
            yield attempt(requirement.name, lambda requirement=requirement: dependency(requirement))
        yield attempt("torch", matrix_product)
        yield attempt("torch-geometric", graph_object)
        for name in SETS:
            yield attempt(f"data set {name}", lambda name=name: data_set(name))
        yield attempt("cache folder", cache_folder)
        yield attempt("memory", memory)
        yield attempt("disk", disk)
        yield attempt("threads", threads)
        yield attempt("Jupyter kernel", lambda: jupyter_kernel(kernel))


def examine() -> bool:
    """Print each problem and a last line that says what to do next; whether all is well. For a notebook."""
    start, problems, total = time.perf_counter(), 0, 0
    for works, line in diagnose():
        total, problems = total + 1, problems + (not works)
        if not works:
            print(f"problem: {line}")
    took = f"{total} things examined in {time.perf_counter() - start:.0f} s"
    if problems:
        what = f"{problems} problem{'s' * (problems > 1)} to solve ({took})"
        print(f"{what}. Each line above says what to do; then restart the kernel and run this again.")
    else:
        print(f"All is well ({took}). Go on with lectures/A_context.ipynb or exercises/cgcnn/cgcnn.ipynb.")
    return not problems


def attempt(subject: str, examination: Callable[[], str]) -> tuple[bool, str]:
    """Run one examination; whatever it raises is a problem in one line."""
    try:
        return True, f"{subject}: {examination()}"
    except Problem as problem:
        return False, f"{subject}: {problem}"
    except Exception as error:  # a broken installation can raise anything
        first, *_ = f"{type(error).__name__}: {error}".splitlines()
        return False, f"{subject}: {first}; {REINSTALL}"


def python_version() -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        raise Problem(f"{found}, the course needs 3.11 or 3.12; install one, then {REINSTALL}")
    return found


def requirements() -> list[Requirement]:
    """What the installed package says that it needs; those of an extra count where they are installed."""
    try:
        stated = [Requirement(line) for line in importlib.metadata.requires("mg9") or []]
    except importlib.metadata.PackageNotFoundError:
        return [Requirement("mg9")]
    return [r for r in stated if not r.marker or (r.marker.evaluate({"extra": ""}) or installed(r.name))]


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def dependency(requirement: Requirement) -> str:
    version = installed(requirement.name)
    if version is None:
        raise Problem(f"not installed; {PIN}")
    if not requirement.specifier.contains(version, prereleases=True):
        raise Problem(f"version {version}, the course needs {requirement.specifier}; {PIN}")
    return version


def matrix_product() -> str:
    import torch

    product = torch.ones(8, 8) @ torch.ones(8, 8)
    if not torch.equal(product, torch.full((8, 8), 8.0)):
        raise Problem(f"multiplies matrices wrongly on this machine; {REINSTALL}")
    return "multiplies matrices"


def graph_object() -> str:
    import torch
    from torch_geometric.data import Batch, Data

    pair = Data(z=torch.tensor([11, 17]), edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    if Batch.from_data_list([pair, pair]).num_edges != 4:
        raise Problem(f"builds wrong batches; {REINSTALL}")
    return "builds graphs"


def data_set(name: str) -> str:
    from mg9 import data

    return f"{len(getattr(data, name)())} rows"


def cache_folder() -> str:
    from mg9.data import cache

    folder = cache.folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Problem(
            f"{folder}: {error.strerror}; set MG9_CACHE to a folder that you may write to"
        ) from None
    return f"{folder} is writable"


def memory() -> str:
    # A JupyterHub that limits memory says so in MEM_LIMIT; the machine's own figure would promise too much.
    free = min(psutil.virtual_memory().available, int(os.environ.get("MEM_LIMIT") or sys.maxsize))
    if free < MEMORY_NEEDED:
        needed = f"{MEMORY_NEEDED / GIB:.0f} GiB"
        raise Problem(f"{free / GIB:.1f} GiB free, training needs {needed}; shut other kernels down")
    return f"{free / GIB:.1f} GiB free"


def disk() -> str:
    home = Path.home()
    free = shutil.disk_usage(home).free
    if free < DISK_NEEDED:
        needed = f"{DISK_NEEDED / GIB:.0f} GiB"
        raise Problem(f"{free / GIB:.1f} GiB free in {home}, the course needs {needed}; delete files there")
    return f"{free / GIB:.1f} GiB free in {home}"


def threads() -> str:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A JupyterHub that limits the processor says so in CPU_LIMIT; torch does not know and starts too many.
    cores = min(cores, math.ceil(float(os.environ.get("CPU_LIMIT") or cores)))
    used = torch.get_num_threads()
    if used > cores:
        raise Problem(f"torch uses {used} on {cores} cores, which is slow; set OMP_NUM_THREADS={cores}")
    return f"torch uses {used} on {cores} cores"


def kernel_prints() -> str:
    """What a cell prints in a new kernel: the environment that it runs in, and the version of mg9 there."""
    cell = nbformat.v4.new_code_cell("import sys, mg9\nprint(sys.prefix, mg9.__version__)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", extra_arguments=QUIET_KERNEL)
    with client.setup_kernel():
        client.execute_cell(cell, 0)
    return cell.outputs[0].text.strip()


def jupyter_kernel(printed: Future[str]) -> str:
    try:
        prefix, version = printed.result(timeout=60).rsplit(" ", 1)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise Problem(f"python3 does not run mg9 ({reason}); {REINSTALL}") from None
    if prefix != sys.prefix:
        raise Problem(f"python3 is of another environment, {prefix}; run `jupyter lab` of {sys.prefix}/bin")
    return f"python3 runs mg9 {version}"
