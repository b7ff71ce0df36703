"""One server with system users: whoever is in the Unix group of students or of instructors may log in.

    jupyterhub --config course/hub/jupyterhub_config.py

as root, in the environment in which `pip install -e '.[course,hub]'` was run; README.md has the steps before
that. What differs from server to server stands in the first lines.
"""

import grp
import os
import pwd
import sys
from pathlib import Path

from course.hub import shared

STUDENTS = os.environ.get("MG9_HUB_STUDENTS", "mg9-students")  # Unix groups
INSTRUCTORS = os.environ.get("MG9_HUB_INSTRUCTORS", "mg9-instructors")
# Readable by students, unlike the folder of this file, which has hidden checks beside it.
SETTINGS = Path(os.environ.get("MG9_HUB_SETTINGS", "/srv/mg9/settings"))
# What servers and kernels find each other by; in a home that is full no kernel would start.
RUNTIME = Path(os.environ.get("MG9_HUB_RUNTIME", "/srv/mg9/runtime"))
COURSE = "unit9"  # an instructor's clone of the course, in the home
PYTHON = Path(os.environ.get("MG9_HUB_PYTHON", sys.prefix))  # the environment of students' servers

c = get_config()  # noqa: F821  (JupyterHub provides it)
shared.configure(c)

c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {STUDENTS, INSTRUCTORS}
c.PAMAuthenticator.open_sessions = False
c.JupyterHub.spawner_class = "course.hub.spawner.LimitedSpawner"
c.LimitedSpawner.process_limit = shared.PROCESSES


def prepare(spawner) -> None:
    """Close the home to others, and choose the settings of students or of instructors."""
    name = spawner.user.name
    os.chmod(os.path.expanduser(f"~{name}"), 0o700)
    runtime, user = RUNTIME / name, pwd.getpwnam(name)
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(runtime, user.pw_uid, user.pw_gid)
    instructor = grp.getgrnam(INSTRUCTORS).gr_gid in os.getgrouplist(name, user.pw_gid)
    chosen, programs = shared.environment(instructor, SETTINGS, SETTINGS / "all"), PYTHON / "bin"
    if instructor:
        course = Path(os.path.expanduser(f"~{name}"), COURSE)
        chosen["PYTHONPATH"] = str(course)
        own = course / ".venv" / "bin"
        programs = own if (own / "jupyterhub-singleuser").exists() else programs
    spawner.cmd = [str(programs / "jupyterhub-singleuser")]
    chosen["PATH"] = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    chosen["JUPYTER_RUNTIME_DIR"] = str(runtime)
    spawner.environment = dict(spawner.environment) | chosen


c.Spawner.pre_spawn_hook = prepare
