"""Which cells of a notebook does a cell need? Read off the symbol table: who assigns the names that it reads.

`Slices(notebook).needed(cells)` is what a mutant runs instead of the whole notebook.
"""

from __future__ import annotations

import symtable
from collections.abc import Iterable

from nbformat import NotebookNode


class Slices:
    """For each code cell, by position: the names that it assigns and those that it reads, in bodies too."""

    def __init__(self, notebook: NotebookNode) -> None:
        self.assigns: dict[int, set[str]] = {}
        self.reads: dict[int, set[str]] = {}
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                self.assigns[number], self.reads[number] = names(cell.source)

    def direct(self, cell: int) -> set[int]:
        """The cells above that assign a name which `cell` reads."""
        return {above for above in self.assigns if above < cell and self.assigns[above] & self.reads[cell]}

    def needed(self, cells: Iterable[int]) -> set[int]:
        """`cells` and all that they need, directly or not."""
        found, left = set(), set(cells)
        while left:
            cell = left.pop()
            found.add(cell)
            left |= self.direct(cell) - found
        return found

    def depend_on(self, cells: set[int]) -> set[int]:
        """Every cell that needs one of `cells`, and these."""
        return {cell for cell in self.assigns if self.needed([cell]) & cells}


def names(source: str) -> tuple[set[str], set[str]]:
    """(assigned at the cell's own level, read anywhere in it). Text that is no Python has neither."""
    try:
        table = symtable.symtable(source, "cell", "exec")
    except SyntaxError:
        return set(), set()
    own = table.get_symbols()
    assigned = {name.get_name() for name in own if name.is_assigned() or name.is_imported()}
    return assigned, {name.get_name() for name in own if name.is_referenced()} | _from_outside(table)


def _from_outside(table: symtable.SymbolTable) -> set[str]:
    """Global names that functions and classes within `table` read, without their own variables."""
    found: set[str] = set()
    for inner in table.get_children():
        found |= {name.get_name() for name in inner.get_symbols() if name.is_global()} | _from_outside(inner)
    return found
