"""What the syntax tree of a cell says: what it defines, why it cannot be read, what can be repeated safely.

After a student's process has died, a new one is given the definitions of the cells before: imports,
functions, classes and simple constants, nothing that computes.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings

from IPython.core.inputtransformer2 import TransformerManager

DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def parsed(source: str) -> tuple[ast.Module | None, str]:
    """(the tree of a cell, "") or (None, why it cannot be read: "line 7: expected ':'")."""
    try:
        with warnings.catch_warnings(action="ignore"):
            text = TransformerManager().transform_cell(source)
            return ast.parse(text), ""
    except SyntaxError as error:
        return None, f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return None, f"it cannot be read ({type(error).__name__})"


def defined(source: str) -> set[str]:
    """The names that a cell gives a value, also if it cannot be read."""
    tree, _ = parsed(source)
    if tree is None:
        found = re.findall(r"^(?:(?:async +)?def +|class +)?(\w+) *[=(:]", source, re.MULTILINE)
        return set(found) - set(keyword.kwlist)
    return {name for statement in tree.body for name in _given(statement)}


def repeatable(source: str) -> str:
    """The cell's imports, functions, classes and simple constants, and nothing else of it."""
    tree, _ = parsed(source)
    kept = [node for node in tree.body if isinstance(node, DEFINITIONS) or _constant(node)] if tree else []
    return ast.unparse(ast.Module(kept, [])) if kept else ""


def imported(sources: list[str]) -> tuple[str, ...]:
    """The modules that the cells import, also those named after "from", in their order."""
    found: dict[str, None] = {}
    for source in sources:
        tree, _ = parsed(source)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Import):
                found |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= dict.fromkeys([node.module, *(f"{node.module}.{a.name}" for a in node.names)])
    return tuple(found)


def _given(node: ast.AST) -> set[str]:
    """Names that a statement gives a value outside of functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return set()
    return {name for child in ast.iter_child_nodes(node) for name in _given(child)}


def _constant(node: ast.AST) -> bool:
    """Whether a statement gives names a value that is written out: TARGET = "band_gap"."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return False
    written = (
        ast.Constant,
        ast.Tuple,
        ast.List,
        ast.Dict,
        ast.Set,
        ast.UnaryOp,
        ast.unaryop,
        ast.expr_context,
    )
    return all(isinstance(part, written) for part in ast.walk(node.value))
