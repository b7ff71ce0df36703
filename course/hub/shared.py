"""What every hub of the course has, on one server as in containers: groups, limits, culling, roles.

Read in order: `configure`, `environment`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from traitlets.config import Config

SETTINGS = Path(__file__).with_name("settings")  # of Jupyter: one folder for students, one for instructors
CULL_AFTER = 3600  # seconds without activity, of the browser or of a kernel
LIMITS = {"mem_limit": "4G", "cpu_limit": 2.0}  # of one user; exercise 1 takes 1.5 GB


def configure(c: Config) -> None:
    """Set what does not depend on where servers run."""
    c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # behind a web server that speaks TLS
    c.Spawner.default_url = "/lab"
    c.Spawner.start_timeout = c.Spawner.http_timeout = 120
    c.Spawner.mem_limit, c.Spawner.cpu_limit = LIMITS["mem_limit"], LIMITS["cpu_limit"]
    c.JupyterHub.active_server_limit = 60
    c.JupyterHub.concurrent_spawn_limit = 10
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
        "JUPYTER_CONFIG_PATH": ":".join(map(str, folders)),
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    }
