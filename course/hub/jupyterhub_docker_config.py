"""The course in containers: one for each user, from an image without solutions.

    jupyterhub --config course/hub/jupyterhub_docker_config.py

with dockerspawner, an authenticator of yours, and the proxy in Node; README.md has the images. In containers
all students are one Unix user, so an exchange folder could not tell them apart; ngshare, a service of the hub
that knows who asks, takes its place (README.md).
"""

import os

from course.hub import shared

IMAGES = os.environ.get("MG9_HUB_IMAGES", "mg9")  # and -student or -instructor
NETWORK = os.environ.get("MG9_HUB_NETWORK", "mg9")
ADDRESS = os.environ.get("MG9_HUB_ADDRESS", "172.30.9.1")  # the host's in that network
# ngshare with its own environment in .venv (it needs an older SQLAlchemy), and what is handed out and in.
FILES = os.environ.get("MG9_HUB_FILES", "/srv/mg9/ngshare")
STUDENTS = set(os.environ.get("MG9_HUB_STUDENTS", "").split())  # names
INSTRUCTORS = set(os.environ.get("MG9_HUB_INSTRUCTORS", "").split())
NGSHARE = f"http://{ADDRESS}:8080"
SHARES = "access:services!service=ngshare"

c = get_config()  # noqa: F821  (JupyterHub provides it)
shared.configure(c)

c.JupyterHub.authenticator_class = os.environ.get("MG9_HUB_AUTHENTICATOR", "pam")
c.Authenticator.allowed_users = STUDENTS | INSTRUCTORS
c.JupyterHub.spawner_class = "docker"
c.JupyterHub.hub_ip = ADDRESS  # the containers' network reaches the hub, nobody else
c.DockerSpawner.image = f"{IMAGES}-student"
c.DockerSpawner.network_name = NETWORK
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.remove = True
c.DockerSpawner.notebook_dir = "/home/jovyan"
c.DockerSpawner.volumes = {"mg9-home-{username}": "/home/jovyan"}
c.DockerSpawner.extra_host_config = {
    "pids_limit": shared.PROCESSES,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}

store = ["--database", f"sqlite:///{FILES}/ngshare.db", "--storage", f"{FILES}/files"]
command = [f"{FILES}/.venv/bin/python", "-m", "ngshare", "--admins", ",".join(sorted(INSTRUCTORS)), *store]
c.JupyterHub.services.append({"name": "ngshare", "url": NGSHARE, "command": command})
c.JupyterHub.load_roles.append({"name": "user", "scopes": ["self", SHARES]})
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", SHARES]


def prepare(spawner) -> None:
    """Give instructors the image that has the course in it, with its extensions of nbgrader."""
    instructor = spawner.user.name in INSTRUCTORS
    chosen = shared.environment(instructor) | {"MG9_NGSHARE": f"{NGSHARE}/services/ngshare"}
    del chosen["JUPYTER_CONFIG_PATH"]  # each image has its own
    chosen["PYTHONSTARTUP"] = "/etc/mg9/kernel_first.py"
    spawner.environment = dict(spawner.environment) | chosen
    if instructor:
        spawner.image = f"{IMAGES}-instructor"


c.Spawner.pre_spawn_hook = prepare
