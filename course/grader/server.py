"""The process from which workers are forked, which has imported what takes seconds and has no threads.

It starts before whoever wants workers imports anything else, and imports while that goes on.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext


def start() -> BaseContext:
    """The context in which processes are forked from it; it runs, and need not be ready yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["course.grader.preload"])
    forkserver.ensure_running()
    return context
