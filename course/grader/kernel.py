"""Talking to one kernel in a sandbox: run a cell, ask a verb. Whatever comes back is data.

Jupyter's own messages over Unix sockets. The sockets lie in the sandbox's own memory file system and are
reached through /proc, so that there is neither a network nor a shared folder. They are opened before the
student's first cell runs, and never again. The size of a message is limited, and so is what is kept of it.

Read in order: `Kernel`, its `execute` and `ask`, then `_converse` (one request and its reply, with limits).
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.session import Session
from nbformat import NotebookNode

from mg9.checks import CheckFailed, Raised, Refused, WrongKind, wire

from .outputs import Outputs, plain
from .sandbox import Bare, Limits, Place, Sandbox

CHANNELS = {"shell": 1, "iopub": 2, "stdin": 3, "hb": 4, "control": 5}
LARGEST = {
    "shell": wire.MOST_BYTES + 16_000_000,
    "iopub": 32_000_000,
    "control": 1_000_000,
}  # bytes of a part
LARGEST_JSON = 16_000_000  # bytes; JSON may take thirty times as much memory, what a check asks for a few MB
REFUSED = b'{"failure": {"state": "refused", "what": "what came back is too long: return arrays or tensors"}}'
GRACE, TOLD = 5.0, 3  # seconds to stop when told to, and how often it is told
FLOOD = 1_500_000_000  # bytes by which a flood of messages may let the grader grow
# Nothing that is imported is garbage, and looking for it takes a tenth of the start.
PROGRAM = "import gc; gc.disable(); from mg9.checks.agent import main; main()"
OPTIONS = ["--HistoryManager.hist_file=:memory:", "--log-level=50"]


class Dead(RuntimeError):
    """The student's process has ended, or does not stop when it is told to; says why."""


class Unheard(TimeoutError):
    """It has answered, and its outputs do not come yet."""


class TimeUp(CheckFailed):
    """A call took longer than it may."""

    state = "time"


class Kernel:
    """One kernel, starting. It serves one submission and is thrown away."""

    def __init__(self, limits: Limits, place: Place, modules: tuple[str, ...], *, bare: bool = False) -> None:
        self.session = Session(key=secrets.token_hex(32).encode(), signature_scheme="hmac-sha256")
        start = Bare if bare else Sandbox
        variables = (*place.variables, ("MG9_PRELOAD", json.dumps(modules)))
        connection = {f"{name}_port": port for name, port in CHANNELS.items()}
        connection |= {"transport": "ipc", "ip": f"{start.KERNEL}/k", "key": self.session.key.decode()}
        file = f"{start.KERNEL}/connection.json"
        program = [sys.executable, "-c", PROGRAM, "-f", file, *OPTIONS]
        place = replace(place, variables=variables)
        self.sandbox = start(program, limits, place, {file: json.dumps(connection)})
        self.sockets: dict[str, zmq.Socket] = {}
        self.spent = 0.0  # seconds, as `counted` counts them

    def wait(self, seconds: float) -> None:
        """Return when it can run cells. Raises `Dead`."""
        until = time.monotonic() + seconds
        files = [Path(f"{self.sandbox.kernel}/k-{port}") for port in CHANNELS.values()]
        while time.monotonic() < until:
            if not self.sandbox.alive():
                printed = self.sandbox.printed.decode("utf-8", "replace").strip().splitlines()
                raise Dead(f"the kernel did not start: {' '.join(printed[-1:]) or self.sandbox.end()}")
            if not all(file.exists() for file in files):
                time.sleep(0.02)
                continue
            if not self.sockets:
                self._connect()
            try:
                self._converse("kernel_info_request", {}, [], 1.0, lambda message: None, patient=False)
                return
            except Unheard:
                continue  # it sent them before it knew that somebody listens: ask again
            except TimeoutError:
                self._disconnect()  # a socket was there and nobody listened yet
        raise Dead(f"the kernel was not ready after {seconds:.0f} s")

    def execute(self, code: str, seconds: float) -> tuple[str, list[NotebookNode]]:
        """Run a cell: ("ok", "error" or "time", its outputs as they may be kept). Raises `Dead`."""
        outputs = Outputs()
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": False, "stop_on_error": False}
        try:
            reply, stopped = self._converse("execute_request", content, [], seconds, outputs.add)
        except Dead as end:
            end.outputs = outputs.kept()
            raise
        status = "ok" if reply["content"].get("status") == "ok" else "error"
        if status == "error":
            outputs.need_error(reply["content"])
        return ("time" if stopped and status == "error" else status), outputs.kept()

    def ask(self, verb: str, *values: Any, seconds: float) -> Any:
        """The answer to a verb of `mg9.checks.agent`, as a new value. Raises `CheckFailed` and `Dead`."""
        tree, buffers = wire.encode(values)
        request = {"verb": verb, "values": tree}
        reply, stopped = self._converse("mg9_request", request, buffers, seconds, lambda message: None)
        if stopped:
            raise TimeUp(f"it was stopped after {seconds:.0f} s", cause="")
        content = reply["content"]
        if isinstance(content.get("failure"), dict):
            raise _failure(content["failure"])
        try:
            return wire.decode(content.get("value"), reply["buffers"])
        except wire.CannotCross as error:
            raise Refused(str(error)) from None

    def close(self) -> None:
        """End it."""
        self._disconnect()
        self.sandbox.kill()

    def _connect(self) -> None:
        for name in ("shell", "iopub", "control"):
            socket = zmq.Context.instance().socket(zmq.SUB if name == "iopub" else zmq.DEALER)
            socket.linger, socket.maxmsgsize, socket.rcvhwm = 0, LARGEST[name], 100
            socket.reconnect_ivl = -1  # the student could put another socket in this place
            socket.sndtimeo = 5000  # ms; without a connection, sending would wait for ever
            if name == "iopub":
                socket.subscribe(b"")
            socket.connect(f"ipc://{self.sandbox.kernel}/k-{CHANNELS[name]}")
            self.sockets[name] = socket

    def _disconnect(self) -> None:
        for socket in self.sockets.values():
            socket.close()
        self.sockets.clear()

    def _converse(
        self,
        kind: str,
        content: dict,
        buffers: list[bytes],
        seconds: float,
        output: Callable[[dict], None],
        *,
        patient: bool = True,
    ) -> tuple[dict, bool]:
        """(the reply, whether it had to be interrupted) to one request; outputs go to `output`.

        Raises `Dead`; if it is not to be interrupted (not `patient`), `TimeoutError` when the time is over,
        and `Unheard` soon after a reply without outputs.
        """
        shell, iopub = self.sockets["shell"], self.sockets["iopub"]
        request = self._send("shell", kind, content, buffers)
        poller = zmq.Poller()
        poller.register(shell, zmq.POLLIN)
        poller.register(iopub, zmq.POLLIN)
        memory, began, cpu = _memory(), time.monotonic(), self.sandbox.cpu_seconds()
        reply, told, until, idle = None, 0, began + seconds, False
        try:
            while reply is None or not idle:
                for socket, _ in poller.poll(50):
                    message = self._receive(socket)
                    if not message or message["parent_header"].get("msg_id") != request:
                        continue
                    if socket is shell:
                        more = 1.0 if patient else 0.1  # seconds for outputs that are under way
                        reply, until = message, time.monotonic() + more
                    elif message["msg_type"] == "status":
                        idle = message["content"].get("execution_state") == "idle"
                    else:
                        output(message)
                late = time.monotonic() > until
                if reply is not None and late:
                    if not patient:
                        raise Unheard
                    break
                if _memory() - memory > FLOOD:
                    raise Dead("it flooded the grader with output")
                if reply is None and not self.sandbox.alive():
                    raise Dead(self.sandbox.end())
                if late and not patient:
                    raise TimeoutError
                if late and not told:
                    spent = counted(time.monotonic() - began, self.sandbox.cpu_seconds() - cpu)
                    until += max(seconds - spent, 0.0)
                    late = time.monotonic() > until
                if late and told == TOLD:
                    raise Dead(f"it did not stop when its time was over ({seconds:.0f} s)")
                if late:
                    self._send("control", "interrupt_request", {})
                    told, until = told + 1, time.monotonic() + GRACE
        finally:
            spent = counted(time.monotonic() - began, self.sandbox.cpu_seconds() - cpu)
            self.spent += max(spent, seconds) if told else spent
        return reply, told > 0

    def _send(self, channel: str, kind: str, content: dict, buffers: list[bytes] | None = None) -> str:
        """Send one message; returns its id. Raises `Dead` if the student's process has broken the line."""
        try:
            return self.session.send(self.sockets[channel], kind, content, buffers=buffers)["header"][
                "msg_id"
            ]
        except zmq.Again:
            raise Dead("its connection to the grader was broken") from None

    def _receive(self, socket: zmq.Socket) -> dict | None:
        """One message of the kernel; None for what is no message of Jupyter's."""
        try:
            _, parts = self.session.feed_identities(socket.recv_multipart(zmq.NOBLOCK))
            if sum(map(len, parts[1:5])) > LARGEST_JSON:  # header, parent, metadata, content
                parts[3:5] = b"{}", REFUSED
                parts[0] = self.session.sign(parts[1:5])
            message = self.session.deserialize(parts)
            known = isinstance(message["content"], dict) and isinstance(message["parent_header"], dict)
            return message if known else None
        except Exception:  # whatever a student's process sends, it is not this process that stumbles
            return None


def counted(wall: float, cpu: float) -> float:
    """The seconds that count: a process that computes on a busy machine is not charged for waiting, up to
    five times; one that sleeps is."""
    return wall if cpu < 0.05 * wall else min(wall, max(cpu, wall / 5))


def _failure(told: dict) -> CheckFailed:
    """What the student's process says went wrong: texts, of limited length."""

    def text(name: str, most: int) -> str:
        return plain(told.get(name, ""))[:most]

    kind = {"error": Raised, "refused": Refused}.get(told.get("state"), WrongKind)
    failure = kind(text("what", 1000))
    if told.get("expected") is not None:
        failure.expected, failure.got = text("expected", 500), text("got", 500)
    lines = told.get("lines")
    failure.student_lines = [plain(line)[:200] for line in lines[:3]] if isinstance(lines, list) else []
    return failure


def _memory() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0
