"""nbgrader's exchange folder, through which a class gets assignments and feedback, and hands in.

What is collected was written by students. nbgrader's own collecting follows links (to another's work, which
the instructor may read), fails for the whole class at a pipe, and takes a folder that says it is somebody
else's.

Read in order: `release`, `Collect`, `collect`, `give_back`.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from contextlib import nullcontext
from pathlib import Path

from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import ExchangeError
from nbgrader.exchange.default import Exchange, ExchangeCollect, ExchangeReleaseAssignment
from nbgrader.utils import notebook_hash, parse_utc
from traitlets.config import Config, PyFileConfigLoader

from . import ngshare
from .build import CONFIG
from .form import assignments
from .ingest import FolderError
from .reading import Unusable, regular, shown

LARGEST, MOST, DEEPEST = 100 * 2**20, 1000, 10  # bytes, files and folders in each other of one submission
SECRET = "submission_secret.txt"  # names the page of feedback, which only its student can find
TOLERANCE = 60  # seconds by which a folder may be younger than the time that it states


def release(root: Path, names: list[str]) -> list[str]:
    """Put exercises/ (all, or those named) into the exchange; returns the names. Raises `FolderError`."""
    chosen = names or [name for name in assignments(root) if (root / "exercises" / name).is_dir()]
    for name in chosen:
        if not (root / "exercises" / name).is_dir():
            raise FolderError(f"exercises/{name} does not exist; run `mg9-course build {name}`")
        app = _run("release_assignment", root, name, force=True)
        if isinstance(app, ExchangeReleaseAssignment):
            inbound = Path(app.inbound_path)
            inbound.chmod(inbound.stat().st_mode | stat.S_ISVTX)  # none removes another's
    return chosen


def collect(root: Path, name: str) -> list[str]:
    """Take the latest of what each student handed in into submitted/; returns what to say of each."""
    app = _run("collect", root, name, update=True)
    if isinstance(app, Collect):
        known = len(app.src_records) - app.copied
        return app.says + ([f"nothing newer of {known} who were collected before"] if known else [])
    return [f"{one['student_id']}: collected" for one in app.src_records]


class Collect(ExchangeCollect):
    """nbgrader's, of folders that are their student's own, and of nothing in them but plain files."""

    def init_src(self) -> None:
        """Choose the latest folder of each student."""
        self.says: list[str] = []
        self.copied = 0
        inbound = Path(self.root, self.coursedir.course_id, "inbound")
        self.inbound_path, latest = str(inbound), {}
        for place in sorted(inbound.glob(f"*+{self.coursedir.assignment_id}+*")):
            try:
                record = self._path_to_record(str(place))
                owner = _owner(place)
            except (OSError, ValueError, OverflowError) as error:
                self._say(f"{place.name}: not collected: {error}")
                continue
            name = record["username"]
            if owner != name:
                self._say(f"{place.name}: not collected: the folder is {owner}'s")
            elif name not in latest or record["timestamp"] >= latest[name]["timestamp"]:
                latest[name] = record
        self.src_records = list(latest.values())

    def do_copy(self, src: str, dest: str, log: object = None) -> None:
        """Copy one submission; whatever is wrong with it stops no other."""
        place, student = Path(src), Path(src).name.partition("+")[0]
        self.copied += 1
        try:
            left_out = copy_plain(place, Path(dest))
            made, stated = place.stat().st_ctime, (Path(dest) / "timestamp.txt").read_text()
            if made - parse_utc(stated.strip()).timestamp() > TOLERANCE:
                left_out.append(f"it states {stated.strip()}, but its folder is younger")
        except (OSError, ValueError, OverflowError) as error:
            return self._say(f"{student}: not collected in full: {error}")
        self._say("; ".join([f"{student}: collected", *left_out]))

    def _say(self, line: str) -> None:
        line = shown(line.encode(errors="replace").decode())  # a name of a file need not be text
        self.says.append(line)
        self.log.info(line)


def copy_plain(source: Path, target: Path) -> list[str]:
    """Copy the plain files below `source`, following no link at any moment; returns what was left out.

    Raises `OSError` for what cannot be read, and for more than `LARGEST` or `MOST`.
    """
    left_out, size, number = [], 0, 0
    for folder, inner, files, descriptor in os.fwalk(source, follow_symlinks=False, onerror=_raise):
        within = Path(folder).relative_to(source)
        there = target / within
        there.mkdir(parents=True, exist_ok=True)
        number += len(files) + len(inner)
        if number > MOST:
            raise OSError(f"more than {MOST} files and folders")
        if len(within.parts) == DEEPEST and inner:
            left_out.append(f"left out what is more than {DEEPEST} folders deep")
            inner.clear()
        for name in files:
            try:
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
            except OSError:
                left_out.append(f"left out {name}, a link or unreadable")
                continue
            with os.fdopen(opened, "rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode):
                    left_out.append(f"left out {name}, which is no plain file")
                    continue
                content = file.read(LARGEST + 1 - size)
                size += len(content)
                if size > LARGEST:
                    raise OSError(f"more than {LARGEST // 2**20} MB")
                (there / name).write_bytes(content)
    return left_out


def give_back(marks: Path, submitted: Path) -> list[str]:
    """Put the pages of feedback of a folder of marks where their students fetch them; returns the students.

    A page is named after the secret that was handed in with the work, in `submitted`. Raises `FolderError`.
    """
    from .record import Record

    record, config = Record(marks), _config()
    name, given = record.assignment, []
    for student, line in sorted(record.journal.latest().items()):
        page, work = marks / "feedback" / f"{student}.html", submitted / student / name
        is_graded = any(_sha256(file) == line["sha256"] for file in work.glob("*.ipynb"))
        if not (is_graded and page.is_file()):
            continue  # a newer one was collected: grade it first
        if ngshare.client(config, "release_feedback"):
            ngshare.send(config, page, work, student, name)
            given.append(student)
            continue
        if not (work / SECRET).is_file():
            continue
        secret = _content(work / SECRET).decode("utf-8", "replace")
        checksum = notebook_hash(secret=secret, notebook_id=name)
        folder = Path(config.Exchange.root, config.CourseDirectory.course_id, "feedback")
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)  # who knows the name of a page may read it, nobody may list them
        new = folder / f"{checksum}.tmp"
        shutil.copyfile(page, new)
        new.chmod(0o644)
        new.replace(folder / f"{checksum}.html")
        given.append(student)
    return given


def _config() -> Config:
    return PyFileConfigLoader(CONFIG.name, path=str(CONFIG.parent)).load_config()


def _run(what: str, root: Path, name: str, **traits: object) -> Exchange:
    """Run one of nbgrader's transfers with the course's settings. Raises `FolderError`."""
    config = _config()
    own = {"release_assignment": ExchangeReleaseAssignment, "collect": Collect}[what]
    course = CourseDirectory(config=config, root=str(root.absolute()), assignment_id=name)
    foreign = ngshare.client(config, what)
    app = (foreign or own)(coursedir=course, config=config)
    for key, value in traits.items():
        setattr(app, key, value)
    if not foreign and not Path(app.root).is_dir():
        more = "course/hub/README.md says how a hub gets one, MG9_EXCHANGE names another folder"
        raise FolderError(f"there is no exchange at {app.root}: {more}")
    try:
        with ngshare.heard(app) if foreign else nullcontext():
            app.start()
    except ExchangeError as error:
        where = "ngshare" if foreign else app.root
        raise FolderError(f"{name}: {error}; the exchange is {where}") from error
    return app


def _sha256(file: Path) -> str:
    return hashlib.sha256(_content(file)).hexdigest()


def _content(file: Path) -> bytes:
    """What is in an ordinary file; nothing where it is none: nobody waits for a pipe."""
    try:
        return regular(file)
    except Unusable:
        return b""


def _owner(place: Path) -> str:
    """Whose folder it is. Raises `OSError` if it is none."""
    about = place.lstat()
    if not stat.S_ISDIR(about.st_mode):
        raise NotADirectoryError("no folder")
    try:
        return pwd.getpwuid(about.st_uid).pw_name
    except KeyError:
        return f"number {about.st_uid}"


def _raise(error: OSError) -> None:
    raise error
