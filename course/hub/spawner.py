"""Servers as processes of system users, each held to its limits.

JupyterHub's LocalProcessSpawner only tells a server its limits. Here a control group holds memory, processes
and cores of all that one user runs; where no control group can be made, each process is held by itself.

Read in order: `LimitedSpawner.start`, `LimitedSpawner.make_preexec_fn`.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jupyterhub.spawner import LocalProcessSpawner, SpawnException
from traitlets import Integer, Unicode

from course.grader.groups import Group

ADVICE = "Try again; if it ends again, show this line to your instructor: the hub's log has the reason."


class LimitedSpawner(LocalProcessSpawner):
    """A server of a system user in a control group of its own."""

    process_limit = Integer(512, config=True, help="processes and threads of one user")
    group_prefix = Unicode("mg9hub", config=True, help="how the names of control groups begin")
    group: Group | None = None

    async def start(self) -> tuple[str, int]:
        """Make the group, then the server."""
        self._remove_group()
        name = f"{self.group_prefix}-{self.user.name}-{secrets.token_hex(4)}"
        memory_mb = math.ceil(self.mem_limit / 2**20)
        self.group = Group.make(name, memory_mb, self.process_limit, math.ceil(self.cpu_limit))
        if self.group is None:
            self.log.warning("no control group can be made: each process of %s is held alone", self.user.name)
        ip, port = await super().start()
        while await self.poll() is None:  # else one who waits would learn of the end of it after minutes
            with suppress(OSError), socket.create_connection((ip or "127.0.0.1", port), timeout=1):
                return ip, port
            await asyncio.sleep(0.2)
        says = f"The server ended at once ({await self.poll()}). {ADVICE}"
        raise SpawnException(says, reason="ended", status_code=500)

    async def stop(self, now: bool = False) -> None:
        """Stop the server, then whatever else the user runs in the group."""
        await super().stop(now)
        self._remove_group()

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """What the child does before it becomes the server: enter the group while it is still root."""
        become_user = super().make_preexec_fn(name)
        mark = Path(os.path.expanduser(f"~{name}"), ".jupyter", "migrated")
        files = [str(folder / "cgroup.procs") for folder in self.group.folders] if self.group else []
        limits = [(resource.RLIMIT_CORE, 0)]
        if not files:
            limits += [(resource.RLIMIT_DATA, self.mem_limit), (resource.RLIMIT_NPROC, self.process_limit)]

        def enter() -> None:
            os.umask(0o077)
            for file in files:
                with open(file, "w") as procs:
                    procs.write(str(os.getpid()))
            for kind, most in limits:
                resource.setrlimit(kind, (most, most))
            become_user()
            # Else Jupyter writes this mark, with content, at its second start, and ends if the home is full.
            with suppress(OSError):
                mark.parent.mkdir(exist_ok=True)
                mark.touch()

        return enter

    def _remove_group(self) -> None:
        if self.group:
            self.group.remove()
            self.group = None
