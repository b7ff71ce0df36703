"""The site's pages as sources for Sphinx: copies of notebooks, and what is made from the registry.

Read in order: `write` (all of them), `lecture`, `syllabus`.
"""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course import registry
from course.site import reference

INDEX = """# Materials Genomics Unit 9

Graph neural networks for crystals, as notebooks that run: the lectures with their outputs, the exercises as
students get them, the syllabus with the map of all slides, the notation, and the package `mg9`.

- **Students** begin with [Start here](start.ipynb), then the [first lecture](lectures/A_context.ipynb) and
  the [first exercise](exercises/cgcnn.ipynb).
- **Looking for a slide?** The [syllabus](syllabus.md) says where each slide's code, lecture and exercise are.
- **Looking for a symbol or a name?** [Notation](notation.md) has the one alphabet of the course.
"""
TOCTREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{entries}
```
"""


def write(root: Path, source: Path) -> None:
    """Write the sources of all pages into the folder `source`, which is emptied."""
    shutil.rmtree(source, ignore_errors=True)
    for folder in ("lectures", "exercises", "api", "course"):
        (source / folder).mkdir(parents=True)
    shutil.copytree(root / "course" / "figures", source / "course" / "figures")
    notebooks = {file: source / "lectures" / file.name for file in root.glob("lectures/*.ipynb")}
    notebooks |= {file: source / "exercises" / file.name for file in root.glob("exercises/*/*.ipynb")}
    for file, copy in (notebooks | {root / "start.ipynb": source / "start.ipynb"}).items():
        notebook = nbformat.read(file, as_version=4)
        notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
        nbformat.write(lecture(notebook) if "lectures" in copy.parts else notebook, copy)
    shutil.copy(root / "course" / "notation.md", source)
    (source / "syllabus.md").write_text(syllabus(), encoding="utf-8")
    modules = reference.modules(root / "mg9")
    for name, file in modules.items():
        (source / "api" / f"{name}.md").write_text(reference.page(name, file), encoding="utf-8")
    parts = {
        "The course": ["start", "syllabus", "notation"],
        "Lectures": [f"lectures/{file.stem}" for file in sorted(source.glob("lectures/*.ipynb"))],
        "Exercises": [f"exercises/{file.stem}" for file in sorted(source.glob("exercises/*.ipynb"))],
        "The package mg9": [f"api/{name}" for name in modules],
    }
    trees = "".join(TOCTREE.format(caption=name, entries="\n".join(of)) for name, of in parts.items())
    (source / "index.md").write_text(INDEX + trees, encoding="utf-8")


def lecture(notebook: NotebookNode) -> NotebookNode:
    """The lecture with an anchor before the heading of each slide, "slide-21", diagrams in words, and the
    pictures' own descriptions."""
    for cell in notebook.cells:
        told = [
            output.get("metadata", {}).get("image/png", {}).get("alt") for output in cell.get("outputs", ())
        ]
        if any(told):
            cell.metadata["mystnb"] = {"image": {"alt": next(filter(None, told))}}
        if cell.cell_type == "markdown":
            text = re.sub(r"(?m)^(#+ (\d\d) )", r'<span id="slide-\2"></span>\n\n\1', cell.source)
            cell.source = re.sub(r"```mermaid\n(.*?)```", lambda found: in_words(found[1]), text, flags=re.S)
    return notebook


def in_words(diagram: str) -> str:
    """A Mermaid flow chart, which JupyterLab draws, as a list of its arrows: its script is not shipped."""
    called = dict(re.findall(r'(\w+)(?:\[|\(\()"?([^\]")]+)"?(?:\]|\)\))', diagram))
    lines = [f"{title}:\n" for title in re.findall(r"accTitle: (.*)", diagram)]
    for line in diagram.splitlines():
        start, _, end = line.partition("-->")
        note = re.search(r'-- "(.*?)" |^\|(.*?)\|', f"{start}\n{end}", flags=re.M)
        ends = re.match(r"\s*(\w+)", start), re.match(r"\s*(\w+)", re.sub(r"^\|.*?\|", "", end))
        if all(ends):
            one, other = (called.get(found[1], found[1]) for found in ends)
            lines.append(f"- {one} → {other}" + (f" ({note[1] or note[2]})" if note else ""))
    return "\n".join(lines)


def syllabus() -> str:
    """Outcomes, and each section's slides with what they became."""
    parts = ["# Syllabus and slide map", "## What you learn", registry.summary() + "."]
    parts.append("\n".join(f"{number}. {text}" for number, text in registry.outcomes().items()))
    for section, title in registry.sections().items():
        rows = ["| slide | title | outcomes | exercise | code |", "|---|---|---|---|---|"]
        for slide in registry.slides().values():
            if slide.section == section:
                rows.append(f"| {' | '.join(_row(slide))} |")
        parts += [f"## §{section} {title}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _row(slide: registry.Slide) -> tuple[str, ...]:
    number = slide.id
    if slide.lecture:
        number = _link(f"{slide.lecture.removesuffix('.ipynb')}.html#slide-{slide.id}", slide.id)
    assignments = dict.fromkeys(name.partition(":")[0] for name in slide.exercise)
    exercises = ", ".join(_link(f"exercises/{name}.html", name) for name in assignments)
    code = ", ".join(_symbol(name) for name in slide.symbols) or _cell(slide.no_code)
    return number, _cell(slide.title), ", ".join(map(str, slide.outcome)), exercises, code


def _symbol(name: str) -> str:
    """A link to the reference; checks have none, each is a statement about an exercise."""
    known = reference.modules(registry.COURSE.parent / "mg9")
    if name in known:
        return _link(f"api/{name}.html", name)
    module, _, inner = name.rpartition(".")
    if module not in known:
        return f"<code>{escape(name)}</code>"
    return _link(f"api/{module}.html#{inner}", name)


def _link(address: str, text: str) -> str:
    return f'<a href="{address}">{escape(text)}</a>'


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
