"""The command line of a benchmark: what it measures, its options if it has any, and examples."""

from __future__ import annotations

import argparse


def command_line(about: str, *examples: str) -> argparse.ArgumentParser:
    """A parser with `about` and `examples` in its help; the caller adds options and parses."""
    lines = "".join(f"\n  python -m benchmarks.{example}" for example in examples)
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{examples[0].split()[0]}",
        description=about.strip(),
        epilog=f"examples:{lines}" if lines else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
