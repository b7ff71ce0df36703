"""Kernels that wait, each started in a sandbox of its own with the assignment's modules imported.

A kernel serves one submission. While it works the next one starts.

Read in order: `Pool.take`, `shared` (the pool of this process).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from multiprocessing.util import Finalize

import psutil

from .kernel import Dead, Kernel
from .sandbox import Limits, Place

READY_SECONDS = 180  # to start a kernel on a machine that is busy
EACH = 1.5e9  # bytes that a kernel with torch and its work may well need


class Pool:
    """The kernels that wait. `size` of them, or none where memory is short."""

    def __init__(self, size: int = 1) -> None:
        self.size, self.process = size, os.getpid()
        self.key: tuple = ()
        self.waiting: deque[Kernel] = deque()
        self.lock = threading.Lock()

    def take(self, limits: Limits, place: Place, modules: tuple[str, ...], *, bare: bool = False) -> Kernel:
        """A kernel that is ready and that nobody has used. Raises `Dead` if none can be started."""
        with self.lock:
            if self.process != os.getpid():  # a copy of another process's pool
                self.waiting, self.process, self.key = deque(), os.getpid(), ()
            if self.key == ():  # at the end of this process, a worker's or not
                Finalize(self, self.close, exitpriority=10)
            if self.key != (limits, place, modules, bare):
                self._empty()
                self.key = (limits, place, modules, bare)
            alive = [kernel for kernel in self.waiting if kernel.sandbox.alive()]
            kernel = alive.pop(0) if alive else Kernel(limits, place, modules, bare=bare)
            self.waiting = deque(alive)
            while len(self.waiting) < self.size and psutil.virtual_memory().available > 2 * EACH:
                self.waiting.append(Kernel(limits, place, modules, bare=bare))
        try:
            kernel.wait(READY_SECONDS)
        except Dead:
            kernel.close()
            raise
        return kernel

    def close(self) -> None:
        """End the kernels that wait."""
        with self.lock:
            if self.process == os.getpid():
                self._empty()

    def _empty(self) -> None:
        while self.waiting:
            self.waiting.pop().close()


shared = Pool()
