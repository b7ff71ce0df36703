"""The kernel that the grader starts inside the sandbox: it answers the five verbs for the student's objects.

`main` (`python -m mg9.checks.agent -f CONNECTION_FILE`) is an IPython kernel that knows one more message,
"mg9_request". The request names a verb and holds encoded values; the reply holds an encoded value, or in
words what went wrong. Once a student's cell has run, this process is not to be trusted: all that it says is
data, and what is judged is judged elsewhere.

Read in order: `Agent` (the verbs), `main` (the kernel around it).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from mg9.checks import CheckFailed, Local, Raised, Refused, wire


class Agent:
    """Answers requests about the objects of one namespace."""

    def __init__(self, namespace: Callable[[], dict[str, Any]]) -> None:
        self.namespace, self.kept, self.local = namespace, [], Local()

    def answer(self, request: dict, buffers: list) -> tuple[dict, list[bytes]]:
        """The reply to one request: {"value": tree}, or {"failure": {...}} with texts."""
        try:
            values = wire.decode(request["values"], buffers, self._fetch)
            result = getattr(self, f"_{request['verb']}")(*values)
            tree, out = wire.encode(result, self._keep)
            return {"value": tree}, out
        except wire.CannotCross as error:
            failure: CheckFailed = Refused(str(error))
        except CheckFailed as error:
            failure = error
        except KeyboardInterrupt:
            failure = Raised("it took too long and was stopped")
        except BaseException as error:
            failure = Raised(f"the student's process raised {type(error).__name__}: {error}")
        texts = {"state": failure.state, "what": failure.what, "lines": failure.student_lines}
        for name in ("expected", "got"):
            value = getattr(failure, name)
            texts[name] = None if value is None else str(value)
        return {"failure": texts}, []

    def _keep(self, thing: Any) -> wire.Handle:
        self.kept.append(thing)
        title = getattr(thing, "__name__", type(thing).__name__)
        return wire.Handle(len(self.kept) - 1, str(title))

    def _fetch(self, handle: wire.Handle) -> Any:
        return self.kept[handle.number]

    def _object(self, name: str) -> Any:
        """An object by its name: a value as a copy, what can be called as a handle."""
        names = self.namespace()
        if name not in names:
            raise Raised(f"{name} does not exist")
        return self._keep(names[name]) if callable(names[name]) else names[name]

    def _call(self, f: Any, *values: Any) -> Any:
        return self.local.call(f, *values)

    def _make(self, cls: Any, seed: int, dtype: str, arguments: dict) -> Any:
        import torch

        return self._keep(self.local.make(cls, seed, getattr(torch, dtype), **arguments))

    def _state(self, module: Any) -> Any:
        return self.local.state(module)

    def _load(self, module: Any, state: dict) -> None:
        self.local.load(module, state)

    def _vjp(self, f: Any, values: tuple, cotangent: Any) -> Any:
        return self.local.vjp(f, values, cotangent)


def main() -> None:
    """Import what the assignment imports, then serve."""
    # Nobody debugs here, and importing the debugger takes a seventh of a kernel's start.
    sys.modules["debugpy"] = None
    import ipykernel.debugger  # noqa: F401

    del sys.modules["debugpy"]
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp
    from traitlets import Type

    for module in json.loads(os.environ.pop("MG9_PRELOAD", "[]")):
        try:
            importlib.import_module(module)
        except ImportError:
            pass  # a name from a module, or one that is masked: the student's own import says what is wrong

    class AgentKernel(IPythonKernel):
        def __init__(self, **traits: Any) -> None:
            super().__init__(**traits)
            agent = Agent(lambda: self.shell.user_ns)

            async def answer(stream: Any, ident: Any, parent: dict) -> None:
                content, buffers = agent.answer(parent["content"], parent["buffers"])
                self.session.send(stream, "mg9_reply", content, parent, ident=ident, buffers=buffers)

            self.shell_handlers["mg9_request"] = answer

    class AgentApp(IPKernelApp):
        kernel_class = Type(AgentKernel, klass=AgentKernel)

    app = AgentApp.instance()
    app.initialize(sys.argv[1:])
    gc.freeze()  # what is here by now need not be looked at while the student's cells run
    gc.enable()  # the grader turns it off before the first import
    app.start()


if __name__ == "__main__":
    main()
