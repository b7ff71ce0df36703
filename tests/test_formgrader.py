"""nbgrader's settings: what a person sees who marks by hand in formgrader, and how Validate runs."""

from __future__ import annotations

import os
import re

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension
from nbgrader.validator import Validator
from traitlets.config import PyFileConfigLoader

from course.grader.build import CONFIG

RUNS = "document.title='REACHED'"
ANSWERS = {
    "a script": f"<script>{RUNS}</script>",
    "a script in a block": f"<div>\n\n<script>\n{RUNS}\n</script>\n\n</div>",
    "an event": f'text <img src=x onerror="{RUNS}"> text',
    "a drawing": f'<svg onload="{RUNS}"></svg>',
    "a link": f"[press](javascript:{RUNS})",
    "a link in angles": f"<javascript:{RUNS}>",
    "a picture's name": f'![x" onerror="{RUNS}](y.png "z\\" onerror=\\"{RUNS}")',
    "mathematics": f"$a<img src=x onerror={RUNS}>$ and\n\n$$\n<script>{RUNS}</script>\n$$",
    "text in mathematics": rf"$\text{{<img/src=x onerror={RUNS}>}}$ $\text{{<script>{RUNS}</script>}}$",
    "an address in mathematics": rf"$\href{{javascript:{RUNS}}}{{x}}$ $\style{{background:url(x)}}{{y}}$",
    "a colour": rf"""$\color{{red" onclick="{RUNS}}}{{x}}$""",
    "a table": f"|a|\n|-|\n|<img src=x onerror={RUNS}>|",
    "a heading": f"# <iframe srcdoc='<script>{RUNS}</script>'>",
    "an attachment": "![x](attachment:a)",
}


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    """formgrader's own, as a server makes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_CONFIG_PATH", str(CONFIG.parent))
        patch.setenv("JUPYTER_PATH", "")
        patch.chdir(tmp_path_factory.mktemp("home"))
        formgrader = FormgradeExtension()
        formgrader.root_dir = os.getcwd()
        formgrader.initialize([])
        yield HTMLExporter(config=formgrader.config)


def shown(exporter, answer: str, **more: object) -> str:
    """The page of formgrader for one written answer."""
    marks = {"grade_id": "why", "grade": True, "solution": True, "locked": False, "points": 4, "task": False}
    cell = new_markdown_cell(answer, metadata={"nbgrader": marks | {"schema_version": 3}}, **more)
    kind = {"name": "python3", "display_name": "Python 3"}
    notebook = nbformat.from_dict(new_notebook(cells=[cell], metadata={"kernelspec": kind}))
    resources = {"student": "amira", "assignment_id": "waves", "notebook_id": "waves", "submission_id": "1"}
    resources |= {"base_url": "", "index": 0, "total": 1}
    return exporter.from_notebook_node(notebook, resources)[0]


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_runs_nothing_where_it_is_marked(exporter, kind):
    bundle = {"a": {f'image/png" onerror="{RUNS}': f'" onerror="{RUNS}'}}
    page = shown(exporter, ANSWERS[kind], **({"attachments": bundle} if "attachment" in kind else {}))
    text = re.sub(r"&lt;.*?&gt;", "", page, flags=re.DOTALL)
    tags = re.findall(r"<[a-z][^>]*>", text, flags=re.IGNORECASE)
    assert not [tag for tag in tags if re.search(r"\s(on\w+|style|href) *= *[\"']?(document|java|back)", tag)]
    assert "<script>document" not in page.replace("\n", "")
    assert not re.search("<(iframe|svg|img/)", page)


def test_markdown_itself_is_shown_as_such(exporter):
    page = shown(exporter, "**bold**, `a < b`, $x < y$\n\n- item\n\n| a |\n|---|\n| 1 |")
    for html in ("<strong>bold</strong>", "<code>a &lt; b</code>", "<li>", "<td>1</td>"):
        assert html in page


def test_formulas_are_drawn_without_a_script_from_elsewhere(exporter):
    page = shown(exporter, "inline $x < \\frac12$, broken $x_$, and\n\n$$\\sum_j \\mathbf v_j$$")
    assert page.count("<math ") == 2 and "<mfrac>" in page and "\U0001d42f" in page  # a bold v
    assert "$x_$" in page  # what is not TeX is shown as it is
    assert not re.findall(r"(?:src|href)=\"?https?://[^\"]*|import .* from '[^']*", page)


def test_validate_trains_as_little_as_grading(tmp_path, monkeypatch):
    """Also where a student's server has the full budget: else it takes minutes, in which nothing answers."""
    monkeypatch.setenv("MG9_BUDGET", "full")
    cells = []
    for budget in ("tiny", "full"):
        marks = {"grade_id": budget, "grade": True, "solution": False, "locked": False, "points": 1}
        source = f"import os\nassert os.environ['MG9_BUDGET'] == '{budget}'"
        cells.append(
            new_code_cell(source, metadata={"nbgrader": marks | {"task": False, "schema_version": 3}})
        )
    kind = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kind}), tmp_path / "x.ipynb")
    config = PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()
    failed = Validator(config=config).validate(str(tmp_path / "x.ipynb"))["failed"]
    assert [cell["source"].split("'")[-2] for cell in failed] == ["full"]
