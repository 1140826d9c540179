#!/usr/bin/env bash
# Installs pathstar into .venv and runs the fast tests. Arguments go to pytest: `bash tests/run.sh -m slow`.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh
setup test
if [ $# -eq 0 ]; then set -- -m "not slow"; fi
exec .venv/bin/python -m pytest -q "$@"
