# shellcheck shell=bash
# Makes .venv with pathstar in it, once; sourced by the launch scripts and tests/run.sh as `setup EXTRA`, or by hand in a shell, which
# an error leaves open: setup runs in a subshell.
# PATHSTAR_PYTHON names the interpreter to use (default: the first of python3.11, python3.12, python3 that is new enough).

declare -F fail >/dev/null || fail() { echo "error: $*" >&2; exit 2; }

setup() (
  extra=$1 stamp=".venv/.installed-$1" pythons=(python3.11 python3.12 python3)
  if [ -n "${PATHSTAR_PYTHON:-}" ]; then pythons=("$PATHSTAR_PYTHON"); fi
  if [ -e "$stamp" ] && [ "$stamp" -nt setup.py ] && [ "$stamp" -nt constraints.txt ]; then return; fi
  for python in "${pythons[@]}"; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    python=
  done
  [ -n "$python" ] || fail "Python 3.11 or newer is needed and was not found; set PATHSTAR_PYTHON to one"
  if [ ! -x .venv/bin/python ]; then
    "$python" -m venv .venv 2>/dev/null ||
      { rm -rf .venv; fail "$python has no venv module (on Debian and Ubuntu: apt-get install python3-venv)"; }
  fi
  echo "installing pathstar[$extra] into .venv"
  .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[$extra]" >.venv/install.log 2>&1 ||
    fail "installation failed (no network?): $(grep -i error .venv/install.log | head -n 1); see .venv/install.log"
  touch "$stamp"
)
