"""nbgrader's settings, for `mg9-course` and for formgrader in a folder of marks (`grade` copies it there)."""

from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

c = get_config()  # noqa: F821  (nbgrader provides it)

# Instructors edit solutions/; what students get is generated from it.
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"


@pass_context
def as_text(context, source):
    """Markdown to HTML; HTML that is written in it stays text, so that no submission runs in formgrader."""
    pictures = context.get("cell", {}).get("attachments", {})
    renderer = IPythonRenderer(escape=True, allow_harmful_protocols=False, attachments=pictures)
    return MarkdownWithMath(renderer=renderer).render(source)


c.HTMLExporter.filters = {"markdown2html": as_text}
