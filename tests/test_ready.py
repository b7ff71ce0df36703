"""What makes a class quick: kernels that are ready, imports that are not needed, workers that prepare."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
from nbgrader.dbutil import _temp_alembic_ini
from sandboxes import needs_sandbox

from course.grader import build, package
from course.grader.bubblewrap import Limits, Place
from course.grader.ingest import Submission
from course.grader.kernel import Kernel
from course.grader.sandbox import Sandbox
from course.grader.terms import Terms
from course.grader.workers import Crew


def imported(module: str) -> set[str]:
    """What a new process has imported with `module`."""
    program = f"import {module}, sys; print(*(name for name, there in sys.modules.items() if there))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_workers_import_no_nbgrader_and_the_writer_starts_them_before_torch():
    there = imported("course.grader.execution")
    assert "torch" in there and not {"nbgrader", "rfc3987_syntax", "sqlalchemy"} & there
    there = imported("course.grader.workers")
    assert "nbformat" in there and not {"torch", "nbgrader", "rfc3987_syntax"} & there


def test_the_version_of_the_tables_is_the_one_that_nbgrader_would_find():
    programs = str(Path(sys.executable).parent)
    with _temp_alembic_ini("sqlite://") as file:
        command = [f"{programs}/alembic", "-c", file, "heads"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.split()[0] == build._newest_schema()


@needs_sandbox
def test_a_kernel_that_did_not_know_of_its_listener_is_asked_again(monkeypatch):
    """Else the first cell's outputs would be lost, or waited for in vain for a second."""
    kernel, asked = Kernel(Limits(), Place(), ()), []
    connect, send = Kernel._connect, Kernel._send

    def deaf(self):
        connect(self)
        self.sockets["iopub"].unsubscribe(b"")

    def late(self, channel, kind, *more):
        asked.append(kind)
        if len(asked) == 2:
            self.sockets["iopub"].subscribe(b"")
            time.sleep(0.1)
        return send(self, channel, kind, *more)

    monkeypatch.setattr(Kernel, "_connect", deaf)
    monkeypatch.setattr(Kernel, "_send", late)
    try:
        kernel.wait(60)
        _, (output,) = kernel.execute("print('heard')", 60)
    finally:
        kernel.close()
    assert asked.count("kernel_info_request") >= 2 and output.text == "heard\n"


@needs_sandbox
def test_the_time_of_a_sandbox_counts_all_its_processes_and_no_others():
    """Two that compute under a name with a bracket, beside one that sleeps in another sandbox."""
    busy = "import os, time; os.fork(); open('/proc/self/comm', 'w').write('a) b (')\nwhile True: pass"
    idle = "import time; time.sleep(60)"
    both = [Sandbox([sys.executable, "-c", program], Limits(), Place()) for program in (busy, idle)]
    outside = psutil.Process(both[0].process.pid)
    times: list[float] = []
    try:
        until = time.monotonic() + 60
        while sum(one > 0.4 for one in times) < 2 and time.monotonic() < until:
            time.sleep(0.1)
            spent = [sandbox.cpu_seconds() for sandbox in both]
            times = [sum(child.cpu_times()[:2]) for child in outside.children(recursive=True)]
    finally:
        for sandbox in both:
            sandbox.kill()
    assert sum(one > 0.4 for one in times) == 2 and 0.5 < spent[0] < sum(times) + 0.01
    assert spent[1] < 0.5 and both[0].cpu_seconds() == 0.0


@needs_sandbox
def test_a_crew_prepares_kernels_and_leaves_nothing():
    cell = nbformat.v4.new_code_cell("1 + 1", id="one")
    submission = Submission("a", "waves", "ok", notebook=nbformat.v4.new_notebook(cells=[cell]))

    def kernels() -> list[psutil.Process]:
        of_ours = psutil.Process().children(recursive=True)
        return [one for one in of_ours if "mg9.checks.agent" in " ".join(one.cmdline()[-12:])]

    with Crew(2) as crew:
        crew.prepare([submission, submission], Terms())
        until = time.monotonic() + 60
        while len(crew.workers) < 2 or not kernels():
            assert time.monotonic() < until
            time.sleep(0.1)
        ((came, run),) = crew.grade([submission], Terms())
        pids = [worker.process.pid for worker in crew.workers]
    assert came is submission and run.notebook.cells[0].outputs[0].data["text/plain"] == "2"
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not [f for pid in pids for f in Path(tempfile.gettempdir()).glob(f"{package.NAME}{pid}-*")]
