"""The package's reference, from its docstrings: read as text and as a syntax tree, never imported.

Read in order: `modules`, `page` (one module), `entry` (a class or function).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

WIDEST = 88  # a signature that is longer gets a line for each argument
Definition = ast.ClassDef | ast.FunctionDef


def modules(package: Path) -> dict[str, Path]:
    """Name without "mg9." -> file, in the order of the slides; without the single checks."""
    files = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        hidden = name.startswith("checks.") or name == "data.curate" or "._" in f".{name}"
        if name and not hidden:
            files[name] = file
    return files


def page(name: str, file: Path) -> str:
    """Markdown of one module: its docstring, then each public class and function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = [f"# mg9.{name}", text(tree)]
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            parts += entry(node, "##", node.name)
            methods = node.body if isinstance(node, ast.ClassDef) else ()
            for inner in methods:
                shown = isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
                if shown and ast.get_docstring(inner):
                    parts += entry(inner, "###", f"{node.name}.{inner.name}")
    return "\n\n".join(part for part in parts if part) + "\n"


def entry(node: Definition, level: str, name: str) -> Iterator[str]:
    """An anchor, the heading, the signature, the docstring."""
    yield f'<span id="{name}"></span>'
    yield f"{level} {name}"
    yield f"```python\n{signature(node)}\n```"
    yield text(node)


def text(node: ast.AST) -> str:
    """The docstring as it stands: its line ends and indents are part of formulas and shapes."""
    found = ast.get_docstring(node)
    return f"~~~~text\n{found}\n~~~~" if found else ""


def signature(node: Definition) -> str:
    """As it is called: of a class its bases, or its constructor where it has one."""
    if isinstance(node, ast.ClassDef):
        own = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not own:
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            return f"class {node.name}({bases})" if bases else f"class {node.name}"
        return _call(f"class {node.name}", own[0].args, "", skip=1)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    bound = bool(node.args.args) and node.args.args[0].arg in ("self", "cls")
    return _call(f"def {node.name}", node.args, returns, skip=int(bound))


def _call(start: str, arguments: ast.arguments, returns: str, skip: int) -> str:
    """`start(arguments)returns`, without the first `skip` arguments."""
    kept = ast.arguments(**{name: getattr(arguments, name) for name in ast.arguments._fields})
    kept.args = kept.args[skip:]
    kept.defaults = kept.defaults[max(0, len(kept.defaults) - len(kept.args)) :]
    inside = ast.unparse(kept)
    line = f"{start}({inside}){returns}"
    if len(line) <= WIDEST:
        return line
    return "\n".join([f"{start}(", *(f"    {one}," for one in _split(inside)), f"){returns}"])


def _split(text: str) -> Iterator[str]:
    """At the commas that are in no bracket."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()
