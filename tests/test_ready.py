"""What makes a class quick: kernels that are ready, imports that are not needed, workers that prepare."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import jinja2
import jsonschema
import nbformat
import psutil
import pytest
from nbconvert.exporters import Exporter
from nbgrader.api import Course
from nbgrader.dbutil import _temp_alembic_ini
from nbgrader.nbgraderformat.v3 import MetadataValidatorV3 as ValidatorV3
from sandboxes import needs_sandbox
from sqlalchemy import event
from sqlalchemy.engine import Engine

from course.grader import build, feedback, package, pool, quicker, registered, scores, workers
from course.grader.bubblewrap import Limits, Place
from course.grader.form import source_file
from course.grader.ingest import Submission
from course.grader.kernel import Kernel
from course.grader.marks import Row
from course.grader.sandbox import Sandbox
from course.grader.terms import Terms
from course.grader.workers import Crew, graded

ROOT = Path(__file__).parents[1]


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
    there = imported("course.grader.preload")
    assert {"torch", "pandas", "course.hidden.cgcnn"} <= there and "nbgrader" not in there


def test_the_writer_reads_of_a_check_what_its_registration_says():
    """Without importing it, and so without torch; for every check of every assignment."""
    program = """
import sys
from pathlib import Path
from course.grader import build, feedback, form, record
from course.grader.registered import registered
from mg9.checks import find
for name in form.assignments(Path(".")):
    record.fingerprint(Path("."), name)
print("torch" in sys.modules)
told = {q.check: registered(q.check) for name in form.assignments(Path("."))
        for q in form.questions(form.read_source(Path("."), name)) if q.check}
for name in told:
    find(name)
print(all(registered(name) == about for name, about in told.items()), len(told))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"False\nTrue 1\d\d\n", done.stdout), done.stdout


def test_the_writer_imports_nbgrader_while_the_server_of_the_workers_imports_torch():
    """Before it asks for the first worker, which it gets when torch is there."""
    program = """
import sys
from pathlib import Path
from types import SimpleNamespace
from course.grader import commands
commands._read = lambda options: (SimpleNamespace(submissions=[]), Path("nowhere"), None)
prepare = lambda *_: sys.exit(f"nbgrader {'nbgrader' in sys.modules}")
commands._record(SimpleNamespace(again=True), None, prepare)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "nbgrader True\n")


def test_a_check_whose_registration_does_not_say_it_all_is_imported(tmp_path):
    file = tmp_path / "some.py"
    file.write_text("""
@register("plain", slide=8, outcome=1, cause=CAUSE)
def plain(student, rng, first, second): ...
@register("counted", slide=NUMBER, outcome=1, cause="")
def counted(student, rng, first): ...
@register("open", slide=8, outcome=1, cause="")
def open(student, rng, first, *more): ...
@other("another", slide=8, outcome=1, cause="")
def another(student, rng, first): ...
""")
    assert registered._read("some", file) == {
        "plain": registered.Registered("plain", 8, 1, ("first", "second"), "some", file)
    }
    with pytest.raises(KeyError, match="no check is called 'nonsense'"):
        registered.registered("nonsense")


def test_the_writer_does_not_wait_for_the_server_of_the_workers(monkeypatch):
    """It enters the assignment meanwhile; what it asks for next, it gets after the kernels are asked for."""
    ready, told = threading.Event(), []
    pipe = SimpleNamespace(send=lambda words: told.append(words[0]), recv=lambda: "done", close=lambda: None)

    def worker(context):
        assert ready.wait(20)
        return SimpleNamespace(task=None, pipe=pipe, stop=lambda: None)

    monkeypatch.setattr(workers, "_Worker", worker)
    monkeypatch.setattr(workers, "wait", lambda pipes, timeout: pipes[:1])
    monkeypatch.setattr(workers.server, "start", lambda: None)
    submission = Submission("a", "waves", "ok", notebook=nbformat.v4.new_notebook())
    with Crew(2) as crew:
        crew.prepare([submission, submission], Terms())
        assert not told and not crew.workers
        ready.set()
        assert list(crew.grade([submission], Terms())) == [(submission, "done")]
    assert told == ["prepare", "prepare", "grade"]


def test_a_command_starts_the_server_before_it_imports_what_takes_long(tmp_path):
    program = """
import sys
from course.grader import cli, server
server.start = lambda: sys.exit(f"{sorted({'nbformat', 'psutil', 'numpy', 'nbgrader'} & set(sys.modules))}")
cli.main(["grade", "nowhere"])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "[]\n")


@pytest.mark.parametrize("code", [0, 2])
def test_a_command_ends_with_its_code_what_it_printed_and_what_was_to_be_tidied_up(code):
    """But without taking its modules apart, of which `Slow` stands for one."""
    program = f"""
import atexit, sys
from course.grader import cli

class Slow:
    def __del__(self):
        print("taken apart")

def main():
    global slow
    slow = Slow()
    atexit.register(print, "tidied up")
    print("printed")
    return {code}

cli.main = main
cli.command()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "printed\ntidied up\n", "")


def test_an_error_in_the_grader_itself_is_not_hidden():
    program = "from course.grader import cli\ncli.does.grade = lambda options: 1 / 0\ncli.command()"
    command = [sys.executable, "-c", program, "grade", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_a_schema_is_checked_once_and_every_cell_is(root, monkeypatch):
    checked: list[dict] = []
    kind = jsonschema.validators.validator_for(ValidatorV3().schema)
    check = kind.check_schema
    monkeypatch.setattr(kind, "check_schema", lambda schema: checked.append(schema) or check(schema))
    quicker._validator.cache_clear()
    cells = nbformat.read(source_file(root, "waves"), as_version=4).cells
    marked = [cell for cell in cells if "nbgrader" in cell.metadata]
    for cell in marked * 2:
        ValidatorV3().validate_cell(cell)
    assert len(marked) > 3 and checked == [ValidatorV3().schema]
    marked[0].metadata.nbgrader.grade = "yes"
    with pytest.raises(jsonschema.ValidationError, match="'yes' is not of type 'boolean'"):
        ValidatorV3().validate_cell(marked[0])


def test_the_gradebook_is_not_asked_for_each_of_its_tables_and_gets_one_that_is_missing(tmp_path):
    asked: list[str] = []

    def ask(connection, cursor, statement, *_):
        asked.append(statement)

    with scores.open_gradebook(tmp_path) as book:
        tables = len(book.db.bind.dialect.get_table_names(book.db.connection()))
    event.listen(Engine, "before_cursor_execute", ask)
    try:
        with scores.open_gradebook(tmp_path):
            pass
        assert 0 < sum("table_info" in one or "sqlite_master" in one for one in asked) < 4 < tables
    finally:
        event.remove(Engine, "before_cursor_execute", ask)
    with sqlite3.connect(tmp_path / "gradebook.db") as file:
        file.execute("DROP TABLE comment")
    with scores.open_gradebook(tmp_path) as book:
        assert "comment" in book.db.bind.dialect.get_table_names(book.db.connection())
    with sqlite3.connect(tmp_path / "gradebook.db") as file:
        file.execute("DELETE FROM course")
    with scores.open_gradebook(tmp_path) as book:
        assert [course.id for course in book.db.query(Course)] == ["default_course"]


def test_a_notebook_is_validated_once_a_conversion(root, monkeypatch):
    steps: list = []
    monkeypatch.setattr(Exporter, "_validate_preprocessor", lambda self, notebook, step: steps.append(step))
    build.build(root, "waves", write=False)
    assert len(steps) == 1


def test_the_version_of_the_tables_is_the_one_that_nbgrader_would_find():
    programs = str(Path(sys.executable).parent)
    with _temp_alembic_ini("sqlite://") as file:
        command = [f"{programs}/alembic", "-c", file, "heads"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.split()[0] == quicker.newest_schema()


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
        kernel.wait(300)
        _, (output,) = kernel.execute("print('heard')", 300)
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
        until = time.monotonic() + 600
        while len(crew.workers) < 2 or not kernels():
            assert time.monotonic() < until
            time.sleep(0.1)
        ((came, run),) = crew.grade([submission], Terms())
        pids = [worker.process.pid for worker in crew.workers]
    assert came is submission and run.notebook.cells[0].outputs[0].data["text/plain"] == "2"
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not [f for pid in pids for f in Path(tempfile.gettempdir()).glob(f"{package.NAME}{pid}-*")]


def test_no_kernel_starts_where_no_submission_is_left():
    """Two workers, five submissions: the last two are handed out when nobody needs another kernel."""

    def worker() -> SimpleNamespace:
        return SimpleNamespace(task=None, pipe=SimpleNamespace(send=lambda told: sent.append(told[3])))

    sent, crew = [], Crew.__new__(Crew)
    crew.workers, waiting = [worker(), worker()], deque((number, 1) for number in range(5))
    crew._hand_out(waiting, Terms())
    assert sent == [True, True] and len(waiting) == 3
    for _ in range(3):
        crew.workers[0].task = None
        crew._hand_out(waiting, Terms())
    assert sent == [True, True, True, False, False]


@needs_sandbox
@pytest.mark.parametrize("more", [True, False])
def test_the_next_kernel_starts_while_one_works_if_there_is_more(more, monkeypatch):
    monkeypatch.setattr(pool, "shared", pool.Pool())
    monkeypatch.setattr(pool.psutil, "virtual_memory", lambda: SimpleNamespace(available=1e12))
    submission = Submission("a", "waves", "ok", notebook=nbformat.v4.new_notebook(cells=[]))
    submission.notebook.cells.append(nbformat.v4.new_code_cell("1 + 1", id="one"))
    graded(submission, Terms(), more=more)
    assert len(pool.shared.waiting) == more
    pool.shared.close()


@needs_sandbox
def test_a_kernel_looks_for_garbage_in_what_a_student_made_and_in_nothing_else():
    kernel = Kernel(Limits(), Place(), ())
    try:
        kernel.wait(300)
        code = "import gc; print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))"
        _, (output,) = kernel.execute(code, 300)
    finally:
        kernel.close()
    assert output.text == "True True\n"


@needs_sandbox
def test_a_kernel_has_no_debugger_and_a_student_may_import_one():
    kernel = Kernel(Limits(), Place(), ())
    try:
        kernel.wait(300)
        code = "import sys; print('debugpy' in sys.modules, hasattr(get_ipython().kernel, 'debugger'))"
        code += "\nimport debugpy"
        status, (output, *_) = kernel.execute(code, 300)
    finally:
        kernel.close()
    assert status == "ok" and output.text == "False False\n"


def test_a_template_is_compiled_once_for_all_pages(monkeypatch):
    compiled: list[str] = []
    compile_ = jinja2.Environment.compile

    def count(self, source, name=None, *more, **words):
        compiled.append(name)
        return compile_(self, source, name, *more, **words)

    monkeypatch.setattr(jinja2.Environment, "compile", count)
    feedback._templates.cache_clear()
    for student in ("a", "b"):
        feedback.page(Row(student, "missing", "nothing", (), ()), "waves")
    assert sorted(compiled) == ["feedback.html", "page.html"]
