#!/usr/bin/env bash
# Installs pathstar into .venv, runs the quickstart sweep on this machine and prints its report.
# Usage: bash launch/local.sh [--help] [--dry_run] [--config.FIELD=VALUE ...]
set -euo pipefail
cd "$(dirname "$0")/.."

dry_run=
overrides=()
for word in "$@"; do
  case $word in
    --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
    --dry_run) dry_run=1 ;;
    *) overrides+=("$word") ;;
  esac
done

commands=(
  "pathstar sweep --config=configs/quickstart.py --workdir=runs/quickstart ${overrides[*]-}"
  "pathstar report --workdir=runs/quickstart --quiet"
)
if [ -n "$dry_run" ]; then printf '%s\n' "${commands[@]}"; exit 0; fi

. launch/setup.sh
setup test
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.venv/jax_cache}"
for command in "${commands[@]}"; do
  # shellcheck disable=SC2086  # a command and its words
  .venv/bin/$command
done
