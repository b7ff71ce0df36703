"""nbgrader's settings, for `mg9-course` and for formgrader in a folder of marks (`grade` copies it there)."""

import os
from importlib.util import find_spec

from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

c = get_config()  # noqa: F821  (nbgrader provides it)

# Instructors edit solutions/; what students get is generated from it.
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# The exchange is where the hub hands out and takes in (course/hub).
c.CourseDirectory.course_id = "mg9"
course = find_spec("course")  # instructors'; students have nbgrader's own alone
if course and not course.origin:  # their package has a folder of that name, with notes and figures
    course = None
if ngshare := os.environ.get("MG9_NGSHARE"):  # in containers
    from ngshare_exchange import configureExchange

    configureExchange(c, ngshare)
else:
    c.Exchange.root = os.environ.get("MG9_EXCHANGE", "/srv/mg9/exchange")
    if course:
        c.ExchangeFactory.collect = "course.grader.exchange.Collect"

# Validate runs the notebook in one request, in which the student's server answers nothing else: with the tiny
# budget, as grading does. Seconds are of one cell.
c.Execute.timeout = 900
c.Execute.extra_arguments = ["--IPKernelApp.exec_lines=import os; os.environ['MG9_BUDGET'] = 'tiny'"]

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"


class Renderer(IPythonRenderer):
    """Formulas become MathML: formgrader would fetch MathJax from the internet."""

    def block_math(self, body):
        return (course and mathml_of_others(body, "block")) or super().block_math(body)

    def inline_math(self, body):
        return (course and mathml_of_others(body, "inline")) or super().inline_math(body)


@pass_context
def as_text(context, source):
    """Markdown to HTML; HTML that is written in it stays text, so that no submission runs in formgrader."""
    pictures = context.get("cell", {}).get("attachments", {})
    renderer = Renderer(escape=True, allow_harmful_protocols=False, attachments=pictures)
    return MarkdownWithMath(renderer=renderer).render(source)


c.HTMLExporter.filters = {"markdown2html": as_text}
if course:
    from course.formulas import mathml_of_others

    # Where nbconvert finds a macro that loads no script, before its own.
    ours = f"{course.submodule_search_locations[0]}/formgrader"
    if ours not in (known := os.environ.get("JUPYTER_PATH", "")).split(os.pathsep):
        os.environ["JUPYTER_PATH"] = f"{ours}{os.pathsep}{known}".rstrip(os.pathsep)
