# /etc/profile.d/mg9.sh: a terminal is a login shell, for which /etc/profile forgets what the server had.
PATH="/opt/mg9/.venv/bin:$PATH"
[ -d ~/unit9/.venv ] && PATH="$HOME/unit9/.venv/bin:$PATH" # an instructor's
