"""Marked cells as the assignment's source has them, whatever a submission made of them.

Read in order: `restore` (changed and doubled cells), `_put_back` (deleted ones), `_released` (what a student
saw of a locked cell).
"""

from __future__ import annotations

from copy import deepcopy

from nbformat import NotebookNode

from .definitions import imported
from .form import grade_id, is_grade, is_locked, is_solution
from .reading import NEW_CELL

NO_ANSWER = "YOUR ANSWER HERE"  # what ClearSolutions leaves (nbgrader_config.py): nbgrader gives it 0 points


def restore(notebook: NotebookNode, source: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """Marked cells as the source has them: locks, points, locked cells' text; deleted graded cells come back.

    Of a cell that is there twice the last one counts, as in nbgrader.
    """
    wanted = {grade_id(cell): cell for cell in source.cells if grade_id(cell)}
    notes, place = [], {}
    for number in reversed(range(len(notebook.cells))):
        cell = notebook.cells[number]
        name = grade_id(cell)
        cell.metadata.pop("nbgrader", None)
        if name not in wanted:
            continue
        if name in place:
            notes.append(f"cell {name} was there twice; the last one counts")
            continue
        place[name] = cell
        original = wanted[name]
        locked = is_locked(original)
        if cell.cell_type != original.cell_type or (
            locked and cell.source.strip() != _released(original).strip()
        ):
            notes.append(
                f"cell {name} was changed; the course's own was run"
                if locked
                else f"cell {name} changed its type"
            )
        text = original.source if locked else cell.source
        if _is_written(original) and not text.strip():
            text = NO_ANSWER  # else a person would have to mark an empty cell
        again = NEW_CELL[original.cell_type](text, metadata=deepcopy(original.metadata), id=cell.id)
        if original.cell_type != "code" and "attachments" in cell:
            again.attachments = cell.attachments
        notebook.cells[number] = place[name] = again
    notes.reverse()
    _put_back(notebook, wanted, place, notes)
    notebook.metadata = deepcopy(source.metadata)
    sources = [cell.source for cell in source.cells if cell.cell_type == "code"]
    notebook.metadata.setdefault("mg9", {})["modules"] = list(imported(sources))
    return notebook, notes


def _put_back(
    notebook: NotebookNode, wanted: dict[str, NotebookNode], place: dict[str, NotebookNode], notes: list[str]
) -> None:
    previous = None
    for name, original in wanted.items():
        if name not in place and not is_grade(original):
            notes.append(f"cell {name} was deleted")
            continue
        if name not in place:
            notes.append(f"graded cell {name} was deleted and is put back")
            text = original.source if is_locked(original) else NO_ANSWER if _is_written(original) else ""
            again = NEW_CELL[original.cell_type](
                text, metadata=deepcopy(original.metadata), id=f"put-back-{len(notes)}"
            )
            ids = [cell.id for cell in notebook.cells]
            notebook.cells.insert(ids.index(previous.id) + 1 if previous else 0, again)
            place[name] = again
        previous = place[name]


def _is_written(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and is_grade(cell) and is_solution(cell)


def _released(cell: NotebookNode) -> str:
    """The text of a locked cell as students got it: without what stands between the hidden markers."""
    lines, hidden = [], False
    for line in cell.source.split("\n"):
        hidden = hidden or "BEGIN HIDDEN TESTS" in line
        if not hidden:
            lines.append(line)
        hidden = hidden and "END HIDDEN TESTS" not in line
    return "\n".join(lines)
