"""What all workers share: imported once, by the server from which they are forked (server.py)."""

import atexit
import gc
import os

gc.set_threshold(100_000, 20, 20)  # as in cli.py

import pandas  # noqa: E402, F401  (checks import it where they need it)

import course.grader.execution  # noqa: E402, F401
import course.hidden  # noqa: E402, F401

gc.freeze()  # so that no worker copies these pages to look for garbage in them
server = os.getpid()
# It has nothing to tidy up, and takes a fifth of a second to forget its modules.
atexit.register(lambda: os.getpid() == server and os._exit(0))
