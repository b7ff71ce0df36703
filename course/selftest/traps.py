"""What an attack may not reach, and how it is noticed: a secret, a home, a listener, what is left over.

Read in order: `Traps` (set before the class is graded), `sprung` (looked at afterwards).
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sysconfig
import threading
import time
from pathlib import Path

SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/dev/mqueue")
PACKAGES = ("mg9", "torch", "numpy", "ipykernel")


class Traps:
    """A folder with a secret, an empty home, ears on the loopback; closed by `close`."""

    def __init__(self, place: Path) -> None:
        self.secret, self.word = secrets.token_hex(12), f"left-{secrets.token_hex(6)}"
        self.canary, self.home = place / "outside", place / "home"
        self.canary.mkdir()
        self.home.mkdir()
        (self.canary / "secret.txt").write_text(self.secret)
        self.heard: list[str] = []
        self._ears = _listen()
        self.port = self._ears[0].getsockname()[1]
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0{self.word}")
        abstract.listen()
        self._ears.append(abstract)
        self._open, self._threads = True, []
        for ear in self._ears:
            ear.settimeout(0.2)
            self._threads.append(threading.Thread(target=self._hear, args=(ear,), daemon=True))
            self._threads[-1].start()
        self._before: dict[Path, dict] = {}

    def watch(self, folders: list[Path]) -> None:
        """These folders, the secret and the home must be the same afterwards."""
        self._before = {folder: _state(folder) for folder in (self.canary, self.home, *folders)}

    def _hear(self, ear: socket.socket) -> None:
        while self._open:
            try:
                if ear.type == socket.SOCK_DGRAM:
                    self.heard.append(f"datagram {ear.recvfrom(200)[0]!r}")
                    continue
                link, _ = ear.accept()
            except TimeoutError:
                continue
            link.settimeout(1)
            try:
                said = link.recv(200)
            except OSError:
                said = b""
            self.heard.append(f"a connection that says {said!r}")
        ear.close()

    @property
    def environment(self) -> dict[str, str]:
        """What the grader's process gets in addition."""
        return {"MG9_CANARY": self.secret, "HOME": str(self.home)}

    def sprung(self, out: Path) -> list[str]:
        """What was reached, changed or left behind; `out` is the folder of marks. Ends what still runs."""
        time.sleep(1.5)  # for what is still on its way, to the ears too
        found = [f"the listener heard {what}" for what in self.heard]
        for folder, before in self._before.items():
            now = _state(folder)
            changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            found += [f"{folder.name}/{name} was changed" for name in changed[:10]]
        packages = Path(sysconfig.get_paths()["purelib"])
        written = [p for name in PACKAGES for p in (packages / name).glob("__init__.py")]
        written += [p for name in PACKAGES for p in (packages / name).glob("__pycache__/__init__*")]
        written += packages.glob("*.pth")
        found += [f"{file} was written to" for file in written if self.word.encode() in file.read_bytes()]
        left = [p for folder in SHARED for p in Path(folder).glob(f"*{self.word}*")]
        left += Path("/tmp").glob(f"*/*{self.word}*")
        found += [f"{path} was left behind" for path in left[:10]]
        found += [f"process {text} still runs" for text in self._running()]
        for file in out.rglob("*"):
            if file.is_file() and not file.is_relative_to(out / "submitted"):
                content = file.read_bytes()
                found += [f"{file.relative_to(out)} holds the secret"] * (self.secret.encode() in content)
                found += [f"{file.relative_to(out)}: {_line(content)}" for _ in range(b"REACHED" in content)]
        return found

    def _running(self) -> list[str]:
        """Processes with the word in their command line, after a moment in which they may end."""
        for _ in range(20):
            there = {}
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if self.word.encode() in command:
                    there[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")[:80]
            if not there:
                return []
            time.sleep(0.1)
        for process in there:
            os.kill(process, signal.SIGKILL)
        return list(there.values())

    def close(self) -> None:
        """Stop listening."""
        self._open = False
        for ear in self._threads:
            ear.join()


def _listen() -> list[socket.socket]:
    """TCP and UDP on the same port of the loopback."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(tcp.getsockname())
    return [tcp, udp]


def _state(folder: Path) -> dict[str, tuple]:
    """Each file under `folder` with its size and time of change, without what Python compiles."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() and "__pycache__" not in path.parts
    }


def _line(content: bytes) -> str:
    at = content.index(b"REACHED")
    return content[at : at + 120].decode(errors="replace")
