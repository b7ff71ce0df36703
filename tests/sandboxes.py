"""Whether a sandbox can be made here. Where it cannot, tests that need one say so; in CI they fail."""

import os

import pytest

from course.grader.sandbox import NoSandbox, refuse_without_sandbox


def reason() -> str:
    """Why there is no sandbox, "" if there is one."""
    try:
        refuse_without_sandbox()
    except NoSandbox as error:
        return str(error)
    return ""


WHY_NOT = reason()
needs_sandbox = pytest.mark.skipif(
    bool(WHY_NOT) and not os.environ.get("CI"), reason=WHY_NOT or "there is one"
)
