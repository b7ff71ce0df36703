"""Undeserved points: stock nbgrader against mg9's grader, on attacks that harm nothing but their own process.

    python -m benchmarks.attacks [--only WORD]

Both grade the same notebooks of tests/attacks, in a scratch folder, and only those that are marked
`unsandboxed`. Printed: points that were not deserved, points of right answers that were not given, and
submissions without a grade.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import tomllib
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from tqdm import tqdm

from course.grader.build import build, generate, run_nbgrader
from course.grader.form import read_source
from course.selftest.attacks import CORPUS, run_attacks
from course.selftest.corpus import TARGET, Attack, deserved, read_corpus, write_class


def stock(attacks: list[Attack]) -> tuple[float, float, int]:
    """(undeserved points, points lost, submissions without a grade) of nbgrader as it comes."""
    undeserved = lost = 0.0
    none = 0
    with tempfile.TemporaryDirectory(prefix="mg9-stock-") as scratch:
        root, folder = Path(scratch) / "course", Path(scratch) / "marks"
        shutil.copytree(CORPUS / "solutions", root / "solutions")
        build(root, TARGET)
        generate(root, TARGET, folder)
        wrong = tomllib.loads((CORPUS / "answers.toml").read_text(encoding="utf-8"))["wrong"]
        write_class(
            attacks, root, wrong, folder / "submitted", {"PORT": 9, "CANARY": scratch, "WORD": "none"}
        )
        source = read_source(root, TARGET)
        for attack in tqdm(attacks, desc="stock nbgrader", leave=False):
            failure, _ = run_nbgrader(Autograde, folder, TARGET, student=attack.folder)
            with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
                for name, (least, most) in deserved(attack, source).items():
                    try:
                        got = gradebook.find_grade(name, TARGET, TARGET, attack.folder).score
                    except MissingEntry:
                        got = 0.0
                    undeserved += max(0.0, got - most)
                    lost += max(0.0, least - got)
            none += bool(failure)
    return undeserved, lost, none


def main() -> None:
    """Print one line for each grader and the sum."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="attacks with this word in their name")
    options = parser.parse_args()

    def chosen(attack: Attack) -> bool:
        return attack.unsandboxed and attack.assignment == TARGET and options.only in attack.name

    attacks = [attack for attack in read_corpus(CORPUS) if chosen(attack)]
    undeserved, lost, none = stock(attacks)
    outcome = run_attacks(chosen=chosen)
    print(f"{len(attacks)} attacks  undeserved points  right answers unpaid  without a grade")
    print(f"stock nbgrader  {undeserved:13g}  {lost:20g}  {none:15d}")
    print(f"mg9-course      {outcome.undeserved:13g}  {outcome.lost:20g}  {int(outcome.aborted):15d}")


if __name__ == "__main__":
    main()
