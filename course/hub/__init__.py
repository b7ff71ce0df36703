"""The course in JupyterHub: README.md says how; `python -m course.hub` (`make hub`) starts one to try.

Read in order: shared.py (what every hub of the course has), jupyterhub_config.py (one server),
jupyterhub_docker_config.py (containers), spawner.py, then `__main__.py` and room.py (the hub to try).
"""
