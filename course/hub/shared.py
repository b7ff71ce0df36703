"""What every hub of the course has, on one server as in containers: groups, limits, culling, roles.

Read in order: `configure`, `environment`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from traitlets.config import Config

SETTINGS = Path(__file__).with_name("settings")  # of Jupyter: one folder for students, one for instructors
# Of one user; exercise 1 takes 1.5 GB.
MEMORY = os.environ.get("MG9_HUB_MEMORY", "4G")
CORES = float(os.environ.get("MG9_HUB_CORES", 2))
PROCESSES = int(os.environ.get("MG9_HUB_PROCESSES", 512))  # and threads
# Of all: servers at a time, and seconds without activity, of the browser or of a kernel.
SERVERS = int(os.environ.get("MG9_HUB_SERVERS", 60))
CULL_AFTER = int(os.environ.get("MG9_HUB_CULL_AFTER", 3600))
REPORT_EVERY = max(1, min(300, CULL_AFTER // 4))  # seconds; who reports too seldom would seem idle
START_TIMEOUT = 300  # seconds; in a class that logs in at once each start waits for the others'


def configure(c: Config) -> None:
    """Set what does not depend on where servers run."""
    c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # behind a web server that speaks TLS
    c.Spawner.default_url = "/lab"
    c.Spawner.start_timeout = c.Spawner.http_timeout = START_TIMEOUT
    c.Spawner.mem_limit, c.Spawner.cpu_limit = MEMORY, CORES
    c.JupyterHub.active_server_limit = SERVERS
    # A lower limit does not queue: whoever logs in while so many start reads an error and has to try again.
    c.JupyterHub.concurrent_spawn_limit = SERVERS
    c.JupyterHub.last_activity_interval = REPORT_EVERY
    c.JupyterHub.activity_resolution = min(30, REPORT_EVERY)
    culler = [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={CULL_AFTER}"]
    c.JupyterHub.services = [{"name": "idle-culler", "command": culler}]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    c.JupyterHub.load_roles = [{"name": "idle-culler", "scopes": scopes, "services": ["idle-culler"]}]


def environment(instructor: bool, settings: Path = SETTINGS, shared: Path | None = None) -> dict[str, str]:
    """Variables of a user's server: which extensions of nbgrader are on, and one thread a process.

    Students have the assignment list and Validate; formgrader and Create Assignment are instructors'. Nothing
    rests on that: whoever turns them on for himself finds no gradebook that he may read.
    """
    folders = [settings / ("instructors" if instructor else "students"), *([shared] if shared else [])]
    return {
        "PYTHONSTARTUP": str((shared or settings / "all") / "kernel_first.py"),
        "JUPYTER_CONFIG_PATH": ":".join(map(str, folders)),
        "JUPYTERHUB_ACTIVITY_INTERVAL": str(REPORT_EVERY),
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    }
