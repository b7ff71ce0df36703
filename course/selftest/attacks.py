"""Grade the attack corpus as a class, in a process of its own, and say what it gained, lost or reached.

Read in order: `run_attacks`, `judge` (marks against what is deserved), `grade_folder` (the process itself).
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from course.grader.build import build
from course.grader.classes import read_class
from course.grader.form import read_source
from course.grader.grading import grade_class
from course.grader.ingest import called
from course.grader.sandbox import refuse_without_sandbox
from course.grader.terms import Terms
from course.grader.workers import Crew
from mg9.data.cache import folder

from .corpus import TARGET, Attack, deserved, read_corpus, write_class
from .traps import Traps

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "attacks"
SECONDS = 8  # that a cell or a call of the corpus may take; honest ones take a fraction of one
CHILD = "import sys; from course.selftest.attacks import grade_folder; grade_folder(*sys.argv[1:])"


@dataclass
class Outcome:
    """What came of a corpus. `faults`: attack -> what is wrong; "" holds what nobody in particular did."""

    attacks: list[Attack]
    undeserved: float = 0.0
    lost: float = 0.0
    aborted: bool = False
    faults: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def fault(self, attack: str, what: str) -> None:
        """Enter something that is not as it should be."""
        self.faults.setdefault(attack, []).append(what)

    @property
    def refused(self) -> int:
        """How many attacks have gained nothing and cost nothing."""
        return len(self.attacks) - len(self.faults.keys() - {""})

    def __str__(self) -> str:
        head = f"attacks refused {self.refused}/{len(self.attacks)}  undeserved points {self.undeserved:g}  "
        head += f"points lost {self.lost:g}  classes aborted {int(self.aborted)}  {self.seconds:.0f} s"
        lines = [f"  - {name or 'the class'}: {what}" for name, all_ in self.faults.items() for what in all_]
        return "\n".join([head, *lines])


def run_attacks(
    *,
    assignment: str = TARGET,
    corpus: Path = CORPUS,
    jobs: int = 2,
    seed: int = 0,
    chosen: Callable[[Attack], bool] = lambda attack: True,
) -> Outcome:
    """The attacks on `assignment`, graded as one class."""
    start = time.monotonic()
    attacks = [a for a in read_corpus(corpus) if a.assignment == assignment and chosen(a)]
    wrong = tomllib.loads((corpus / "answers.toml").read_text(encoding="utf-8"))["wrong"]
    outcome = Outcome(attacks)
    if not attacks:
        return outcome
    with tempfile.TemporaryDirectory(prefix="mg9-attacks-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        root, submitted, out = place / "course", place / "submitted", place / "marks"
        source = corpus if assignment == TARGET else ROOT
        shutil.copytree(source / "solutions" / assignment, root / "solutions" / assignment)
        build(root, assignment)
        watched = [root, submitted, ROOT / "mg9", ROOT / "course", ROOT / "solutions"]
        traps = Traps(place)
        places = {
            "CANARY": traps.canary, "HOME": traps.home, "PORT": traps.port, "WORD": traps.word,
            "MARKS": out, "CLASS": submitted, "COURSE": ROOT,
        }  # fmt: skip
        write_class(attacks, root, wrong, submitted, places)
        traps.watch(watched)
        arguments = [sys.executable, "-c", CHILD, root, assignment, submitted, out, str(seed), str(jobs)]
        env = os.environ | traps.environment | {"MG9_CACHE": str(folder())}  # not in the home that is watched
        code, said = _graded(list(map(str, arguments)), env, out / "log.jsonl", len(attacks), assignment)
        outcome.aborted = code != 0 or not (out / "marks.csv").is_file()
        if outcome.aborted:
            outcome.fault("", f"the class was aborted: {said.strip()[-1000:]}")
        else:
            judge(outcome, read_source(root, assignment), out)
        for what in traps.sprung(out):
            who = [attack.name for attack in attacks if attack.folder in what]
            outcome.fault(who[0] if who else "", what)
        traps.close()
    outcome.seconds = time.monotonic() - start
    return outcome


def _graded(
    command: list[str], env: dict[str, str], log: Path, total: int, assignment: str
) -> tuple[int, str]:
    """(exit code, what it printed) of the process that grades, with a bar of the lines in its log."""
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        process = subprocess.Popen(command, env=env, stdout=printed, stderr=printed)
        try:
            with tqdm(total=total, desc=f"{assignment}: attacks", unit="attack", leave=False) as bar:
                while process.poll() is None:
                    time.sleep(0.5)
                    bar.update((log.read_bytes().count(b"\n") if log.is_file() else 0) - bar.n)
        finally:
            process.kill()  # with it end its workers and their sandboxes
            process.wait()
        printed.seek(0)
        return process.returncode, printed.read()


def judge(outcome: Outcome, source: object, out: Path) -> None:
    """Marks and verdicts in `out` against what each attack deserves."""
    with (out / "marks.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"].lstrip("'"): row for row in csv.DictReader(file)}
    pages = {page.name: page.read_text(encoding="utf-8") for page in (out / "feedback").glob("*.html")}
    pages["marks.csv"] = (out / "marks.csv").read_text(encoding="utf-8")
    for attack in outcome.attacks:
        row = rows.get(called(attack.folder, ()))
        if row is None:
            outcome.fault(attack.name, "is not in the table of marks")
            continue
        verdict = row["verdict"]
        if verdict in ("not graded", "not recorded") or (attack.verdict and verdict != attack.verdict):
            outcome.fault(attack.name, f"verdict {verdict!r} ({row['says']}) instead of {attack.verdict!r}")
        for name, (least, most) in deserved(attack, source).items():
            got = float(row.get(name) or 0)
            outcome.undeserved += max(0.0, got - most)
            outcome.lost += max(0.0, least - got)
            if not least <= got <= most:
                outcome.fault(attack.name, f"{name}: {got:g} points instead of {least:g} ({verdict})")
        for text in attack.absent:
            for page, content in pages.items():
                if text in content:
                    outcome.fault(attack.name, f"{page} holds {text!r}")


def grade_folder(root: str, assignment: str, submitted: str, out: str, seed: str, jobs: str) -> None:
    """What the grader's own process does: a class as an instructor grades it, with short limits."""
    refuse_without_sandbox()
    seconds = SECONDS if assignment == TARGET else 120
    terms = Terms(seed=int(seed), cell_seconds=seconds, total_seconds=10 * seconds, call_seconds=seconds)
    the_class = read_class(Path(root), assignment, Path(submitted))
    with Crew(int(jobs)) as crew:
        grade_class(Path(root), the_class, Path(out), terms, crew.grade)
