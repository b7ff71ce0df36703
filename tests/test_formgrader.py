"""What a person sees who marks by hand: formgrader's own template, with the settings of a folder of marks."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config, PyFileConfigLoader

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
    "a table": f"|a|\n|-|\n|<img src=x onerror={RUNS}>|",
    "a heading": f"# <iframe srcdoc='<script>{RUNS}</script>'>",
    "an attachment": "![x](attachment:a)",
}


def shown(answer: str, **more: object) -> str:
    """The page of formgrader for one written answer."""
    marks = {"grade_id": "why", "grade": True, "solution": True, "locked": False, "points": 4, "task": False}
    cell = new_markdown_cell(answer, metadata={"nbgrader": marks | {"schema_version": 3}}, **more)
    config = PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()
    extra = {"template_name": "formgrade", "extra_template_basedirs": [handlers.template_path]}
    config.merge(Config({"HTMLExporter": extra}))
    kind = {"name": "python3", "display_name": "Python 3"}
    notebook = nbformat.from_dict(new_notebook(cells=[cell], metadata={"kernelspec": kind}))
    resources = {"student": "amira", "assignment_id": "waves", "notebook_id": "waves", "submission_id": "1"}
    page, _ = HTMLExporter(config=config).from_notebook_node(
        notebook, resources | {"base_url": "", "index": 0, "total": 1}
    )
    return page


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_runs_nothing_where_it_is_marked(kind):
    bundle = {"a": {f'image/png" onerror="{RUNS}': f'" onerror="{RUNS}'}}
    page = shown(ANSWERS[kind], **({"attachments": bundle} if "attachment" in kind else {}))
    text = re.sub(r"&lt;.*?&gt;", "", page, flags=re.DOTALL)
    tags = re.findall(r"<[a-z][^>]*>", text, flags=re.IGNORECASE)
    assert not [
        tag for tag in tags if re.search(r"\son\w+ *= *[\"']?document", tag) or "javascript:doc" in tag
    ]
    assert "<script>document" not in page.replace("\n", "") and "<iframe" not in page


def test_markdown_itself_is_shown_as_such():
    page = shown("**bold**, `a < b`, $x < y$\n\n- item\n\n| a |\n|---|\n| 1 |")
    for html in ("<strong>bold</strong>", "<code>a &lt; b</code>", "$x &lt; y$", "<li>", "<td>1</td>"):
        assert html in page
