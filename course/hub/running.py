"""A hub that another program starts and stops: `python -m course.hub` as a child.

Read in order: `Hub`.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from course.hub.__main__ import end_with_parent


class Hub:
    """`python -m course.hub`, from its start until `stop`."""

    def __init__(
        self, log: Path, *arguments: str, patience: float = 240, before: tuple[str, ...] = ()
    ) -> None:
        """Start it with `arguments`, behind the command `before`, and wait until it answers.

        Raises `AssertionError` with what it printed if it does not within `patience` seconds.
        """
        command = [*before, sys.executable, "-m", "course.hub", *arguments]
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, bufsize=0, preexec_fn=end_with_parent
            )
        printed, end = b"", time.monotonic() + patience
        while b"Ctrl-C" not in printed:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            more = ready and os.read(self.process.stdout.fileno(), 65536)
            if not more:
                self.stop()
                raise AssertionError(f"no hub: {printed.decode()}\n{log.read_text()[-3000:]}")
            printed += more
        self.url = re.search(rb"http\S+", printed)[0].decode()
        self.passwords = dict(re.findall(r"(\S+) +password (\S+)", printed.decode()))

    def stop(self) -> int:
        """Stop it as `kill` does; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=90)
        finally:
            self.process.kill()
