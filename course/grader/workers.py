"""Many submissions at once, in worker processes here or those of a Dask scheduler; a dead one loses nothing.

Both ways give (submission, run) as they come, in any order, or (submission, why not) where a submission was
the death of TRIES workers. Nothing is recorded here: that is for the one writer that asks.

Read in order: `here` (this machine), `_work` (what a worker does), `on_dask`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from typing import Any

from .execution import Run, Terms, grade
from .ingest import FolderError, Submission

TRIES = 3
Done = Iterator[tuple[Submission, Run | str]]


class _Worker:
    """A process that grades one submission after the other, and the pipe to it."""

    def __init__(self) -> None:
        # Forked from a server that has imported what takes seconds, and has no threads for a fork to lose.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([grade.__module__])
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


def here(submissions: Iterable[Submission], terms: Terms, jobs: int) -> Done:
    """Grade in `jobs` processes of this machine."""
    waiting = deque((submission, 1) for submission in submissions)
    workers = [_Worker() for _ in range(min(jobs, len(waiting)))]
    try:
        while waiting or any(worker.task for worker in workers):
            for number, worker in enumerate(workers):
                if worker.task is None and waiting:
                    try:
                        worker.pipe.send((waiting[0][0], terms))
                    except OSError:  # it died while it had nothing to do
                        worker.stop()
                        workers[number] = _Worker()
                    else:
                        worker.task = waiting.popleft()
            busy = [worker for worker in workers if worker.task]
            for pipe in wait([worker.pipe for worker in busy], timeout=1):
                worker = next(worker for worker in busy if worker.pipe is pipe)
                (submission, tries), worker.task = worker.task, None
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.stop()
                    workers[workers.index(worker)] = _Worker()
                    if tries < TRIES:
                        waiting.append((submission, tries + 1))
                    else:
                        yield submission, f"{TRIES} worker processes died of it, one after the other"
                else:
                    yield submission, answer
    finally:
        for worker in workers:
            worker.stop()


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` removes what is temporary
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    while True:
        try:
            submission, terms = pipe.recv()
        except EOFError:
            return
        pipe.send(graded(submission, terms))


def _end_with_the_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def graded(submission: Submission, terms: Terms) -> Run | str:
    """`grade`, with an error in the grader as its text."""
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
