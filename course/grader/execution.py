"""Run one submission and say which graded cells hold. `grade` is the one function that touches student code.

`grade(submission, terms) -> Run` depends on its arguments only: it opens no gradebook and leaves nothing
behind, so that any number of them can run at once, here or elsewhere.

The student's cells run in a kernel inside a sandbox. A graded cell is never run there: it is one call,
`check("name", objects)`, and this process runs the check and asks the kernel for what the student's objects
return. If the kernel dies, a new one gets the definitions of the cells before, and the work goes on after the
deadly cell.

Read in order: `Terms` and `Run` in terms.py, `grade`, `_Grading` (`run`, `_cell`, `_question`, `_kernel`).
"""

from __future__ import annotations

import time
import warnings
from copy import deepcopy

import numpy as np
from nbformat import NotebookNode

from mg9.checks import CheckFailed, find
from mg9.data.cache import ChecksumError, FetchError

from . import pool
from .bubblewrap import Place
from .cached import paths_of
from .definitions import defined, parsed, repeatable
from .form import grade_id, is_grade, is_locked, is_solution, only_call
from .ingest import Submission
from .kernel import Dead, Kernel
from .outputs import Room, plain
from .pool import Wanted
from .remote import Remote
from .result import Result
from .terms import Run, Terms

SHORT = 20.0  # seconds; a cell of the course that took no longer is run again after a death


class NoKernel(RuntimeError):
    """No kernel could be started for a submission; says why."""


class _Stopped(RuntimeError):
    """The rest of the notebook is not run; says why."""

    state = "not run"


class _OutOfTime(_Stopped):
    state = "time"


def grade(submission: Submission, terms: Terms) -> Run:
    """Run the submission's cells in a sandbox, hold its objects to the checks, and say what came of each.

    What a cell prints costs nothing. Raises `NoSandbox` where none can be made and `terms` do not say
    unsandboxed, and `NoKernel` if no kernel can be started.
    """
    return _Grading(submission, terms).run()


class _Grading:
    """One submission being graded."""

    def __init__(self, submission: Submission, terms: Terms) -> None:
        self.notebook, self.terms = deepcopy(submission.notebook), terms
        self.wanted = kernel_for(self.notebook.metadata.get("mg9", {}), terms)
        self.start, self.spent, self.number = time.monotonic(), 0.0, 0
        self.results: dict[str, Result] = {}
        self.ran: list[tuple[NotebookNode, bool]] = []  # cells, and whether to run all of it again
        self.lost: dict[str, str] = {}  # names without a value -> why
        self.deaths: list[str] = []
        self.room = Room()
        self.current: Kernel | None = None

    def run(self) -> Run:
        """All cells from top to bottom."""
        stop = None
        try:
            for place, cell in enumerate(self.notebook.cells):
                if cell.cell_type == "code":
                    self.number += 1
                    label = grade_id(cell) or f"number {place + 1}"
                    if is_grade(cell) and not is_solution(cell):
                        self._question(cell)
                    else:
                        self._cell(cell, label)
        except _Stopped as error:
            stop = error
        finally:
            if self.current:
                self.current.close()
        for cell in self.notebook.cells if stop else ():
            if cell.cell_type == "code" and is_grade(cell) and not is_solution(cell):
                if grade_id(cell) not in self.results:
                    self._enter(cell, Result(grade_id(cell), _check_of(cell), stop.state, str(stop)))
        stopped = "; ".join(self.deaths + [str(stop)] * (stop is not None))
        spent = time.monotonic() - self.start
        return Run(self.notebook, stopped, spent, self.results, not self.terms.unsandboxed)

    def _cell(self, cell: NotebookNode, label: str) -> None:
        """Run one of the student's cells; remember which names it leaves without a value."""
        began = time.monotonic()
        try:
            status, outputs = self._kernel().execute(cell.source, self._seconds(self.terms.cell_seconds))
            cell.outputs = self.room.fit(outputs)
            cell.execution_count = self.number
        except Dead as end:
            cell.outputs = self.room.fit(getattr(end, "outputs", []))
            self._died(f"cell {label} ended the process: {end}", defined(cell.source))
            return
        names = defined(cell.source)
        if status == "ok":
            for name in names:
                self.lost.pop(name, None)
        else:
            why = f"it was stopped after {self.terms.cell_seconds} s" if status == "time" else _error(cell)
            _, unreadable = parsed(cell.source)
            self.lost |= dict.fromkeys(names, f"in cell {label}, {unreadable or self._root(why)}")
        of_course = is_locked(cell) and status == "ok" and time.monotonic() - began < SHORT
        self.ran.append((cell, of_course))

    def _question(self, cell: NotebookNode) -> None:
        """Hold the objects that a graded cell names to its check."""
        began, name, call = time.monotonic(), grade_id(cell), only_call(cell.source)
        if call is None:
            says = "this is no call of a check: the assignment's source departs from the form"
            self._enter(cell, Result(name, "", "refused", says))
            return
        check, objects = find(call.args[0].value), [argument.id for argument in call.args[1:]]

        def result(state: str, says: str, **more: object) -> None:
            spent = round(time.monotonic() - began, 3)
            told = Result(name, check.name, state, plain(says), slide=check.slide, seconds=spent, **more)
            self._enter(cell, told)

        deadly = [self.lost[one] for one in objects if "ended the process" in self.lost.get(one, "")]
        if deadly:
            result("not run", deadly[0])
            return
        try:
            kernel = self._kernel()
            student = Remote(kernel, self.terms.budget, lambda: self._seconds(self.terms.call_seconds))
            with warnings.catch_warnings(action="ignore"):
                handed = [self._object(student, one) for one in objects]
                rng = np.random.default_rng(self.terms.seed)
                result("passed", check.function(student, rng, *handed))
        except CheckFailed as failure:
            failure.told_by(check)
            more = {"crystal": failure.crystal, "cause": failure.cause, "figure": failure.figure}
            if failure.expected is not None or failure.got is not None:
                more |= {"expected": plain(failure.expected), "got": plain(failure.got)}
            says = self._root(failure.what) if failure.state == "error" else failure.what
            result(failure.state, says, student_lines=tuple(failure.student_lines), **more)
        except Dead as end:
            self._died(f"{objects[0]} ended the process when {check.name} called it: {end}", {objects[0]})
            result("time" if "time" in str(end) else "error", self.deaths[-1])
        except _Stopped:
            raise
        except Exception as error:  # a check that cannot use what came back
            result("failed", f"what came back is not what {check.name} can compare ({type(error).__name__})")

    def _object(self, student: Remote, name: str) -> object:
        try:
            return student.object(name)
        except CheckFailed as failure:
            if failure.state == "error" and (name in self.lost or self.deaths):
                failure.what = f"{name} does not exist: {self.lost.get(name) or self.deaths[-1]}"
                failure.state = "error" if name in self.lost else "not run"
            raise

    def _kernel(self) -> Kernel:
        """The kernel, or a new one that has been given the definitions of the cells before."""
        if self.current is None:
            try:
                self.current = pool.shared.take(self.wanted)
            except Dead as end:
                raise NoKernel(str(end)) from end
            try:
                for cell, whole in self.ran:
                    again = cell.source if whole else repeatable(cell.source)
                    if again:
                        self.current.execute(again, self._seconds(self.terms.cell_seconds))
            except Dead as end:
                self._died(f"its definitions ended the process: {end}", set())
                raise _Stopped(self.deaths[-1]) from end
        return self.current

    def _died(self, why: str, names: set[str]) -> None:
        """Take note of a death: the names that it costs, and whether there may be another kernel."""
        self.deaths.append(why)
        self.lost |= dict.fromkeys(names, why)
        self.spent += self.current.spent
        self.current.close()
        self.current = None
        if len(self.deaths) > self.terms.restarts:
            raise _Stopped(f"the process died {len(self.deaths)} times; the rest was not run")

    def _seconds(self, most: float) -> float:
        """How long the next step may take. Raises `_OutOfTime`."""
        left = self.terms.total_seconds - self.spent - (self.current.spent if self.current else 0)
        if left <= 0:
            raise _OutOfTime(f"the time for the whole notebook was over ({self.terms.total_seconds} s)")
        return min(most, left)

    def _root(self, why: str) -> str:
        """An error with what is behind it: the cell that left a name without a value."""
        behind = [reason for name, reason in self.lost.items() if f"name '{name}' is not defined" in why]
        return f"{why} ({behind[0]})" if behind and behind[0] not in why else why

    def _enter(self, cell: NotebookNode, result: Result) -> None:
        self.results[result.grade_id] = result
        cell.outputs, cell.execution_count = result.outputs(), self.number


def kernel_for(marks: dict, terms: Terms) -> Wanted:
    """The kind of kernel for a notebook with `marks`, its metadata's "mg9". Raises `NoKernel` where a file
    that it needs cannot be had."""
    try:
        cached = paths_of(marks.get("cache", ()))
    except (FetchError, ChecksumError) as error:
        raise NoKernel(str(error)) from error
    variables = (("MG9_BUDGET", terms.budget), ("NBGRADER_EXECUTION", "autograde"))
    place = Place(tuple(marks.get("mask", ())), variables, cached)
    return Wanted(terms.limits, place, tuple(marks.get("modules", ())), terms.unsandboxed)


def _check_of(cell: NotebookNode) -> str:
    call = only_call(cell.source)
    return call.args[0].value if call else ""


def _error(cell: NotebookNode) -> str:
    """The error of a cell in one line."""
    for output in cell.outputs:
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}".strip(": ").partition("\n")[0][:300]
    return "it failed"
