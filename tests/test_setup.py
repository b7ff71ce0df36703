"""Set-up: pyproject.toml, requirements.lock and environment.yml agree, and the Makefile fails in words."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, entry_points
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FILES = ("pyproject.toml", "requirements.lock", "environment.yml")
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*")  # no local suffix, no address, no path


def disagreements(pyproject: str, lock: str, environment: str) -> list[str]:
    """What has to change for the three files to state the same dependencies; empty if they do."""
    project = tomllib.loads(pyproject)["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    direct = [Requirement(line) for lines in lists for line in lines]
    conda = yaml.safe_load(environment)["dependencies"]
    pip = next(part["pip"] for part in conda if isinstance(part, dict))
    lines = [line for line in lock.splitlines() if not line.startswith("#")]

    wrong = [f"requirements.lock: {line!r} is not NAME==VERSION" for line in lines if not PIN.fullmatch(line)]
    wrong += [
        f"environment.yml: {line!r} is not NAME==VERSION" for line in pip[:-1] if not PIN.fullmatch(line)
    ]
    if wrong:
        return wrong
    locked, stated = (
        {canonicalize_name(n): v for n, v in (x.split("==") for x in y)} for y in (lines, pip[:-1])
    )
    for requirement in direct:
        name = canonicalize_name(requirement.name)
        if name not in locked:
            wrong.append(f"requirements.lock: lacks {name}; run `make lock`")
            continue
        pin = f"{name}=={locked[name]}"
        if not requirement.specifier.contains(locked[name]):
            wrong.append(f"requirements.lock: {pin}, but pyproject.toml wants {requirement}; run `make lock`")
        if stated.get(name) != locked[name]:
            wrong.append(f"environment.yml: has {stated.get(name, 'no')} {name}; write {pin}")
    for name in stated.keys() - {canonicalize_name(r.name) for r in direct}:
        wrong.append(f"environment.yml: {name} is not in pyproject.toml; take it out")
    if not any(str(requirement) == f"torch=={locked.get('torch')}" for requirement in direct):
        wrong.append("pyproject.toml: does not pin torch to the version of requirements.lock")
    if [name for name in locked if name.startswith(("nvidia", "cuda", "triton"))]:
        wrong.append("requirements.lock: has GPU packages; make it with torch's CPU build")
    if pip[-1] != "-e .":
        wrong.append("environment.yml: its last line is not the project itself, `-e .`")
    python = next(part.split("=")[1] for part in conda if str(part).startswith("python="))
    if not Requirement(f"python{project['requires-python']}").specifier.contains(python):
        wrong.append(
            f"environment.yml: python={python}, but pyproject.toml wants {project['requires-python']}"
        )
    return wrong


def texts() -> list[str]:
    return [(ROOT / file).read_text() for file in FILES]


def test_the_three_files_agree() -> None:
    assert not disagreements(*texts())


def test_what_is_locked_installs_with_every_python_that_is_promised() -> None:
    """With 3.11.0, too: servers have the patch release of their distribution."""
    locked = dict(line.split("==") for line in texts()[1].splitlines() if not line.startswith("#"))
    pins = {(canonicalize_name(name), version) for name, version in locked.items()}
    asked = {
        (canonicalize_name(one.name), one.version.partition("+")[0]): one.metadata.get("Requires-Python", "")
        for one in distributions()
    }
    assert len(pins & asked.keys()) > 100
    refused = {pin: asked[pin] for pin in pins & asked.keys() if "3.11.0" not in SpecifierSet(asked[pin])}
    assert refused == {}


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "complaint"),
    [
        ("pyproject.toml", '"tqdm>=', '"tqdm>=99', "requirements.lock: tqdm=="),
        ("pyproject.toml", '"torch==.*?"', '"torch>=2"', "does not pin torch"),
        ("pyproject.toml", '"tqdm>=', '"abinit", "tqdm>=', "lacks abinit"),
        ("pyproject.toml", '"tqdm>=.*?",', "", "tqdm is not in pyproject.toml"),
        ("pyproject.toml", '">=3.11,', '">=3.12,', "python=3.11"),
        ("requirements.lock", "(?m)^ase==.*$", "ase==3.99.0", "write ase==3.99.0"),
        ("requirements.lock", "(?m)^ase==.*\n", "", "lacks ase"),
        ("requirements.lock", "(?m)^(torch==.*)$", r"\1+cpu", "+cpu' is not NAME==VERSION"),
        ("requirements.lock", "(?m)^six==.*$", "six @ file:///tmp/six.whl", "is not NAME==VERSION"),
        ("requirements.lock", r"\Z", "nvidia-nccl-cu13==2.28.9\n", "GPU packages"),
        ("environment.yml", "torch==", "torch>=", "'torch>=2.13.0' is not NAME==VERSION"),
        ("environment.yml", "(?m)^.*- tqdm==.*\n", "", "has no tqdm"),
        ("environment.yml", "- tqdm==", "- six==1.17.0\n      - tqdm==", "six is not in pyproject.toml"),
        ("environment.yml", "- -e .", "- -e ..", "not the project itself"),
    ],
)
def test_a_difference_is_named(file: str, pattern: str, replacement: str, complaint: str) -> None:
    contents = dict(zip(FILES, texts(), strict=True))
    changed = re.sub(pattern, replacement, contents[file], count=1)
    assert changed != contents[file], "the fault was not planted"
    found = disagreements(*(contents | {file: changed}).values())
    assert any(complaint in line for line in found), found


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, mg9; print([m for m in ('torch', 'numpy', 'pandas', 'pymatgen') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_commands_and_the_hidden_checks_are_found() -> None:
    scripts = {point.name: point for point in entry_points(group="console_scripts")}
    assert callable(scripts["mg9"].load()) and callable(scripts["mg9-course"].load())
    for point in entry_points(group="mg9.checks"):
        point.load()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with what `make setup` reads, without .venv."""
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{path}:{os.environ['PATH']}"
    }  # without the flags of the make that runs the tests
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_make_help_names_every_target(bare: Path) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    printed = make(bare).stdout
    assert not [target for target in targets if not re.search(rf"make {target}\s+\S", printed)], printed


def test_an_unsupported_python_is_refused_in_one_line(bare: Path) -> None:
    pretend = "import sys; sys.version_info = (3, 9, 1)"
    script = f'[ "$1" = --version ] && echo Python 3.9.1 || exec {sys.executable} -c "{pretend}; $2"'
    old = program(bare / "python3.9", script)
    result = make(bare, "setup", f"PYTHON={old}")
    assert result.returncode != 0
    assert "needs Python 3.11 or 3.12, found Python 3.9.1" in result.stderr
    assert not (bare / ".venv").exists()


def test_a_missing_venv_names_the_package_to_install(bare: Path) -> None:
    program(bare / "id", "echo 1000")  # not root: nothing is installed, the message has to do
    script = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    result = make(bare, "setup", f"PYTHON={program(bare / 'python', script)}", path=str(bare))
    assert result.returncode != 0
    assert re.search(r"install the package python3\.1[12]-venv", result.stderr), result.stderr
    assert not (bare / ".venv").exists()


def test_torch_comes_first_and_alone_from_its_index(bare: Path) -> None:
    planned = make(
        bare, "--dry-run", "setup", f"PYTHON={sys.executable}", "TORCH_INDEX=https://example.org/cpu"
    )
    installs = [line for line in planned.stdout.splitlines() if " pip install " in line]
    assert ["--index-url https://example.org/cpu" in line for line in installs] == [True, False, False]
    assert "torch==" in installs[0] and "requirements.lock" in installs[1] and "-e ." in installs[2]
