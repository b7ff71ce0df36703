"""What the syntax tree of a cell says: what it defines, why it cannot be read, what can be repeated safely.

After a student's process has died, a new one is given the definitions of the cells before: imports,
functions, classes and simple constants, nothing that computes.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INNER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)  # their names are their own

LONGEST = 50_000  # characters of a cell; a student's code is read here, where no limit of time holds
MOST_READ = 10  # times that a cell is read, for its line magics one by one, before all are taken out at once
MAGIC = re.compile(r"^(\s*)(?:(\w[\w, ]*=)\s*)?(?:[%!].*|\?{1,2}[%\w.*]+|[%\w.*]+\?{1,2})\s*$")


def parsed(source: str) -> tuple[ast.Module | None, str]:
    """(the tree of a cell, "") or (None, why it cannot be read: "line 7: expected ':'")."""
    return _read(source)[:2]


@lru_cache(maxsize=1)  # of a cell that failed two things are asked, one after the other
def _read(source: str) -> tuple[ast.Module | None, str, str]:
    """As `parsed`, and the text without magics of which the tree is.

    IPython's own way reads a cell anew for each line magic, and gives up at the 500th.
    """
    if len(source) > LONGEST:
        return None, f"it is longer than {LONGEST:,} characters", ""
    try:
        with warnings.catch_warnings(action="ignore"):
            lines = (source + "\n").splitlines(keepends=True)
            for clean in TransformerManager().cleanup_transforms:  # indents, prompts, %%magics
                lines = clean(lines)
            for _ in range(MOST_READ):
                try:
                    return ast.parse("".join(lines)), "", "".join(lines)
                except SyntaxError as error:
                    at = (error.lineno or 1) - 1
                    if at >= len(lines) or not MAGIC.match(lines[at]):
                        raise
                    lines[at] = _without_magic(lines[at])
            text = "".join(map(_without_magic, lines))
            return ast.parse(text), "", text
    except SyntaxError as error:
        return None, f"line {error.lineno}: {error.msg}", ""
    except (ValueError, RecursionError, MemoryError) as error:
        return None, f"it cannot be read ({type(error).__name__})", ""


def _without_magic(line: str) -> str:
    """`x = !ls` as `x = object()`, a line that is a magic alone as `pass`."""
    found = MAGIC.match(line)
    if not found:
        return line
    indent, target = found.groups()
    return f"{indent}{target} object()\n" if target else f"{indent}pass\n"


def defined(source: str) -> set[str]:
    """The names that a cell gives a value, also if it cannot be read."""
    tree, _ = parsed(source)
    if tree is None:
        found = re.findall(r"^(?:(?:async +)?def +|class +)?(\w+) *[=(:]", source, re.MULTILINE)
        return set(found) - set(keyword.kwlist)
    return _given(tree.body)


@lru_cache(maxsize=2000)
def repeatable(source: str) -> str:
    """The cell's imports, functions, classes and simple constants, and nothing else of it."""
    tree, _, text = _read(source)
    kept = [node for node in tree.body if isinstance(node, DEFINITIONS) or _constant(node)] if tree else []
    try:
        return ast.unparse(ast.Module(kept, []))
    except (RecursionError, ValueError):  # deeper than Python's own functions go, a number of many digits
        lines = re.split("\r\n|\r|\n", text)  # as Python counts them
        return "\n".join(_written(node, lines) for node in kept)


def _written(node: ast.stmt, lines: list[str]) -> str:
    """A statement as it stands in the cell, without others on its lines."""
    decorators = getattr(node, "decorator_list", [])
    first, start = (decorators[0].lineno, 0) if decorators else (node.lineno, node.col_offset)
    while decorators and first > 1 and not lines[first - 1].startswith("@"):
        first -= 1
    found = [line.encode() for line in lines[first - 1 : node.end_lineno]]
    found[-1] = found[-1][: node.end_col_offset]
    found[0] = found[0][start:]
    return b"\n".join(found).decode()


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


def _given(statements: list[ast.stmt]) -> set[str]:
    """Names that statements give a value outside of functions and classes; they may be nested deeply."""
    found: set[str] = set()
    left: list[ast.AST] = list(statements)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            found |= {node.id} if isinstance(node.ctx, ast.Store) else set()
        elif not isinstance(node, INNER):
            left += ast.iter_child_nodes(node)
    return found


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
