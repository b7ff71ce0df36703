"""Many submissions at once, in worker processes here or those of a Dask scheduler; a dead one loses nothing.

Both ways give (submission, run) as they come, in any order, or (submission, why not) where a submission was
the death of TRIES workers. Nothing is recorded here: that is for the one writer that asks.

Read in order: `Crew` (this machine), `_work` (what a worker does), `on_dask`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from typing import Any

from . import server
from .ingest import FolderError, Submission
from .terms import Run, Terms

TRIES = 3
Done = Iterator[tuple[Submission, Run | str]]


class _Worker:
    """A process that grades one submission after the other, and the pipe to it."""

    def __init__(self, context: Any) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other,), daemon=True)
        self.process.start()
        other.close()  # so that the end of the process is the end of the pipe
        self.task: tuple[Submission, int] | None = None

    def stop(self) -> None:
        """Let it tidy up, then end it."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        self.process.kill()
        self.process.join()


class Crew:
    """Up to `jobs` worker processes of this machine; `with Crew(2) as crew` ends them."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self.workers = jobs, []
        self.context = server.start()
        self.preparing = threading.Thread()  # of `prepare`

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._prepared()
        while self.workers:
            self.workers.pop().stop()

    def prepare(self, submissions: Iterable[Submission], terms: Terms) -> None:
        """Hire workers and have each start a kernel for such submissions as these. Does not wait for that:
        the first worker comes when the server has imported all."""
        notebooks = [one.notebook for one in submissions if one.notebook is not None]

        def prepare() -> None:
            with suppress(OSError, EOFError):  # whatever it is, `grade` will meet it
                self._hire(len(notebooks))
            for worker in self.workers:
                with suppress(OSError):
                    worker.pipe.send(("prepare", notebooks[0].metadata.get("mg9", {}), terms, True))

        self._prepared()
        self.preparing = threading.Thread(target=prepare, daemon=True)
        self.preparing.start()

    def _prepared(self) -> None:
        if self.preparing.ident:  # else there is none that was started
            self.preparing.join()

    def grade(self, submissions: Iterable[Submission], terms: Terms) -> Done:
        """Each submission with what came of it."""
        waiting = deque((submission, 1) for submission in submissions)
        self._prepared()
        self._hire(len(waiting))
        while waiting or any(worker.task for worker in self.workers):
            self._hand_out(waiting, terms)
            busy, done = [worker for worker in self.workers if worker.task], []
            for pipe in wait([worker.pipe for worker in busy], timeout=1):
                worker = next(worker for worker in busy if worker.pipe is pipe)
                (submission, tries), worker.task = worker.task, None
                try:
                    done.append((submission, worker.pipe.recv()))
                except (EOFError, OSError):
                    self._replace(worker)
                    if tries < TRIES:
                        waiting.append((submission, tries + 1))
                    else:
                        done.append((submission, f"{TRIES} worker processes died of it, one after the other"))
            self._hand_out(waiting, terms)  # before the writer takes its time
            yield from done

    def _hire(self, most: int) -> None:
        while len(self.workers) < min(self.jobs, most):
            self.workers.append(_Worker(self.context))

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self.workers[self.workers.index(worker)] = _Worker(self.context)

    def _hand_out(self, waiting: deque, terms: Terms) -> None:
        for worker in list(self.workers):
            if worker.task is None and waiting:
                more = len(waiting) > 1 + sum(other.task is not None for other in self.workers)
                try:
                    worker.pipe.send(("grade", waiting[0][0], terms, more))
                except OSError:  # it died while it had nothing to do
                    self._replace(worker)
                else:
                    worker.task = waiting.popleft()


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    while True:
        try:
            what, subject, terms, more = pipe.recv()
        except EOFError:
            _end()
        if what == "grade":
            pipe.send(graded(subject, terms, more=more))
        else:
            _prepare(subject, terms)


def _end(*_: object) -> None:
    """Remove what is temporary, and let nothing come between."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _end_with_the_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _prepare(marks: dict, terms: Terms) -> None:
    from . import pool
    from .execution import kernel_for

    with suppress(Exception):  # whatever it is, `grade` will meet it and say so
        pool.shared.prepare(kernel_for(marks, terms))


def graded(submission: Submission, terms: Terms, *, more: bool = True) -> Run | str:
    """`grade`, with an error in the grader as its text; `more`: the next kernel starts meanwhile."""
    from . import pool  # here, because torch takes seconds to import
    from .execution import grade

    pool.shared.size = int(more)
    try:
        return grade(submission, terms)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def on_dask(submissions: Iterable[Submission], terms: Terms, address: str) -> Done:
    """Grade on the workers of the Dask scheduler at `address`. Raises `FolderError` if it cannot be used."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise FolderError("--scheduler needs Dask: pip install 'mg9[cluster]'") from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError, ImportError) as error:
        raise FolderError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        _same_version(client, address)
        # pure=False: two equal submissions are two tasks. A dead worker's tasks go to others.
        futures = {client.submit(graded, one, terms, pure=False): one for one in submissions}
        for future in as_completed(futures):
            submission, error = futures[future], future.exception()
            yield submission, f"{type(error).__name__}: {error}" if error else future.result()
            future.release()


def _same_version(client: Any, address: str) -> None:
    own, theirs = version("mg9"), client.run(version, "mg9")
    if not theirs:
        raise FolderError(f"the scheduler at {address} has no worker")
    other = {worker: there for worker, there in theirs.items() if there != own}
    if other:
        raise FolderError(f"here is mg9 {own}; on the workers: {other}")
