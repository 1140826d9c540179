#!/usr/bin/env bash
# Runs a sweep on a TPU slice of Google Cloud: gets the slice, installs pathstar on every worker, runs one process a chip, each with its share
# of the packs, starts again after a preemption, fetches the results and deletes the slice. Needs gcloud, logged in. Everything that is
# written goes to the bucket, so the same command again resumes from there.
#
# IT COSTS MONEY: a slice is billed from the moment it is active until it is deleted, and so is what lies in the bucket. The slice is
# deleted at the end, also after an error or Ctrl-C, unless --keep is given. `pathstar plan` estimates the hours beforehand. What is
# installed is the last commit of this checkout.
#
# Usage: bash launch/tpu_pod.sh --project=P --zone=Z --type=T --name=N --bucket=B --config=FILE [OPTION ...] [words for `pathstar sweep`]
#
#   --project, --zone   where, as in --zone=us-west4-a
#   --type=T            accelerator type, as in v5litepod-16
#   --name=N            name of the slice and of its queued resource; one that exists is used
#   --bucket=B          results go to gs://B/N
#   --config=FILE       the sweep's config, as in configs/grid.py, a path in this checkout
#   --version=V         runtime version (default: v2-alpha-tpuv5-lite for v5litepod, v2-alpha-tpuv6e for v6e, else tpu-ubuntu2204-base)
#   --spot              spot price; may be preempted
#   --one_job           one job over the slice, in place of one process a chip; for packs larger than one chip
#   --starts=K          give up after the sweep has been cut off K times (default 10)
#   --fetch             fetch the results there are, and do nothing else: no slice is asked for
#   --out=DIR           where results are fetched to (default runs/N)
#   --keep              leave the slice running at the end: it goes on costing money
#   --dry_run           print the commands and stop
#   --help              this text
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/launch/arguments.sh"

project='' zone='' type='' name='' bucket='' config='' version='' spot='' starts=10 out='' keep='' fetch=''
one_job='' dry_run='' words=()
for word in "$@"; do
  case $word in
    --help) usage "$0" ;;
    --project=*) project=${word#*=} ;;
    --zone=*) zone=${word#*=} ;;
    --type=*) type=${word#*=} ;;
    --name=*) name=${word#*=} ;;
    --bucket=*) bucket=${word#*=}; bucket=${bucket#gs://} ;;
    --config=*) config=${word#*=} ;;
    --version=*) version=${word#*=} ;;
    --spot) spot=1 ;;
    --starts=*) starts=${word#*=} ;;
    --out=*) out=${word#*=} ;;
    --keep) keep=1 ;;
    --one_job) one_job=1 ;;
    --fetch) fetch=1 ;;
    --dry_run) dry_run=1 ;;
    --shard*) fail "$word: is set here, one shard a chip" ;;
    --config.*|--max_pack=*|--only=*|--mesh=*) words+=("$word") ;;
    *) unknown "$word" ;;
  esac
done
need name bucket
out=${out:-runs/$name}
workdir=gs://$bucket/$name
if [ -n "$fetch" ]; then
  fetch_results "$workdir" "$out" "$dry_run"
  exit
fi
need project zone type config
positive starts
committed "$here" "$config"
case ${version:+given}$type in
  given*) ;;
  v5litepod*) version=v2-alpha-tpuv5-lite ;;
  v6e*) version=v2-alpha-tpuv6e ;;
  *) version=tpu-ubuntu2204-base ;;
esac

where=("--project=$project" "--zone=$zone")
worker=(flock .sweep bash launch/tpu_worker.sh)  # after a lost connection the old processes may still run: a new start waits for them
if [ -n "$one_job" ]; then worker+=(--one_job); fi
sweep=$(quoted "${worker[@]}" "--config=$config" "--workdir=$workdir" ${words[@]+"${words[@]}"})
python="command -v python3.11 >/dev/null || { sudo apt-get -q update && sudo apt-get -qy install python3.11-venv; }"
install="$python && mkdir -p pathstar && tar -xzf pathstar.tar.gz -C pathstar && cd pathstar && . launch/setup.sh && setup tpu"
create=(gcloud compute tpus queued-resources create "$name" "${where[@]}" "--node-id=$name" "--accelerator-type=$type"
        "--runtime-version=$version")
if [ -n "$spot" ]; then create+=(--spot); fi
describe=(gcloud compute tpus queued-resources describe "$name" "${where[@]}" "--format=value(state.state)")
delete=(gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet)
pack=(git -C "$here" archive --format=tar.gz "--output=/tmp/$name.tar.gz" HEAD)
copy=(gcloud compute tpus tpu-vm scp "/tmp/$name.tar.gz" "$name:pathstar.tar.gz" "${where[@]}" --worker=all)
on_workers=(gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=all)

if [ -n "$dry_run" ]; then
  pack[2]=.
  quoted "${describe[@]}"
  quoted "${create[@]}"
  quoted "${pack[@]}"
  quoted "${copy[@]}"
  quoted "${on_workers[@]}" "--command=$install"
  quoted "${on_workers[@]}" "--command=cd pathstar && $sweep"
  fetch_results "$workdir" "$out" "$dry_run"
  if [ -n "$keep" ]; then echo "# kept, and billed until: $(quoted "${delete[@]}")"; else quoted "${delete[@]}"; fi
  exit 0
fi
command -v gcloud >/dev/null || fail "gcloud was not found: see https://cloud.google.com/sdk/docs/install"

# The slice's state: ACTIVE, ACCEPTED, PROVISIONING, WAITING_FOR_RESOURCES, SUSPENDED, FAILED, ...; empty if there is none, UNKNOWN if
# gcloud can't tell, as without a network.
state() {
  if ! "${describe[@]}" 2>"$said"; then grep -q NOT_FOUND "$said" || echo UNKNOWN; fi
}
said=$(mktemp)
# What gcloud says where asking again is of no use. Not: that it can't refresh its tokens, which it says without a network too.
denied='PERMISSION_DENIED|UNAUTHENTICATED|does not have permission|active account|Reauthentication|invalid_grant'

# Gets the slice and waits until it is active; one that was lost is deleted first.
get() {
  local asked=''
  echo "asking for $type in $zone${spot:+ at spot price}: billed from when it is active${keep:+, and until you delete it (--keep)}"
  while true; do
    case $(state) in
      ACTIVE) return ;;
      '') "${create[@]}"; asked=1 ;;
      FAILED) if [ -n "$asked" ]; then fail "$type was refused (no quota, or no such type in $zone?)"; else "${delete[@]}"; fi ;;
      SUSPENDED|SUSPENDING) "${delete[@]}" ;;
      UNKNOWN)
        if grep -Eq "$denied" "$said"; then fail "the state of $name can't be asked for: $(grep -Em 1 "$denied" "$said")"; fi
        echo "the state of $name is not known ($(tail -n 1 "$said")); trying again" ;;
    esac
    sleep "${PATHSTAR_POLL_S:-30}"
  done
}

# shellcheck disable=SC2317,SC2329  # called at exit
leave() {
  if [ -n "$keep" ]; then
    echo "kept: $name goes on costing money until: $(quoted "${delete[@]}")"
  elif [ -n "$(state)" ]; then
    "${delete[@]}" || echo "error: $name could not be deleted; if it is there it goes on costing money; try: $(quoted "${delete[@]}")" >&2
  fi
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"${pack[@]}"
status=1
for ((start = 1; start <= starts; start++)); do
  get
  status=0
  { "${copy[@]}" && "${on_workers[@]}" "--command=$install" && "${on_workers[@]}" "--command=cd pathstar && $sweep"; } || status=$?
  # An error on a slice that is still there is the sweep's own; 255 is ssh's word for a lost connection, 75 a sweep's for a signal.
  if [ $status = 0 ] || { [ $status != 255 ] && [ $status != 75 ] && [ "$(state)" = ACTIVE ]; }; then break; fi
  echo "the sweep was cut off (start $start of $starts); it resumes"
done
fetch_results "$workdir" "$out" || { [ $status != 0 ] || status=1; }
exit "$status"
