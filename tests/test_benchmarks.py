"""Every benchmark says what it measures and how it is called, without measuring anything."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

COMMANDS = [
    file.stem
    for file in sorted((Path(__file__).parents[1] / "benchmarks").glob("[a-z]*.py"))
    if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_help_has_an_example_and_an_unknown_option_is_refused(name, monkeypatch, capsys):
    for argument, code in (("--help", 0), ("--no-such-option", 2)):
        monkeypatch.setattr(sys, "argv", [name, argument])
        with pytest.raises(SystemExit) as left:
            runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        assert left.value.code == code
        printed = capsys.readouterr()
        assert (f"\n  python -m benchmarks.{name}" in printed.out) == (code == 0), printed.out
