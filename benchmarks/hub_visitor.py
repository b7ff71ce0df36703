"""Somebody who uses the hub without a browser: the requests that JupyterLab makes, each with a time limit.

Read in order: `Visitor.login`, `Visitor.open_lab`, `Visitor.assignment`, `Kernel.run`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from urllib.parse import quote

import requests
import websocket
from requests.cookies import get_cookie_header


class Refused(Exception):
    """The hub or a server answered with an error: its status and what a person would read."""


class KernelDied(Exception):
    """The kernel ended while a cell ran; the text is what its server says of it."""


class Visitor:
    """One user, from the login on; `end` is the moment (time.monotonic) at which all patience ends."""

    def __init__(self, *, url: str, name: str, password: str, end: float) -> None:
        self.url, self.name, self.password, self.end = url, name, password, end
        self.web = requests.Session()
        self.web.trust_env = False  # no proxy of this machine stands before the loopback

    def login(self) -> None:
        """Fill in the form of the login; what follows it asks for a server. Raises `Refused`."""
        self.ask("GET", "/hub/login")
        form = {"username": self.name, "password": self.password, "_xsrf": self._token("/hub/")}
        self.ask("POST", "/hub/login", data=form)

    def wait_for_server(self) -> list[str]:
        """Read what the page of the start reports, and return it. Raises `Refused` if the start failed."""
        says: list[str] = []
        answer = self.ask("GET", f"/hub/api/users/{self.name}/server/progress")
        for line in answer.text.splitlines():
            if line.startswith("data:"):
                event = json.loads(line.removeprefix("data:"))
                says.append(event.get("message", ""))
                if event.get("failed"):
                    raise Refused("; ".join(says))
                if event.get("ready"):
                    return says
        raise Refused(f"no server: {says}")

    def open_lab(self) -> None:
        """Load JupyterLab's page, which also logs in to the user's own server."""
        self.ask("GET", self.mine("lab"))

    def stop_server(self) -> None:
        """Stop it, and wait until it has."""
        address = f"/hub/api/users/{self.name}/server"
        while self.ask("DELETE", address).status_code == 202:
            self._pause()

    def mine(self, path: str) -> str:
        """The address of something on this user's server."""
        return f"/user/{self.name}/{path}"

    def assignment(self, action: str, name: str, course: str = "mg9") -> list[dict]:
        """Press a button of nbgrader's assignment list: "fetch" or "submit"; returns the list after it."""
        sent = {"course_id": course, "assignment_id": name}
        answer = self.ask("POST", self.mine(f"assignments/{action}"), data=sent).json()
        if not answer["success"]:
            raise Refused(f"{action} {name}: {answer['value']}")
        return answer["value"]

    def read(self, path: str, **options: str) -> dict | str:
        """The content of a file in the home."""
        return self.ask("GET", self.mine(f"api/contents/{quote(path)}"), params=options).json()["content"]

    def save(self, path: str, notebook: dict) -> None:
        """Save a notebook as JupyterLab does."""
        body = {"type": "notebook", "format": "json", "content": notebook}
        self.ask("PUT", self.mine(f"api/contents/{quote(path)}"), json=body)

    def kernel(self, path: str = "scratch.ipynb") -> Kernel:
        """A kernel as an opened notebook starts it."""
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        return Kernel(self, self.ask("POST", self.mine("api/sessions"), json=body).json()["kernel"]["id"])

    def ask(self, method: str, path: str, **more: object) -> requests.Response:
        """A request with this user's cookies. Raises `Refused`, and `requests.Timeout` at the end."""
        headers = {"Referer": f"{self.url}/hub/home"}
        for scope in ("/hub/", self.mine("")):
            if path.startswith(scope) and self._token(scope):
                headers["X-XSRFToken"] = self._token(scope)
        left = max(0.1, self.end - time.monotonic())
        answer = self.web.request(method, self.url + path, headers=headers, timeout=left, **more)
        if not answer.ok:
            raise Refused(f"{answer.status_code} {_words(answer)}")
        return answer

    def _token(self, scope: str) -> str | None:
        return self.web.cookies.get("_xsrf", path=scope)

    def _pause(self) -> None:
        if time.monotonic() > self.end:
            raise TimeoutError("the time is over")
        time.sleep(0.5)


class Kernel:
    """A kernel that is connected as a page connects it."""

    def __init__(self, visitor: Visitor, number: str) -> None:
        self.visitor, self.number, self.session = visitor, number, uuid.uuid4().hex
        address = visitor.url + visitor.mine(f"api/kernels/{number}/channels?session_id={self.session}")
        cookies = get_cookie_header(visitor.web.cookies, requests.Request("GET", address).prepare())
        left = max(0.1, visitor.end - time.monotonic())
        self.socket = websocket.create_connection(
            address.replace("http", "ws", 1), cookie=cookies, timeout=left, http_no_proxy=["*"]
        )
        self.run("")  # returns when the kernel is ready

    def run(self, code: str) -> str:
        """Run a cell; returns what it printed, its error at the end. Raises `KernelDied`."""
        sent = self._send("execute_request", code=code, silent=False, store_history=True, allow_stdin=False)
        printed: list[str] = []
        while True:
            self.socket.settimeout(max(0.1, self.visitor.end - time.monotonic()))
            message = json.loads(self.socket.recv())
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                raise KernelDied(content["execution_state"])
            if message["parent_header"].get("msg_id") != sent:
                continue
            if kind == "stream":
                printed.append(content["text"])
            elif kind == "error":
                printed.append(f"{content['ename']}: {content['evalue']}")
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(printed)

    def end(self) -> None:
        """Shut the kernel down."""
        self.socket.close()
        self.visitor.ask("DELETE", self.visitor.mine(f"api/kernels/{self.number}"))

    def restart(self) -> None:
        """What the button does."""
        self.visitor.ask("POST", self.visitor.mine(f"api/kernels/{self.number}/restart"))

    def _send(self, kind: str, **content: object) -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session, "username": ""}
        header |= {"version": "5.3", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
        return header["msg_id"]


def _words(answer: requests.Response) -> str:
    """What a person reads: the message, or the text of the page without its scripts and tags."""
    try:
        return str(answer.json().get("message") or answer.json())
    except ValueError:
        text = re.sub(r"(?s)<(script|style|head|nav)\b.*?</\1>|<[^>]*>", " ", answer.text)
        return " ".join(text.split())[:500]
