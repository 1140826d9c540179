#!/usr/bin/env bash
# Runs a sweep as a Kubernetes job set on a GKE cluster with TPUs, through xpk: one process a chip of every slice, each with its share of the
# packs. Slices share gs://B/N, where a pack is claimed by one process at a time, and what a preempted one held goes on elsewhere. Needs xpk
# (pip install xpk), gcloud, logged in, and kubectl. What runs is the last commit of this checkout, put into a container on top of --image.
#
# IT COSTS MONEY as long as the cluster has nodes for it; `pathstar plan` estimates the hours beforehand. Nothing is created but the job set,
# which ends by itself; the same command again, once it has ended, resumes.
#
# Usage: bash launch/gke.sh --cluster=C --project=P --zone=Z --type=T --name=N --bucket=B --config=FILE [OPTION ...] [words for `pathstar sweep`]
#
#   --cluster, --project, --zone   the cluster, as made by `xpk cluster create`; its nodes must be allowed to write to the bucket
#   --type=T            slice, as in v5litepod-16
#   --name=N            name of the job set; results go to gs://B/N
#   --bucket=B          for results
#   --config=FILE       the sweep's config, as in configs/grid.py, a path in this checkout
#   --slices=K          slices side by side (default 1)
#   --one_job           one job over the slice, in place of one process a chip; for packs larger than one chip
#   --image=I           base of the container (default python:3.11)
#   --spot              spot price; may be preempted
#   --restarts=K        give up after K preemptions (default 10)
#   --fetch             fetch the results there are to --out, and do nothing else
#   --out=DIR           where results are fetched to (default runs/N)
#   --dry_run           print the commands and stop
#   --help              this text
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/launch/arguments.sh"

cluster='' project='' zone='' type='' name='' bucket='' config='' slices=1 one_job='' image=python:3.11 spot='' restarts=10 fetch='' out=''
dry_run='' words=()
for word in "$@"; do
  case $word in
    --help) usage "$0" ;;
    --cluster=*) cluster=${word#*=} ;;
    --project=*) project=${word#*=} ;;
    --zone=*) zone=${word#*=} ;;
    --type=*) type=${word#*=} ;;
    --name=*) name=${word#*=} ;;
    --bucket=*) bucket=${word#*=}; bucket=${bucket#gs://} ;;
    --config=*) config=${word#*=} ;;
    --slices=*) slices=${word#*=} ;;
    --one_job) one_job=1 ;;
    --image=*) image=${word#*=} ;;
    --spot) spot=1 ;;
    --restarts=*) restarts=${word#*=} ;;
    --fetch) fetch=1 ;;
    --out=*) out=${word#*=} ;;
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
need cluster project zone type config
positive slices
[[ $restarts =~ ^[0-9]+$ ]] || fail "--restarts=$restarts: must be an integer >= 0"
if [ -n "$one_job" ] && [ "$slices" != 1 ]; then fail "--one_job: is over one slice, not --slices=$slices"; fi
committed "$here" "$config"

if [ -n "$dry_run" ]; then
  code=/tmp/$name.code
else
  command -v xpk >/dev/null || fail "xpk was not found: pip install xpk, see https://github.com/AI-Hypercomputer/xpk"
  code=$(mktemp -d)
  trap 'rm -rf "$code"' EXIT
fi
worker=(bash launch/tpu_worker.sh)
if [ -n "$one_job" ]; then worker+=(--one_job); fi
worker+=("--config=$config" "--workdir=$workdir" ${words[@]+"${words[@]}"})
submit=(xpk workload create "--cluster=$cluster" "--project=$project" "--zone=$zone" "--workload=$name" "--tpu-type=$type"
        "--num-slices=$slices" "--base-docker-image=$image" "--script-dir=$code" "--max-restarts=$restarts" --restart-on-exit-codes=75
        --termination-grace-period-seconds=120)
if [ -n "$spot" ]; then submit+=(--spot); fi
submit+=("--command=. launch/setup.sh && setup tpu && $(quoted "${worker[@]}")")

if [ -n "$dry_run" ]; then
  quoted mkdir "$code"
  echo "git -C . archive HEAD | $(quoted tar -x -C "$code")"
  quoted "${submit[@]}"
  echo "# how far it is: $(quoted xpk workload list "--cluster=$cluster" "--project=$project" "--zone=$zone"); its results: --fetch"
  exit 0
fi
git -C "$here" archive HEAD | tar -x -C "$code"
"${submit[@]}"
echo "submitted; its results: bash launch/gke.sh --name=$name --bucket=$bucket --fetch"
