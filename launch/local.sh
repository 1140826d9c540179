#!/usr/bin/env bash
# Installs pathstar into .venv, runs the quickstart sweep on this machine, into runs/quickstart, and prints its report.
#
# Usage: bash launch/local.sh [--help] [--dry_run] [words for `pathstar sweep`, as --config.FIELD=VALUE, --max_pack=N]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/launch/arguments.sh"

dry_run='' words=()
for word in "$@"; do
  case $word in
    --help) usage "$0" ;;
    --dry_run) dry_run=1 ;;
    --config.*|--max_pack=*|--only=*|--mesh=*) words+=("$word") ;;
    *) unknown "$word" ;;
  esac
done

sweep=(pathstar sweep --config=configs/quickstart.py --workdir=runs/quickstart ${words[@]+"${words[@]}"})
report=(pathstar report --workdir=runs/quickstart --quiet)
if [ -n "$dry_run" ]; then
  quoted "${sweep[@]}"
  quoted "${report[@]}"
  exit 0
fi

cd "$here"
. launch/setup.sh
setup test
PATH=$here/.venv/bin:$PATH
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$PWD/.venv/jax_cache}"
"${sweep[@]}"
"${report[@]}"
