"""What all workers share: imported once, by the server from which they are forked."""

import gc

gc.set_threshold(100_000, 20, 20)  # as in cli.py

import pandas  # noqa: E402, F401  (checks import it where they need it)

import course.grader.execution  # noqa: E402, F401
import course.hidden  # noqa: E402, F401

gc.freeze()  # so that no worker copies these pages to look for garbage in them
