"""Kernels that wait, each started in a sandbox of its own with the assignment's modules imported.

A kernel serves one submission. While it works the next one starts.

Read in order: `Wanted`, `Pool.take`, `Pool.prepare`, `shared` (the pool of this process).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from multiprocessing.util import Finalize

import psutil

from .bubblewrap import Limits, Place
from .kernel import Dead, Kernel

READY_SECONDS = 180  # to start a kernel on a machine that is busy
EACH = 1.5e9  # bytes that a kernel with torch and its work may well need


@dataclass(frozen=True)
class Wanted:
    """A kind of kernel: what it may use and see, what it has imported, and whether it has no sandbox."""

    limits: Limits
    place: Place
    modules: tuple[str, ...]
    bare: bool = False

    def start(self) -> Kernel:
        """A new one."""
        return Kernel(self.limits, self.place, self.modules, bare=self.bare)


class Pool:
    """The kernels that wait. `size` of them, or none where memory is short."""

    def __init__(self, size: int = 1) -> None:
        self.size, self.process = size, os.getpid()
        self.wanted: Wanted | None = None
        self.waiting: deque[Kernel] = deque()
        self.lock = threading.Lock()

    def take(self, wanted: Wanted) -> Kernel:
        """A kernel that is ready and that nobody has used. Raises `Dead` if none can be started."""
        with self.lock:
            self._turn_to(wanted)
            alive = [kernel for kernel in self.waiting if kernel.sandbox.alive()]
            kernel = alive.pop(0) if alive else wanted.start()
            self.waiting = deque(alive)
            self._fill()
        try:
            kernel.wait(READY_SECONDS)
        except Dead:
            kernel.close()
            raise
        return kernel

    def prepare(self, wanted: Wanted) -> None:
        """Start what `take` will be asked for."""
        with self.lock:
            self._turn_to(wanted)
            self._fill()

    def close(self) -> None:
        """End the kernels that wait."""
        with self.lock:
            if self.process == os.getpid():
                self._empty()

    def _turn_to(self, wanted: Wanted) -> None:
        if self.process != os.getpid():  # a copy of another process's pool
            self.waiting, self.process, self.wanted = deque(), os.getpid(), None
        if self.wanted is None:  # at the end of this process, a worker's or not
            Finalize(self, self.close, exitpriority=10)
        if self.wanted != wanted:
            self._empty()
            self.wanted = wanted

    def _fill(self) -> None:
        while len(self.waiting) < self.size and psutil.virtual_memory().available > 2 * EACH:
            self.waiting.append(self.wanted.start())

    def _empty(self) -> None:
        while self.waiting:
            self.waiting.pop().close()


shared = Pool()
