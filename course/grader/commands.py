"""What the commands of `mg9-course` do that build and grade; `cli.py` parses their words."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classes import Class
    from .terms import Terms


def build(options: argparse.Namespace) -> int:
    """`mg9-course build [--check] [ASSIGNMENT]`."""
    from .build import build
    from .form import assignments

    stale = 0
    names = [chosen(options)] if options.assignment else assignments(options.root)
    for assignment in names:
        changed = build(options.root, assignment, write=not options.check)
        stale += len(changed)
        for file in changed:
            print(
                f"{file} is out of date: run `mg9-course build {assignment}`"
                if options.check
                else f"wrote {file}"
            )
        if not changed:
            print(f"exercises/{assignment} is up to date")
    return 1 if options.check and stale else 0


def grade(options: argparse.Namespace) -> int:
    """`mg9-course grade FOLDER`."""
    recorded = options.again or not options.only
    if recorded and not options.scheduler:
        from . import server

        server.start()  # first of all: it imports torch while this process imports the rest
    from .sandbox import refuse_without_sandbox
    from .workers import Crew, on_dask

    if not options.unsandboxed:
        refuse_without_sandbox()
    if not recorded:
        from .grading import dry_run

        the_class, _, terms = _read(options)
        return dry_run(the_class, terms)
    if options.scheduler:
        return _record(options, partial(on_dask, address=options.scheduler))
    with Crew(options.jobs) as crew:
        return _record(options, crew.grade, crew.prepare)


def _record(options: argparse.Namespace, run: Callable, prepare: Callable | None = None) -> int:
    from .journal import Journal

    the_class, out, terms = _read(options)
    from .grading import grade_class

    if prepare:
        known = set() if options.again else {line["sha256"] for line in Journal(out).lines()}
        prepare([one for one in the_class.submissions if one.sha256 not in known], terms)
    return int(grade_class(options.root, the_class, out, terms, run, again=options.again) > 0)


def _read(options: argparse.Namespace) -> tuple[Class, Path, Terms]:
    """(the submissions, the folder of marks, the terms). Raises `FolderError` and `FormError`."""
    from .bubblewrap import Limits
    from .classes import read_class
    from .ingest import FolderError
    from .journal import Journal
    from .terms import Terms

    assignment, folder = chosen(options), options.folder
    out = (options.out or options.root / "gradebook" / assignment).absolute()
    if out.is_relative_to(folder.absolute()) or set("[]*?+") & set(str(out)):
        raise FolderError(f"--out {out}: choose a folder outside {folder}, without the characters [ ] * ? +")
    seeds = (options.seed, Journal(out).seed, secrets.randbelow(2**31))
    seed = next(seed for seed in seeds if seed is not None)
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    seconds, limits = (900, 3600) if options.full else (120, 600), Limits(threads=threads)
    terms = Terms(options.full, seed, *seconds, threads, limits=limits, unsandboxed=options.unsandboxed)
    return read_class(options.root, assignment, folder, options.only), out, terms


def doctor(options: argparse.Namespace) -> int:
    """`mg9-course doctor`."""
    from .doctor import doctor

    return doctor()


def demo(options: argparse.Namespace) -> int:
    """`mg9-course demo`: a class of typical submissions, made and graded anew."""
    from course.demo.classroom import described_assignment, make_class

    place = options.out or options.root / "demo"
    options.folder, options.out, options.only = place / "submitted", place / "marks", None
    options.assignment, options.again = described_assignment(), False
    options.seed = 0 if options.seed is None else options.seed
    students = make_class(options.root, options.folder)
    if (options.out / "log.jsonl").is_file():
        shutil.rmtree(options.out)
    print(f"the class, in {options.folder}:")
    print("".join(f"  {student:8} {about}\n" for student, about in students.items()))
    grade(options)
    pages = sorted((options.out / "feedback").glob("*.html"))
    print("\nopen a page of feedback in a browser, for example")
    print("\n".join(f"  {page}" for page in pages[:3]))
    return 0


def chosen(options: argparse.Namespace) -> str:
    """The assignment that is named, or the only one there is, or the only one in the folder of submissions.

    Raises `FolderError`: wrong usage.
    """
    from .form import assignments
    from .ingest import FolderError

    there = assignments(options.root)
    if options.assignment in there:
        return options.assignment
    known = f"in solutions/ are {', '.join(there) or 'none'}"
    if options.assignment is not None:
        raise FolderError(f"no assignment {options.assignment!r}; {known}")
    if not options.folder.is_dir():
        raise FolderError(f"{options.folder} is not a folder; expected FOLDER/<student>/cgcnn/cgcnn.ipynb")
    handed_in = {file.stem for file in options.folder.glob("*/**/*.ipynb")}
    handed_in |= {place.name for place in options.folder.glob("*/*") if place.is_dir()}
    found = [name for name in there if name in handed_in] if len(there) > 1 else there
    if not found:
        expected = f"{options.folder}/<student>/{there[0] if there else 'cgcnn'}/*.ipynb"
        raise FolderError(f"{options.folder} holds no work that is known, such as {expected}; {known}")
    if len(found) != 1:
        raise FolderError(f"say which with --assignment, {', '.join(found)}; {known}")
    return found[0]
