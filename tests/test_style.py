"""What a syntax tree sees of the style: imports run backwards, one edge convention, one place for edges."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mg9"
LETTERED = sorted(PACKAGE.glob("[a-h]_*.py"))
EVERY = sorted(PACKAGE.rglob("*.py"))

# Lettered files that others may import, beside all of a_ and b_; every other one is an architecture.
BUILDING_BLOCKS = {"c_radial", "d_atoms", "d_readout", "e_angles", "e_updates", "f_irreps", "f_layers"}
MAY_IMPORT_ARCHITECTURES = {"g_foundation", "h_choose"}
NOT_IN_AN_ARCHITECTURE = {"train", "plots", "report", "pretrained", "data", "checks", "cli"}
EDGE_BUILDERS = {
    *(
        "get_neighbor_list",
        "get_all_neighbors",
        "get_neighbors",
        "get_sites_in_sphere",
        "get_points_in_sphere",
    ),
    *(
        "neighbor_list",
        "neighbour_list",
        "primitive_neighbor_list",
        "NeighborList",
        "RadiusGraph",
        "KNNGraph",
    ),
    *("radius_graph", "knn_graph", "KDTree", "cKDTree", "cdist", "pdist"),
}


def is_architecture(module: str) -> bool:
    return (
        bool(re.match("[c-h]_", module))
        and module not in BUILDING_BLOCKS
        and module not in MAY_IMPORT_ARCHITECTURES
    )


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> dict[str, int]:
    """Modules of mg9 that a file imports anywhere, "d_cgcnn", with the line."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "mg9." * bool(node.level) + (node.module or "")
            names = [base, *(f"{base.rstrip('.')}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "mg9" and rest:
                found.setdefault(rest.partition(".")[0], node.lineno)
    return found


def names_in(tree: ast.AST):
    """(name, line) of every variable, argument and keyword; attributes may be another library's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg, node.lineno


def listed(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("path", LETTERED, ids=lambda path: path.stem)
def test_imports_run_backwards_in_the_alphabet(path):
    found = imported(parse(path))
    listed(
        [
            f"{path.name}:{line}: imports {module}, which comes later"
            for module, line in found.items()
            if re.match("[a-z]_", module) and module[0] > path.stem[0]
        ]
    )


@pytest.mark.parametrize(
    "path", [p for p in LETTERED if p.stem not in MAY_IMPORT_ARCHITECTURES], ids=lambda p: p.stem
)
def test_no_architecture_is_imported(path):
    found = [(m, line) for m, line in imported(parse(path)).items() if is_architecture(m)]
    advice = f"a building block is named in {Path(__file__).name}"
    listed([f"{path.name}:{line}: imports the architecture {module}; {advice}" for module, line in found])


@pytest.mark.parametrize("path", [p for p in LETTERED if is_architecture(p.stem)], ids=lambda p: p.stem)
def test_an_architecture_has_its_header_and_nothing_but_the_model(path):
    header = ast.get_docstring(parse(path)) or ""
    listed([f"{path.name}: the header lacks {part!r}" for part in missing_from(header)])
    found = imported(parse(path))
    listed([f"{path.name}:{found[m]}: imports {m}" for m in sorted(NOT_IN_AN_ARCHITECTURE & set(found))])


def missing_from(header: str) -> list[str]:
    parts = ["Paper", "Read in order:", "Differs from the paper:"]
    lacks = [part for part in parts if part not in header]
    return lacks + ["a citation such as [xie2018cgcnn]"] * (
        not re.search(r"\[[a-z]+\d{4}[a-z0-9]*[,\]]", header)
    )


@pytest.mark.parametrize("path", EVERY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_edges_have_the_names_of_the_course(path):
    """Tables have rows, so `row` and `col` are kept out of the lettered files only."""
    forbidden = {"src", "dst", "row", "col"} if path in LETTERED else {"src", "dst"}
    found = [(name, line) for name, line in names_in(parse(path)) if name in forbidden]
    listed([f"{path.name}:{line}: {name}; the centre is i, the neighbour j" for name, line in found])


@pytest.mark.parametrize("path", EVERY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_a_crystal_builds_edges(path):
    tree = parse(path)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "mg9.a_crystal"
        for alias in node.names
    }
    calls = {ast.unparse(n.func): n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call)}
    problems = [
        f"{path.name}:{line}: {call} builds edges; take a graph of a_crystal.py"
        for call, line in calls.items()
        if call.rpartition(".")[2] in EDGE_BUILDERS and call not in ours and not call.startswith("a_crystal.")
    ]
    if path.name != "a_crystal.py":
        listed(problems)
    else:
        assert problems, "a_crystal.py builds edges in a way that this test does not know"


def test_no_text_file_names_a_registry_or_this_machine():
    """A user's machine has other paths, and a mirror may stand in for any registry."""
    dot, slash = re.escape("."), "/"
    hosts = [f"pypi{dot}org", f"pythonhosted{dot}org", f"download{dot}pytorch{dot}org", f"anaconda{dot}org"]
    hosts += [f"npmjs{dot}org", f"deb{dot}debian{dot}org", f"archive{dot}ubuntu{dot}com"]
    paths = [rf"(?<![\w.]){slash}{folder}{slash}" for folder in ("work", "root", "mnt")]
    elsewhere = rf"\.\.{slash}shared"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if files.returncode:
        pytest.skip("not a git checkout: no list of tracked files")
    problems = []
    for name in filter(None, files.stdout.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" in content:
            continue
        forbidden = re.compile("|".join(hosts + paths + [elsewhere] * (not name.startswith("benchmarks/"))))
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            match = forbidden.search(line)
            if match:
                problems.append(f"{name}:{number}: {match[0]}")
    listed(problems)
