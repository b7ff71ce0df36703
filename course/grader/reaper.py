"""What ends the sandboxes of a grader that was killed, at whatever moment.

bubblewrap's --die-with-parent holds only when its own start is nearly over: before that, its first process
inside waits for one outside, and would wait for ever if that one were gone. So all that a grader starts joins
one process group, whose leader waits for the end of a pipe that the grader alone holds open, and then kills
the group.
"""

from __future__ import annotations

import os
import subprocess
import threading

_lock = threading.Lock()
_reapers: dict[int, subprocess.Popen] = {}  # by the process that it watches: a fork needs one of its own


def group() -> int:
    """The process group to start in (`subprocess.Popen(..., process_group=...)`); dies with this process.

    The pipe ends when its last copy is closed, so a child that was forked and has not yet become its program
    has joined the group before the group is killed.
    """
    with _lock:
        reaper = _reapers.get(os.getpid())
        if reaper is None or reaper.poll() is not None:
            reaper = _reapers[os.getpid()] = subprocess.Popen(
                ["/bin/sh", "-c", "read line; kill -KILL 0"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                process_group=0,
            )
        return reaper.pid
