#!/usr/bin/env bash
# Runs a sweep on this machine's GPUs: one process a GPU, each with its share of the packs, or one process over all of them.
# The same command again resumes. Ctrl-C and SIGTERM save a checkpoint in every process first.
#
# Usage: bash launch/gpu.sh --config=FILE --workdir=DIR [OPTION ...] [words for `pathstar sweep`, as --config.FIELD=VALUE, --max_pack=N]
#
# Relative paths are those of this checkout.
#
#   --gpus=0,1,2     GPUs to use (default: those of CUDA_VISIBLE_DEVICES; where that is not set, all that nvidia-smi lists)
#   --one_process    one process over all GPUs: packs are spread over them by their mesh; for packs larger than one GPU
#   --dry_run        print the commands and stop
#   --help           this text
#
# Exit status: 0 done, 1 a run failed, 2 bad input, 75 stopped by a signal. Logs of the processes: DIR/logs/gpu_<i>.log.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/launch/arguments.sh"

gpus='' one_process='' dry_run='' config='' workdir='' words=()
for word in "$@"; do
  case $word in
    --help) usage "$0" ;;
    --gpus=*) gpus=${word#*=} ;;
    --one_process) one_process=1 ;;
    --dry_run) dry_run=1 ;;
    --config=*) config=${word#*=} ;;
    --workdir=*) workdir=${word#*=} ;;
    --shard*) fail "$word: is set here, one shard a GPU" ;;
    --config.*|--max_pack=*|--only=*|--mesh=*) words+=("$word") ;;
    *) unknown "$word" ;;
  esac
done
need config workdir
from=--gpus
if [ -z "$gpus" ]; then
  if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    gpus=$CUDA_VISIBLE_DEVICES from=CUDA_VISIBLE_DEVICES
  elif command -v nvidia-smi >/dev/null; then
    gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,) ||
      fail "--gpus: nvidia-smi failed (${gpus:-without a word}); say which GPUs, as in --gpus=0,1"
  elif [ -n "$dry_run" ]; then
    echo "# nvidia-smi was not found: as on a machine with one GPU; --gpus=0,1 shows it with two"
    gpus=0
  else
    fail "--gpus: nvidia-smi was not found; say which GPUs, as in --gpus=0,1"
  fi
fi
gpu='([0-9]+|(GPU|MIG)-[A-Za-z0-9-]+)'
[[ $gpus =~ ^$gpu(,$gpu)*$ ]] || fail "$from=$gpus: must be GPUs by number or UUID, as in 0,1,2"
IFS=, read -ra list <<<"$gpus"

if [ -n "$dry_run" ]; then
  quoted mkdir -p "$workdir/logs"
else
  cd "$here"
  . launch/setup.sh
  setup cuda
  mkdir -p "$workdir/logs"
  PATH=$here/.venv/bin:$PATH
fi

sweep=(pathstar sweep "--config=$config" "--workdir=$workdir" ${words[@]+"${words[@]}"})
children=()
start() {  # start GPUS LOG WORD...
  local devices=$1 log=$2
  shift 2
  if [ -n "$dry_run" ]; then
    echo "CUDA_VISIBLE_DEVICES=$devices $(quoted "$@") >>$(quoted "$log") 2>&1 &"
    return
  fi
  CUDA_VISIBLE_DEVICES=$devices "$@" >>"$log" 2>&1 &
  children+=($!)
}

if [ -n "$one_process" ]; then
  start "$gpus" "$workdir/logs/gpu_all.log" "${sweep[@]}"
else
  for i in "${!list[@]}"; do
    start "${list[$i]}" "$workdir/logs/gpu_${list[$i]}.log" "${sweep[@]}" "--shard=$i/${#list[@]}"
  done
fi
if [ -n "$dry_run" ]; then exit 0; fi

echo "started ${#children[@]} process(es); logs: $workdir/logs; how far it is: pathstar sweep --status --workdir=$workdir"
finish "${children[@]}"
