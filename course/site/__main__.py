"""`python -m course.site`: build the site. Exit code 1 if Sphinx warns of anything."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TextIO

from course.site.pages import write

ROOT = Path(__file__).parents[2]
EXAMPLES = """examples:
  python -m course.site                  build/site/index.html and what belongs to it
  python -m course.site --out elsewhere

Open index.html in a browser, or put the folder on any web server: no page fetches anything from elsewhere.
"""


def main(arguments: list[str] | None = None) -> int:
    """Build, and say what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m course.site",
        description="Build the course as a site; nothing is run, the outputs are those that are stored.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="default: build/site")
    out = parser.parse_args(arguments).out.absolute()
    warnings = build(out, status=sys.stderr)
    print("\n".join(warnings) or f"{out / 'index.html'}: {len(list(out.rglob('*.html')))} pages")
    return int(bool(warnings))


def build(out: Path, status: TextIO | None = None) -> list[str]:
    """The site in the folder `out`, its sources and Sphinx's cache beside it; Sphinx's warnings. How far
    it is goes to `status`."""
    from sphinx.application import Sphinx

    beside = out.with_name(f"{out.name}-source")
    write(ROOT, beside)
    said = io.StringIO()
    cache = out.with_name(f"{out.name}-cache")
    app = Sphinx(beside, Path(__file__).parent, out, cache, "html", status=status, warning=said)
    app.build(force_all=True)
    return [line for line in said.getvalue().splitlines() if line.strip()]


if __name__ == "__main__":
    raise SystemExit(main())
