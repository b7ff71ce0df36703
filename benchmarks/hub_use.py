"""Memory and processor time of a hub's processes: the hub's own, servers and kernels.

Read in order: `used`.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass
class Use:
    """What processes below the hub hold: proportional memory in bytes, and processor time in seconds."""

    servers: float = 0
    kernels: float = 0
    hub: float = 0
    processor: float = 0  # of servers and kernels since their start
    hub_processor: float = 0


def used(root: int) -> Use:
    """Memory and processor time of all below process `root`."""
    use = Use()
    for process in psutil.Process(root).children(recursive=True):
        try:
            memory, times = process.memory_full_info().pss, process.cpu_times()
            seconds = times.user + times.system + times.children_user + times.children_system
            kernel, user = "ipykernel_launcher" in process.cmdline(), user_of(process)
        except psutil.Error:
            continue
        if user:
            use.servers, use.kernels = use.servers + memory * (not kernel), use.kernels + memory * kernel
            use.processor += seconds
        else:
            use.hub, use.hub_processor = use.hub + memory, use.hub_processor + seconds
    return use


def user_of(process: psutil.Process) -> str:
    """Whose server or kernel it is; "" for the hub's own processes."""
    try:
        return process.environ().get("JUPYTERHUB_USER", "")
    except psutil.Error:
        return ""
