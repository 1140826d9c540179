#!/usr/bin/env bash
# Installs pathstar into .venv and runs the fast tests, in one process a core. Arguments go to pytest instead: `bash tests/run.sh -m slow`.
# PATHSTAR_EXTRAS=test,tpu-aot also installs XLA's TPU compiler (221 MB), without which a few slow tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh
setup "${PATHSTAR_EXTRAS:-test}"
if [ $# -eq 0 ]; then set -- -m "not slow" -n auto --dist loadfile --no-loadscope-reorder; fi
exec .venv/bin/python -m pytest -q "$@"
