"""Undeserved points: stock nbgrader against mg9's grader, on attacks that harm nothing but their own process.

    python -m benchmarks.attacks [--only WORD]

Both grade the same notebooks of tests/attacks, in a scratch folder, and only those that are marked
`unsandboxed`: the others would reach this machine through stock nbgrader. Printed for each kind of attack:
points that were not deserved, points of right answers that were not given, submissions without a grade, and
whether one of them aborted the class, so that submissions behind it were not looked at; with stock nbgrader
these are then graded one by one. The whole corpus goes through mg9's grader in `mg9-course selftest`. About
six minutes; a kind can be measured by itself.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from tqdm import tqdm

from benchmarks.usage import command_line
from course.grader.build import build, generate, run_nbgrader
from course.grader.form import read_source
from course.selftest.attacks import CORPUS, run_attacks
from course.selftest.corpus import TARGET, Attack, deserved, read_corpus, write_class

KINDS = {
    "warning": "right code with one warning in a graded cell",
    "patches": "code that judges is replaced",
    "ipython": "hooks of the kernel",
    "values": "objects that compare or print as they like",
    "state": "answers that depend on who asks",
    "processes": "processes that outlive or die",
    "wire": "the part that answers the grader",
    "notebooks": "the notebook file itself",
}


def stock(attacks: list[Attack]) -> tuple[float, float, int, int]:
    """(undeserved points, points lost, submissions without a grade, classes aborted) of stock nbgrader."""
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
        run_nbgrader(Autograde, folder, TARGET)  # the class in one command
        behind = [attack for attack in attacks if not looked_at(folder, attack)]
        for attack in tqdm(behind, desc="stock nbgrader, one by one", leave=False):
            run_nbgrader(Autograde, folder, TARGET, student=attack.folder)
        aborted = any(looked_at(folder, attack) for attack in behind)
        for attack in attacks:
            with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
                for name, (least, most) in deserved(attack, source).items():
                    try:
                        got = gradebook.find_grade(name, TARGET, TARGET, attack.folder).score
                    except MissingEntry:
                        got = 0.0
                    undeserved += max(0.0, got - most)
                    lost += max(0.0, least - got)
            none += not (folder / "autograded" / attack.folder / TARGET / f"{TARGET}.ipynb").is_file()
    return undeserved, lost, none, int(aborted)


def looked_at(folder: Path, attack: Attack) -> bool:
    """Whether nbgrader has entered the submission, with a grade or not."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        try:
            gradebook.find_submission(TARGET, attack.folder)
        except MissingEntry:
            return False
    return True


def main() -> None:
    """Print a line for each kind of attack, as it comes, and the sum."""
    parser = command_line(__doc__.partition("\n")[0], "attacks", "attacks --only state")
    parser.add_argument("--only", default="", help="attacks with this word in their name or kind")
    options = parser.parse_args()
    everything, kinds = read_corpus(CORPUS), {}
    for attack in everything:
        if attack.unsandboxed and attack.assignment == TARGET:
            if options.only == attack.kind or (options.only not in KINDS and options.only in attack.name):
                kinds.setdefault(attack.kind, []).append(attack.name)
    counts = "undeserved | unpaid | no grade | class aborted"
    print(f"| attacks | | stock: {counts} | mg9-course: {counts} |\n|{10 * '---|'}")
    total = [0.0] * 8
    for kind, names in kinds.items():
        chosen = [attack for attack in everything if attack.kind == kind and attack.name in names]
        ours = run_attacks(
            chosen=lambda attack, kind=kind, names=names: attack.kind == kind and attack.name in names
        )
        none = len(chosen) if ours.aborted else sum("verdict" in str(what) for what in ours.faults.values())
        found = [*stock(chosen), ours.undeserved, ours.lost, none, int(ours.aborted)]
        total = [before + now for before, now in zip(total, found, strict=True)]
        row(f"{kind}: {KINDS[kind]}", len(chosen), found)
    row(f"all of these, of {len(everything)} in the corpus", sum(map(len, kinds.values())), total)


def row(title: str, count: int, found: list[float]) -> None:
    """One line of the table."""
    print(f"| {title} | {count} | " + " | ".join(f"{value:g}" for value in found) + " |", flush=True)


if __name__ == "__main__":
    main()
