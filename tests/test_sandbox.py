"""The sandbox: every limit is tried by a real program in a real one, and its absence is noticed."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from sandboxes import needs_sandbox

from course.grader import bubblewrap, doctor, package
from course.grader.bubblewrap import Limits, Place
from course.grader.groups import Group
from course.grader.probes import PROBES, SMALL
from course.grader.sandbox import Sandbox, run

pytestmark = needs_sandbox
BY_NAME = {probe.name: probe for probe in PROBES}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_limit_holds(name):
    assert doctor.held(BY_NAME[name]) == ""


def without(*words: str):
    """`command` with these words of bubblewrap's taken out."""
    complete = bubblewrap.command

    def command(*arguments, **named):
        return [word for word in complete(*arguments, **named) if word not in words]

    return command


def test_a_network_would_be_noticed(monkeypatch):
    monkeypatch.setattr("course.grader.sandbox.command", without("--unshare-net"))
    assert "127.0.0.1" in doctor.held(BY_NAME["network"])


def test_a_key_ring_would_be_noticed(monkeypatch):
    monkeypatch.setattr("course.grader.sandbox.without_keys", bytes)
    assert doctor.held(BY_NAME["keys"])


def test_a_place_without_a_limit_would_be_noticed(monkeypatch):
    complete = bubblewrap.command

    def command(*arguments, **named):
        words = complete(*arguments, **named)
        at = words.index("/dev", words.index("--chdir"))
        return words[: at - 1] + words[at + 1 :]  # without --remount-ro /dev

    monkeypatch.setattr("course.grader.sandbox.command", command)
    assert "/dev" in doctor.held(BY_NAME["disk"])


def test_a_mount_too_many_would_be_noticed(monkeypatch):
    tests = str(Path(__file__).parent)
    complete = bubblewrap._environment
    monkeypatch.setattr(bubblewrap, "_environment", lambda: [*complete(), "--ro-bind", tests, tests])
    assert tests in doctor.held(BY_NAME["files"])


def test_a_module_that_is_not_masked_would_be_noticed():
    assert "mg9.d_cgcnn" in doctor.held(BY_NAME["masked modules"], Place())


GENEROUS = {
    "memory": {"memory_mb": 2000},
    "processes": {"processes": 1000},
    "open files": {"files": 1000},
    "disk": {"disk_mb": 100},
}


@pytest.mark.parametrize("name", GENEROUS)
def test_a_limit_that_is_too_generous_would_be_noticed(name):
    probe = replace(BY_NAME[name], limits=replace(BY_NAME[name].limits, **GENEROUS[name]))
    assert doctor.held(probe)


def test_nothing_outlives_a_sandbox_or_the_grader():
    assert doctor.ends_with_all() == "" and doctor.ends_with_us() == ""


def test_nothing_outlives_a_grader_that_is_killed_while_a_sandbox_starts():
    assert doctor.ends_while_it_starts() == ""


def test_a_process_that_outlives_would_be_noticed(monkeypatch):
    monkeypatch.setattr("course.grader.sandbox.command", without("--unshare-pid", "--die-with-parent"))
    monkeypatch.setattr(Group, "make", lambda *_: None)
    left = doctor.ends_with_all()
    assert "is still there" in left
    os.kill(int(left.split()[1]), 9)


def test_no_trace_of_a_masked_module_is_shown(tmp_path, monkeypatch):
    """What Python has compiled of it, what an editor keeps of it, and what appears while a sandbox runs."""
    real = package.copy_of(doctor.MASK.mask)
    folder = tmp_path / "mg9"
    for name in ("a.py", "d.py", ".d.py.swp", "d.py~", "data/d.txt", "__pycache__/d.cpython-311.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    for name in ("__pycache__/a.cpython-311.pyc", "hidden/x.py", "hidden/__pycache__/x.cpython-311.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    monkeypatch.setattr(package, "PACKAGE", folder)
    monkeypatch.setattr(package, "_copies", {})
    copy = package.copy_of(("mg9/d.py", "mg9/hidden/"))
    (folder / "late.py").write_text("secret")
    shown = {str(path.relative_to(copy)): path.read_text() for path in copy.rglob("*") if path.is_file()}
    masking = package.MASKING.read_text()
    assert shown.pop("d.py") == shown.pop("hidden/__init__.py") == masking and "not there" in masking
    assert shown.keys() == {"a.py", "data/d.txt", "__pycache__/a.cpython-311.pyc"}
    assert (real / "d_cgcnn.py").read_text() == masking and not (real / "pretrained" / "cgcnn.py").exists()


LOOK = """
import os
folder = os.path.expanduser("~/.cache/mg9")
print(sorted(os.listdir(folder)), open(folder + "/given.npz").read())
open(folder + "/own.npz", "w").close()
try:
    open(folder + "/given.npz", "w").close()
    print("written")
except OSError:
    print("read-only")
"""


def test_a_file_of_the_cache_folder_is_there_to_read_and_no_other(tmp_path):
    for name in ("given.npz", "other.npz"):
        (tmp_path / name).write_text("weights")
        (tmp_path / name).chmod(0o666)
    place = Place(cached=(str(tmp_path / "given.npz"),))
    code, printed = run([sys.executable, "-c", LOOK], SMALL, place, 300)
    assert (code, printed) == (0, "['given.npz'] weights\nread-only\n")
    assert (tmp_path / "given.npz").read_text() == "weights"


HOLDS = """import sys
from course.grader import package
print(package.copy_of(("mg9/other.py",)), flush=True)
sys.stdin.read()
"""


def test_copies_of_a_killed_grader_are_swept_and_of_a_running_one_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    words, variables = [sys.executable, "-c", HOLDS], os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True, env=variables) as grader:
        copy = Path(grader.stdout.readline().strip())
        package.copy_of(("mg9/swept.py",))
        assert (copy / "a_crystal.py").exists()
        grader.kill()
        grader.wait()
        package.copy_of(("mg9/swept_again.py",))
        assert not copy.parent.exists()


def test_a_copy_that_was_taken_away_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shutil.rmtree(package.copy_of(("mg9/taken.py",)).parent)
    assert (package.copy_of(("mg9/taken.py",)) / "taken.py").is_file()


def test_the_masked_module_says_why_it_is_not_there():
    code, printed = run([sys.executable, "-c", "import mg9.pretrained.cgcnn"], SMALL, doctor.MASK, 300)
    assert code == 1 and "mg9.pretrained is not there while the work is graded" in printed


def test_variables_are_an_allow_list(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "secret")
    program = "import os; print(sorted(os.environ))"
    _, printed = run([sys.executable, "-c", program], SMALL, Place(variables=(("MG9_BUDGET", "tiny"),)), 300)
    assert "A_TOKEN" not in printed and "MG9_BUDGET" in printed and "LD_LIBRARY_PATH" not in printed


def test_out_of_memory_is_told_as_such():
    sandbox = Sandbox([sys.executable, "-c", "b'x' * 10**9"], replace(SMALL, memory_mb=200), Place())
    sandbox.process.wait(300)
    why = sandbox.end()
    sandbox.kill()
    assert "more memory than it may use" in why or not sandbox.group


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes control groups here")
def test_groups_are_removed():
    group = Group.make("mg9-0-test", 100, 10, 1)
    if group is None:
        pytest.skip("no control group can be made here")
    process = subprocess.Popen(group.entering(["sleep", "60"]))
    while str(process.pid) not in (group.folders[0] / "cgroup.procs").read_text():
        assert process.poll() is None
    group.remove()
    assert process.wait(300) == -9 and not any(folder.exists() for folder in group.folders)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has one user")
def test_every_sandbox_has_a_user_of_its_own():
    both = [Sandbox(["sleep", "5"], Limits(), Place()) for _ in range(2)]
    users = {sandbox.user for sandbox in both}
    for sandbox in both:
        sandbox.kill()
    assert len(users) == 2 and 0 not in users


def test_the_doctor_says_what_holds(capsys):
    assert doctor.doctor() == 0
    printed = capsys.readouterr().out
    assert all(f"holds           {name}" in printed for name in BY_NAME) and "No faults." in printed


def test_without_bubblewrap_the_grader_refuses(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    environment = os.environ | {"PATH": str(programs)}
    for words in (["doctor"], ["grade", str(tmp_path), "--assignment", "cgcnn"]):
        command = [sys.executable, "-m", "course.grader.cli", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == (1 if words == ["doctor"] else 2)
        assert "install the package bubblewrap" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="making control groups and namespaces needs root")
def test_groups_of_a_killed_grader_are_swept_and_of_one_in_a_container_are_not():
    groups = [Group.make(Group.own_name(), 100, 10, 1) for _ in range(2)]
    if not all(groups):
        pytest.skip("no control group can be made here")
    ours, killed = groups
    for folder in killed.folders:
        folder.rename(folder.with_name(folder.name.replace(f"-{os.getpid()}-", f"-{2**30}-")))
    program = "from course.grader.groups import Group; Group.make(Group.own_name(), 100, 10, 1).remove()"
    apart = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    subprocess.run(apart, check=True)
    assert all(folder.exists() for folder in ours.folders)
    Group.make(Group.own_name(), 100, 10, 1).remove()
    assert not any(folder.exists() for folder in killed.folders)
    ours.remove()
