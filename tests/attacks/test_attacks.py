"""The attack corpus: what is in it, and that what an attack reaches is noticed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from course.grader.build import build
from course.grader.form import FormError, read_source
from course.selftest.attacks import run_attacks
from course.selftest.corpus import Attack, deserved, read_corpus
from course.selftest.traps import Traps

HERE = Path(__file__).parent
ATTACKS = read_corpus(HERE)

# What the corpus must try, each with the words by which an attack of that kind is found.
KINDS = {
    "numpy.testing": "numpy.testing",
    "torch.testing": "torch.testing",
    "builtins": "builtins",
    "mg9 itself": "mg9.checks",
    "AST transformers": "ast_transformers",
    "input transformers": "input_transformers",
    "displayhook": "displayhook",
    "showtraceback": "showtraceback",
    "hooks": "pre_run_cell",
    "magic comparisons": "__eq__",
    "lying types": "__class__",
    "the gradebook": r"gradebook\.db",
    "the sources": "solutions/",
    "other submissions": "@CLASS@",
    "configuration": "nbgrader_config",
    "the home": "expanduser",
    "/proc": "/proc/",
    "background processes": "setsid",
    "the parent": "getppid",
    "startup files": "startup/",
    "sockets": "create_connection",
    "DNS": "DNS",
    "a hub's port": "8081",
    "many processes": r"fork\(",
    "much memory": "MemoryError",
    "much disk": "os.urandom",
    "many descriptors": "/dev/null",
    "much output": "os.write",
    "deep values": "deep",
    "large values": "300_000_000",
    "dictionaries that name classes": "@module",
    "code that recognises the grader": "NBGRADER_EXECUTION",
    "mg9's own implementation": "d_cgcnn",
    "forged replies": "execute_reply",
    "the stack": "f_back",
    "ptrace": "ptrace",
    "shared memory": "shared_memory",
    "namespaces": "unshare",
    "trace functions": "settrace",
    "the garbage collector": r"gc\.get_objects",
    "exit handlers": "atexit",
    "signal handlers": r"signal\.signal",
    "late threads": r"Thread\(target",
    "cell magics": "%%script",
    "outputs that a browser would run": "application/javascript",
    "key rings": "key ring",
    "replies that cannot be written": "ud800",
}
FILES = (
    "edited",
    "deleted",
    "there twice",
    "moved",
    "points are forged",
    "nested",
    "encoding",
    "another kernel",
    "names are no text",
    "terminal obeys",
    "take long to read",
    "pictures without end",
)


def test_every_kind_of_attack_is_there():
    assert len(ATTACKS) >= 100
    text = [f"{attack.name} {attack.tries} {' '.join(attack.cells.values())}" for attack in ATTACKS]
    missing = [kind for kind, words in KINDS.items() if not any(re.search(words, one) for one in text)]
    assert not missing
    for word in FILES:
        assert any(word in attack.name for attack in ATTACKS if attack.write), word


def test_what_an_attack_says_is_not_escaped_twice():
    r"""'\\\\n' in a literal text of TOML is a backslash and an n for Python, and the attack another one."""
    for attack in ATTACKS:
        for text in attack.cells.values():
            assert not re.search(r"\\\\[nrtx0]", text), attack.name


def test_what_could_harm_this_machine_is_not_run_without_a_sandbox():
    """A second look at what may: nothing that starts processes, signals, writes or connects."""
    words = "subprocess|fork|kill|import.* socket|unlink|rmtree|mount|urandom|/proc/|sqlite|ctypes|expanduser"
    for attack in ATTACKS:
        if attack.unsandboxed and attack.name != "dictionaries that name classes":
            assert not re.search(words, " ".join(attack.cells.values())), attack.name


def test_a_description_that_does_not_fit_is_refused(tmp_path):
    (tmp_path / "notebooks.py").write_text("ATTACKS = []")
    (tmp_path / "one.toml").write_text('[[attack]]\nname = "a"\ntries = "b"\ncell = 1')
    with pytest.raises(FormError, match="one.toml, attack 'a': cell"):
        read_corpus(tmp_path)
    (tmp_path / "one.toml").write_text(
        '[[attack]]\nname = "a"\ntries = "b"\n[[attack]]\nname = "A!"\ntries = "c"'
    )
    with pytest.raises(FormError, match="two attacks are called a"):
        read_corpus(tmp_path)
    with pytest.raises(FormError, match="earns nothing-check, which is not graded"):
        deserved(Attack("a", "b", earns=("nothing-check",)), read_source(HERE, "target"))


def reached(tmp_path: Path, program: str) -> list[str]:
    """What the traps say after `program` ran beside them without any sandbox."""
    place, marks = tmp_path / "place", tmp_path / "marks"
    place.mkdir(), marks.mkdir()
    traps = Traps(place)
    traps.watch([])
    names = {
        "canary": traps.canary,
        "home": traps.home,
        "port": traps.port,
        "word": traps.word,
        "marks": marks,
    }
    subprocess.run([sys.executable, "-c", program, *map(str, names.values())], check=True, timeout=600)
    said = traps.sprung(marks)
    traps.close()
    for file in Path("/tmp").glob(f"{traps.word}*"):
        file.unlink()
    return said


TOUCHES = {
    "nothing": ("", None),
    "a file outside": ("open(canary + '/x', 'w')", "outside/x was changed"),
    "the secret's file": ("open(canary + '/secret.txt', 'a').write('x')", "outside/secret.txt was changed"),
    "a startup file": (
        "import os; os.makedirs(home + '/.ipython'); open(home + '/.ipython/0.py', 'w')",
        "0.py was",
    ),
    "a connection": ("import socket; socket.create_connection(('127.0.0.1', int(port)))", "listener heard"),
    "a datagram": (
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', int(port)))",
        "listener heard datagram",
    ),
    "an abstract socket": (
        "import socket; socket.socket(socket.AF_UNIX).connect('\\0' + word)",
        "listener heard",
    ),
    "a process": (
        "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 60 # ' + word], start_new_session=True)",
        "still runs",
    ),
    "a file in /tmp": ("open('/tmp/' + word, 'w')", "was left behind"),
    "the secret in the marks": (
        "open(marks + '/page.html', 'w').write(open(canary + '/secret.txt').read())",
        "page.html holds the secret",
    ),
    "a word of success": ("open(marks + '/log', 'w').write('REACHED it')", "log: REACHED it"),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_each_trap_notices(tmp_path, touch):
    code, expected = TOUCHES[touch]
    said = reached(tmp_path, f"import sys\n_, canary, home, port, word, marks = sys.argv\n{code}")
    if expected is None:
        assert said == []
    else:
        assert len(said) == 1 and expected in said[0], said


def test_the_ears_are_free_again(tmp_path):
    (tmp_path / "place").mkdir()
    traps = Traps(tmp_path / "place")
    traps.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", traps.port), timeout=2)


@pytest.mark.parametrize("kind", ["files", "network", "values", "wire"])
def test_the_attacks_gain_nothing(kind):
    """Graded as an instructor grades: nobody gains or loses a point, and no trap springs.

    The other kinds take longer: `mg9-course selftest` grades the whole corpus.
    """
    told = tomllib.loads((HERE / f"{kind}.toml").read_text(encoding="utf-8"))["attack"]
    names = {entry["name"] for entry in told}
    outcome = run_attacks(chosen=lambda attack: attack.name in names)
    assert len(outcome.attacks) == len(names)
    assert (outcome.undeserved, outcome.lost, outcome.aborted) == (0, 0, False), str(outcome)
    assert not outcome.faults, str(outcome)


def test_without_bubblewrap_the_grader_refuses(tmp_path):
    """Nothing is run and nothing is written; only --unsandboxed, which each mark tells, would go on."""
    root = tmp_path / "course"
    shutil.copytree(HERE / "solutions", root / "solutions")
    build(root, "target")
    place = tmp_path / "submitted" / "amira" / "target"
    shutil.copytree(root / "exercises" / "target", place)
    program = [sys.executable, "-m", "course.grader.cli", "--root", root, "grade", tmp_path / "submitted"]
    only_python = os.environ | {"PATH": str(Path(sys.executable).parent)}
    done = subprocess.run([*map(str, program)], env=only_python, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 2 and "no sandbox without bwrap" in done.stderr
    assert not (root / "gradebook").exists()
