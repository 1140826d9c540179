#!/usr/bin/env bash
# Runs this worker's part of a sweep on a TPU slice: one process a chip, each with its share of the packs, so that nothing waits for another
# chip; or this worker's process of one job over the slice. tpu_pod.sh and gke.sh start it on every worker of every slice.
#
# Usage: bash launch/tpu_worker.sh [OPTION ...] words for `pathstar sweep`, as --config=FILE --workdir=gs://B/N
#
#   --one_job        one job over all chips of the slice, to which this worker adds one process; for packs larger than one chip
#   --worker=I/N     this is worker I of the N of all slices (default: as the TPU's own variables or the metadata server say)
#   --chips=N        chips of this worker (default: the devices in /dev)
#   --dry_run        print the commands and stop
#   --help           this text
#
# Exit status: 0 done, 1 a run failed, 2 bad input, 75 stopped by a signal after a checkpoint. Lines begin with the number of their shard.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/launch/arguments.sh"

one_job='' worker='' chips='' dry_run='' words=()
for word in "$@"; do
  case $word in
    --help) usage "$0" ;;
    --one_job) one_job=1 ;;
    --worker=*) worker=${word#*=} ;;
    --chips=*) chips=${word#*=} ;;
    --dry_run) dry_run=1 ;;
    --shard*) fail "$word: is set here, one shard a chip" ;;
    --config=*|--workdir=*|--config.*|--max_pack=*|--only=*|--mesh=*) words+=("$word") ;;
    *) unknown "$word" ;;
  esac
done

attribute() {
  curl -sf -H 'Metadata-Flavor: Google' "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

if [ -z "$one_job" ]; then
  if [ -z "$worker" ]; then
    if [ -n "${TPU_WORKER_HOSTNAMES:-}" ]; then  # Kubernetes says it so; of several slices the first numbers come first
      hosts=$TPU_WORKER_HOSTNAMES index=${TPU_WORKER_ID:-0} slice=${MEGASCALE_SLICE_ID:-0} slices=${MEGASCALE_NUM_SLICES:-1}
    else
      hosts=$(attribute worker-network-endpoints || true) index=$(attribute agent-worker-number || true) slice=0 slices=1
      [ -n "$hosts" ] && [ -n "$index" ] || fail "--worker=I/N is required: neither TPU_WORKER_HOSTNAMES nor the metadata server says it"
    fi
    IFS=, read -ra list <<<"$hosts"
    worker=$((slice * ${#list[@]} + index))/$((slices * ${#list[@]}))
  fi
  [[ $worker =~ ^(0|[1-9][0-9]*)/[1-9][0-9]*$ ]] && [ "${worker%/*}" -lt "${worker#*/}" ] || fail "--worker=$worker: must be I/N with 0 <= I < N"
  if [ -z "$chips" ]; then
    chips=$({ find /dev /dev/vfio -maxdepth 1 '(' -path '/dev/accel[0-9]*' -o -path '/dev/vfio/[0-9]*' ')' 2>/dev/null || true; } | wc -l)
  fi
  [[ $chips =~ ^[1-9][0-9]*$ ]] || fail "--chips=$chips: must be an integer >= 1; no TPU was found in /dev"
fi

cd "$here"
PATH=$here/.venv/bin:$PATH
children=()
start() {  # start SHARD WORD...
  local shard=$1
  shift
  if [ -n "$dry_run" ]; then
    quoted "$@"
    return
  fi
  "$@" > >(sed -u "s|^|$shard: |") 2>&1 &
  children+=($!)
}

if [ -n "$one_job" ]; then
  start all pathstar sweep --distributed ${words[@]+"${words[@]}"}
else
  for ((chip = 0; chip < chips; chip++)); do
    shard=$((${worker%/*} * chips + chip))/$((${worker#*/} * chips))
    # What says that this chip is one of a slice would make the process wait for the others.
    start "$shard" env -u TPU_WORKER_HOSTNAMES -u TPU_WORKER_ID -u MEGASCALE_COORDINATOR_ADDRESS -u MEGASCALE_SLICE_ID -u MEGASCALE_NUM_SLICES \
      "TPU_VISIBLE_CHIPS=$chip" TPU_CHIPS_PER_PROCESS_BOUNDS=1,1,1 TPU_PROCESS_BOUNDS=1,1,1 \
      pathstar sweep ${words[@]+"${words[@]}"} "--shard=$shard"
  done
fi
if [ -n "$dry_run" ]; then exit 0; fi
finish "${children[@]}"
