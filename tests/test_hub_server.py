"""The commands of course/hub/README.md for one server, run as they stand in a namespace of their own.

What takes minutes is replaced: environments are this one, the clone is a copy, npm and systemd are left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course.hub.__main__ import why_not

ROOT = Path(__file__).parents[1]
HUB = ROOT / "course" / "hub"
SECTION = re.search(r"(?s)\n## One server.*?\n## ", (HUB / "README.md").read_text())[0]
COMMANDS = re.findall(r"(?m)^    (.*)$", SECTION)
COPIED = "mg9 course solutions exercises lectures benchmarks/evaluation.csv start.ipynb LICENSE CITATION.cff \
README.md pyproject.toml requirements.lock"
COVERED = [Path("/home"), Path("/srv"), Path("/opt")]
PLACES = [ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
HIDDEN = [place for place in PLACES if any(place.is_relative_to(folder) for folder in COVERED)]
WHY_NOT = why_not() or (HIDDEN and f"{HIDDEN[0]} lies where the room has its own") or ""
needs_room = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "there is one")

# `make setup` is this environment, by a link; `make release` is what it is.
ROOM = r"""
set -e
stage=/mnt; mount -t tmpfs room $stage; cp -a /etc $stage/etc; mount --bind $stage/etc /etc
for place in /home /srv /opt; do mount -t tmpfs -o mode=0755 room $place; done
mkdir -p $stage/bin; cd $stage/bin; export PATH=$stage/bin:$PATH
cat > make <<'EOF'
#!/bin/sh
set -e
[ "$1" = -C ] && { cd "$2"; shift 2; }
for target in "$@"; do
  case $target in
    setup) ln -sfn "$PREFIX" .venv ;;
    release) .venv/bin/python -m course.grader.cli package >/dev/null ;;
  esac
done
EOF
cat > git <<'EOF'
#!/bin/sh
mkdir -p "$3"; cd "$REPOSITORY"; cp -r --parents $COPIED "$3"
EOF
for name in npm systemctl; do printf '#!/bin/sh\necho %s "$@"\n' $name > $name; done
printf '#!/bin/sh\ntrue\n' > passwd
chmod +x *
cd /
"""
LOOK = r"""
for who in amira ines; do stat -c "%n %a" /home/$who; done
as() {
  who=$1; shift
  setpriv --reuid=$who --regid=$who --init-groups env HOME=/home/$who bash -c "$*" 2>&1 || true
}
as amira 'ls /srv/mg9/hub; ls /home/ines; cat /srv/mg9/settings/all/nbgrader_config.py | head -1'
as amira 'ls ~/mg9/lectures | head -1; ls ~/mg9/solutions; touch /srv/mg9/exchange/x && echo may add'
as ines 'rm -f /srv/mg9/exchange/x; . /etc/profile; echo $PATH'
"$PREFIX/bin/python" - <<'EOF'
import os
from types import SimpleNamespace as Bare
from traitlets.config import PyFileConfigLoader
config = PyFileConfigLoader("jupyterhub_config.py", path="/srv/mg9/hub/course/hub").load_config()
for name in ("amira", "ines"):
    one = Bare(user=Bare(name=name), environment={}, cmd="theirs")
    config.Spawner.pre_spawn_hook(one)
    folders = one.environment["JUPYTER_CONFIG_PATH"].split(":")
    print(name, one.cmd, *folders, all(os.path.isdir(folder) for folder in folders))
EOF
"""


def replayed() -> str:
    """The README's commands, but those that `su` to run what takes minutes; each is echoed, none may fail."""
    kept = [line for line in COMMANDS if not line.startswith("su - ")]
    assert len(COMMANDS) - len(kept) == 2 and len(kept) > 10
    own = "mkdir -p /home/ines/unit9/.venv/bin; touch /home/ines/unit9/.venv/bin/jupyterhub-singleuser"
    return "\n".join(["set -ex", *kept, own, "set +x"])


@needs_room
def test_the_commands_make_a_server_whose_students_reach_no_hidden_check(tmp_path):
    variables = {"PREFIX": sys.prefix, "REPOSITORY": str(ROOT), "COPIED": COPIED, "PIP_NO_INDEX": "1"}
    variables |= {"PYTHONDONTWRITEBYTECODE": "1", "MG9_HUB_PYTHON": "/opt/mg9/.venv"}
    script = tmp_path / "room.sh"
    script.write_text(ROOM + replayed() + LOOK)
    command = ["unshare", "--mount", "--propagation", "private", "bash", str(script)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert (
        "npm install --global configurable-http-proxy@" in said and "systemctl enable --now mg9-hub" in said
    )
    assert "/home/amira 700" in said and "/home/ines 700" in said
    assert said.count("Permission denied") == 2 and "cannot access '/home/amira/mg9/solutions'" in said
    assert '"""nbgrader\'s settings' in said and "A_" in said and "may add" in said
    assert re.search("(?m)^/home/ines/unit9/.venv/bin:/opt/mg9/.venv/bin:", said), said
    for name, home, kind in (("amira", "/opt/mg9", "students"), ("ines", "/home/ines/unit9", "instructors")):
        folders = f"/srv/mg9/settings/{kind} /srv/mg9/settings/all True"
        assert f"{name} ['{home}/.venv/bin/jupyterhub-singleuser'] {folders}" in said


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_accepts(tmp_path):
    """Its folder and its program are these here."""
    text = (HUB / "mg9-hub.service").read_text()
    program = re.search(r"(?m)^ExecStart=(\S+) --config (\S+)$", text)
    assert program[1] == "/srv/mg9/hub/.venv/bin/jupyterhub" and (ROOT / program[2]).is_file()
    # pip's proxy, in .venv/bin, has the name of the one in Node.
    assert "PATH=/usr/local/bin:/usr/bin:/bin\n" in text and "MG9_HUB_PYTHON=/opt/mg9/.venv\n" in text
    unit = tmp_path / "mg9-hub.service"
    unit.write_text(text.replace(program[1], sys.executable).replace("=/srv/mg9/hub\n", f"={ROOT}\n"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
