"""Control groups: memory, processes and cores of one sandbox, of both versions of the kernel's interface.

A group is a folder; writing to its files sets the limits, writing a process's number to cgroup.procs moves
it there. Version 1 has one hierarchy for each controller, version 2 one for all. Where none can be written
(an ordinary user without delegation), `make` returns None and the limits of the process have to do.

Read in order: `Group.make`, `_places`, `_settings`.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")


@dataclass(frozen=True)
class Group:
    """The folders of one sandbox's group."""

    folders: tuple[Path, ...]

    @classmethod
    def make(cls, name: str, memory_mb: int, processes: int, cores: int) -> Group | None:
        """A new group with these limits, or None if not all of them can be set here."""
        made: list[Path] = []
        try:
            for place, controllers in _places():
                _sweep(place)
                folder = place / name
                folder.mkdir()
                made.append(folder)
                for file, value, needed in _settings(controllers, memory_mb, processes, cores):
                    if needed or (folder / file).exists():
                        (folder / file).write_text(value)
        except OSError:
            cls(tuple(made)).remove()
            return None
        return cls(tuple(made)) if made else None

    @staticmethod
    def own_name() -> str:
        """A name that says which process makes it; a container has numbers of its own."""
        return f"mg9grader-{_namespace()}-{os.getpid()}-{secrets.token_hex(4)}"

    def entering(self, command: list[str]) -> list[str]:
        """The command that enters the group and then becomes `command`."""
        enter = " && ".join(f"echo $$ > '{folder}/cgroup.procs'" for folder in self.folders)
        return ["/bin/sh", "-c", f'{enter} && exec "$@"', "sh", *command]

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of the group for its memory."""
        for folder in self.folders:
            for file in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    words = (folder / file).read_text().split()
                    return int(words[words.index("oom_kill") + 1]) > 0
        return False

    def remove(self) -> None:
        """End what is left in the group and remove it."""
        for folder in self.folders:
            for _ in range(50):
                with suppress(OSError):
                    for number in (folder / "cgroup.procs").read_text().split():
                        os.kill(int(number), signal.SIGKILL)
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def _sweep(place: Path) -> None:
    """Remove the empty groups that a grader has left which was killed."""
    for folder in place.glob(f"mg9grader-{_namespace()}-*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            with suppress(OSError):
                folder.rmdir()


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def remove_named(prefix: str) -> None:
    """Remove the groups whose names begin so, with what is left in them."""
    for place, _ in _places():
        Group(tuple(place.glob(f"{prefix}-*"))).remove()


def _places() -> list[tuple[Path, tuple[str, ...]]]:
    """The folders in which groups can be made, with the controllers of each; none if one is missing."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        own.update(dict.fromkeys(names.split(","), path.lstrip("/")))
    if all((ROOT / name).is_dir() and name in own for name in CONTROLLERS):
        return [(ROOT / name / own[name], (name,)) for name in CONTROLLERS]
    place = ROOT / own.get("", "")
    # A group with processes of its own cannot hand controllers on: then the group above it is tried.
    for folder in (place, *place.parents):
        if not folder.is_relative_to(ROOT) or not os.access(folder, os.W_OK):
            break
        with suppress(OSError):
            (folder / "cgroup.subtree_control").write_text("+memory +pids +cpu")
        with suppress(OSError):
            if set(CONTROLLERS) <= set((folder / "cgroup.subtree_control").read_text().split()):
                return [(folder, CONTROLLERS)]
    return []


def _settings(
    controllers: tuple[str, ...], memory_mb: int, processes: int, cores: int
) -> list[tuple[str, str, bool]]:
    """(file, content, whether the file must be there), in the order in which they are to be written."""
    memory, both = str(memory_mb * 2**20), controllers == CONTROLLERS
    settings = []
    if "memory" in controllers and both:
        settings += [("memory.max", memory, True), ("memory.swap.max", "0", False)]
    elif "memory" in controllers:
        settings += [("memory.limit_in_bytes", memory, True), ("memory.memsw.limit_in_bytes", memory, False)]
    if "pids" in controllers:
        settings.append(("pids.max", str(processes), True))
    if "cpu" in controllers and both:
        settings.append(("cpu.max", f"{cores * 100_000} 100000", True))
    elif "cpu" in controllers:
        settings.append(("cpu.cfs_quota_us", str(cores * 100_000), True))
    return settings
