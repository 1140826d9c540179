#!/usr/bin/env bash
# Submits a sweep as a SLURM array job: one task a shard, each with every n-th pack. `--backend=slurm` of `pathstar sweep` calls this.
# Two minutes before the time limit a task gets SIGTERM, saves a checkpoint and requeues itself; after a preemption or a lost node
# SLURM requeues it. Either way it resumes. The same command again retries what failed.
#
# Usage: bash launch/slurm.sh --config=FILE --workdir=DIR --shards=N [OPTION ...] [words for `pathstar sweep`]
#
#   --shards=N       tasks of the array; DIR must be on a disk that all nodes share, as must this checkout with
#                    its .venv; relative paths are those of this checkout
#   --sbatch=WORDS   options for sbatch, as in --sbatch="--partition=gpu --gpus=1 --time=12:00:00 --account=MINE": what a task may
#                    use and who pays is said there, and nowhere by default
#   --throttle=M     at most so many tasks at a time
#   --wait           return when the job has ended, with its exit status
#   --dry_run        print the command and the job's script and stop
#   --help           this text
#
# Logs: DIR/logs/slurm_<shard>.log. How far it is: pathstar sweep --status --workdir=DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/launch/arguments.sh"

shards='' sbatch='' throttle='' wait='' dry_run='' config='' workdir='' words=()
for word in "$@"; do
  case $word in
    --help) usage "$0" ;;
    --shards=*) shards=${word#*=} ;;
    --sbatch=*) sbatch=${word#*=} ;;
    --throttle=*) throttle=${word#*=} ;;
    --wait) wait=1 ;;
    --dry_run) dry_run=1 ;;
    --config=*) config=${word#*=} ;;
    --workdir=*) workdir=${word#*=} ;;
    --config.*|--max_pack=*|--only=*|--mesh=*) words+=("$word") ;;
    *) unknown "$word" ;;
  esac
done
need config workdir shards
positive shards ${throttle:+throttle}

read -ra options <<<"$sbatch"
submit=(sbatch --job-name=pathstar "--array=0-$((shards - 1))${throttle:+%$throttle}" --requeue --open-mode=append --signal=B:TERM@120
        "--output=$workdir/logs/slurm_%a.log" ${options[@]+"${options[@]}"})
if [ -n "$wait" ]; then submit+=(--wait); fi
sweep=(pathstar sweep "--config=$config" "--workdir=$workdir" ${words[@]+"${words[@]}"})

# In the job: forward the signal, and after a checkpoint go back to the queue; but not if someone cancelled the job.
script="#!/usr/bin/env bash
PATH=\$PWD/.venv/bin:\$PATH
. launch/arguments.sh
echo \"task \$SLURM_ARRAY_TASK_ID on \$SLURMD_NODENAME, restart \${SLURM_RESTART_COUNT:-0}\"
$(quoted "${sweep[@]}") --shard=\"\$SLURM_ARRAY_TASK_ID/$shards\" &
finish \$!
status=\$?
if [ \$status = 75 ] && [ \"\$(squeue --noheader --format=%T --jobs=\$SLURM_JOB_ID)\" = RUNNING ]; then
  echo \"stopped by the time limit after a checkpoint; back to the queue\"
  scontrol requeue \"\$SLURM_JOB_ID\"
fi
exit \$status
"

if [ -n "$dry_run" ]; then
  echo "$(quoted "${submit[@]}") <<'END'"
  echo "${script}END"
  exit 0
fi
command -v sbatch >/dev/null || fail "sbatch was not found: this is no SLURM login node"
cd "$here"
[ -x .venv/bin/pathstar ] || fail "pathstar is not installed here: run \`. launch/setup.sh && setup cuda\` (or bash tests/run.sh) first"
mkdir -p "$workdir/logs"
"${submit[@]}" <<<"$script"
