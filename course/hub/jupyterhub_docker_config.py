"""The course in containers: one for each user, from an image without solutions.

    jupyterhub --config course/hub/jupyterhub_docker_config.py

with dockerspawner, an authenticator of yours, and the proxy in Node; README.md has the images. In containers
all students are one Unix user, so an exchange folder could not tell them apart; ngshare, a service of the hub
that knows who asks, takes its place (README.md).
"""

import os

from course.hub import shared

IMAGE = os.environ.get("MG9_HUB_IMAGE", "mg9-student")
NETWORK = os.environ.get("MG9_HUB_NETWORK", "mg9")
STUDENTS = set(os.environ.get("MG9_HUB_STUDENTS", "").split())  # names
INSTRUCTORS = set(os.environ.get("MG9_HUB_INSTRUCTORS", "").split())

c = get_config()  # noqa: F821  (JupyterHub provides it)
shared.configure(c)

c.JupyterHub.authenticator_class = os.environ.get("MG9_HUB_AUTHENTICATOR", "pam")
c.Authenticator.allowed_users = STUDENTS | INSTRUCTORS
c.JupyterHub.spawner_class = "docker"
c.JupyterHub.hub_ip = "0.0.0.0"  # the containers' network reaches the hub, nobody else
c.DockerSpawner.image = IMAGE
c.DockerSpawner.network_name = NETWORK
c.DockerSpawner.remove = True
c.DockerSpawner.notebook_dir = "/home/jovyan"
c.DockerSpawner.volumes = {"mg9-home-{username}": "/home/jovyan"}
c.DockerSpawner.extra_host_config = {
    "pids_limit": 512,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}


def prepare(spawner) -> None:
    """Give instructors the image that has the course in it, with its extensions of nbgrader."""
    instructor = spawner.user.name in INSTRUCTORS
    chosen = shared.environment(instructor)
    del chosen["JUPYTER_CONFIG_PATH"]  # each image has its own in /etc/jupyter
    spawner.environment = dict(spawner.environment) | chosen
    if instructor:
        spawner.image = f"{IMAGE}-instructor"


c.Spawner.pre_spawn_hook = prepare
