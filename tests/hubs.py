"""Hubs for tests: what they need, how long one waits, and visitors who use no browser."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks.hub_visitor import Visitor
from course.hub.__main__ import why_not
from course.hub.running import Hub

PATIENCE = int(
    os.environ.get("MG9_PATIENCE", 240)
)  # seconds for one condition: other programs may be running
NO_HUB = why_not()
needs_root = pytest.mark.skipif(bool(NO_HUB), reason=NO_HUB or "there is one")


def visitor(hub: Hub, name: str) -> Visitor:
    """Somebody who has patience for one condition; `wait` renews it."""
    return Visitor(url=hub.url, name=name, password=hub.passwords[name], end=time.monotonic() + PATIENCE)


def at_work(hub: Hub, name: str) -> Visitor:
    """Somebody with a server that runs."""
    there = visitor(hub, name)
    there.login()
    there.wait_for_server()
    there.open_lab()
    there.end = time.monotonic() + PATIENCE
    return there
