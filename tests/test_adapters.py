"""The right and wrong code of the checks' tests once more, as the grader asks it: from a kernel in a sandbox.

What the tests of the checks hold `Local` to, these hold `Remote` to. The code goes into the kernel as a cell.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import test_checks
import test_magpie_checks
from sandboxes import needs_sandbox

from course.grader.kernel import Kernel
from course.grader.remote import Remote
from course.grader.sandbox import Limits, Place
from mg9.checks import CheckFailed, find

pytestmark = needs_sandbox
MODULES = {"cgcnn": test_checks, "magpie": test_magpie_checks}
CASES = [
    pytest.param(topic, name, thing.__name__, says, id=f"{name}-{thing.__name__}")
    for topic, module in MODULES.items()
    for name, thing, says in [*((n, t, None) for n, t in module.RIGHT), *module.WRONG]
]


def definitions(file: Path) -> str:
    """The functions and classes of a test module, without the tests and without what students do not have."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kept = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = ast.unparse(node).split()[1].partition(".")[0]
            if module not in ("course", "pytest", "across", "test_checks"):
                kept.append(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("test_"):
            node.decorator_list = []
            kept.append(node)
    return ast.unparse(ast.Module(kept, []))


@pytest.fixture(scope="module")
def students():
    """A kernel for each topic that knows its right and wrong code."""
    kernels = {}
    try:
        for topic, module in MODULES.items():
            kernels[topic] = Kernel(Limits(), Place(), ("torch", "mg9.checks"))
            kernels[topic].wait(120)
            status, outputs = kernels[topic].execute(definitions(Path(module.__file__)), 120)
            assert status == "ok", outputs
        yield {topic: Remote(kernel, "full", lambda: 60) for topic, kernel in kernels.items()}
    finally:
        for kernel in kernels.values():
            kernel.close()


@pytest.mark.parametrize(("topic", "name", "thing", "says"), CASES)
def test_the_grader_sees_what_the_notebook_sees(students, topic, name, thing, says):
    check, student = find(name), students[topic]

    def hold() -> str:
        return check.function(student, np.random.default_rng(0), student.object(thing))

    if says is None:
        assert hold()
        return
    with pytest.raises(CheckFailed) as caught:
        hold()
    message = str(caught.value.told_by(check))
    assert re.search(says, message), message


PARTS = ("graph.displacements", "graph.shells", "atoms.one_hot", "edges.gaussian", "convolution.sum")
PARTS += ("readout.mean",)


@pytest.mark.parametrize("name", test_checks.SYMMETRIES)
def test_a_network_is_put_together_from_parts_in_another_process(students, name):
    student, written = students["cgcnn"], dict(reversed(test_checks.RIGHT))
    parts = [written[check].__name__ for check in PARTS]
    hold = find(name).function
    assert hold(student, np.random.default_rng(0), *map(student.object, parts))
    parts[0] = "without_images"
    with pytest.raises(CheckFailed, match="changed the energy"):
        hold(student, np.random.default_rng(0), *map(student.object, parts))


def test_what_a_function_raises_comes_with_the_students_line(students):
    with pytest.raises(CheckFailed, match="raises_in_a_helper raised RuntimeError") as caught:
        find("atoms.one_hot").function(
            students["cgcnn"], None, students["cgcnn"].object("raises_in_a_helper")
        )
    assert any("a_helper" in line and "reshape(7, 7)" in line for line in caught.value.student_lines)


def test_a_name_that_does_not_exist_is_told(students):
    with pytest.raises(CheckFailed, match="nowhere does not exist"):
        students["cgcnn"].object("nowhere")
