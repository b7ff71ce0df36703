"""Results read from the text of a graded cell's outputs, as long as `execution.grade` gives none itself."""

from __future__ import annotations

import re

from nbformat import NotebookNode

from .form import Question, grade_id, questions
from .result import NAMES, Result

ABOUT = {
    "crystal": r"\n  where: (.*)",
    "expected": r"\n  expected (.*), got",
    "got": r"\n  expected .*, got (.*)",
    "cause": r"\n  usual cause: ((?:.|\n)*?)(?=\n  reread|$)",
    "slide": r"\n  reread slide (\d+)",
}


def results_of(notebook: NotebookNode) -> dict[str, Result]:
    """Grade id -> result, of the questions that checks grade."""
    cells = {grade_id(cell): cell for cell in notebook.cells}
    asked = [question for question in questions(notebook) if question.check]
    return {question.grade_id: _result(question, cells[question.grade_id]) for question in asked}


def _result(question: Question, cell: NotebookNode) -> Result:
    own = {name: state for state, name in NAMES.items()}
    for output in cell.outputs:
        if output.output_type == "error":
            state = own.get(output.ename, "error")
            text = output.evalue if state != "error" else f"{output.ename}: {output.evalue}"
            found = {key: re.search(pattern, text) for key, pattern in ABOUT.items()}
            about = {key: match[1] for key, match in found.items() if match}
            about["slide"] = int(about.get("slide", 0))
            says = re.split(r"\n  (?:where|expected|usual cause|reread)", text)[0]
            says = says.removeprefix(f"{question.check}: ")
            return Result(question.grade_id, question.check, state, says, **about)
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream").strip()
    says = re.sub(r"^passed +[\w.]+: ", "", printed)
    return Result(question.grade_id, question.check, "passed", says)
