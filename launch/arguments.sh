# shellcheck shell=bash
# What the launch scripts share: their help, their errors, printing a command so that it can be pasted, and waiting for processes.

fail() { echo "error: $*" >&2; exit 2; }

# usage SCRIPT: prints the comment at its head.
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$1"; exit 0; }

unknown() { fail "$1: unknown option; --help lists them"; }

# need NAME...: the variables must not be empty.
need() {
  local name
  for name in "$@"; do
    [ -n "${!name}" ] || fail "--$name=... is required; --help says more"
  done
}

# positive NAME...: the variables must be integers >= 1.
positive() {
  local name
  for name in "$@"; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "--$name=${!name}: must be an integer >= 1"
  done
}

# committed CHECKOUT CONFIG: its last commit, which is what is sent, must have the config's file, or the one of this name in configs/, as it
# is here.
committed() {
  local git=(git -C "$1") file=${2%%:*} said
  said=$("${git[@]}" rev-parse HEAD 2>&1) || fail "--config=$2: the last commit is sent, and $1 has none (${said%%$'\n'*})"
  "${git[@]}" cat-file -e "HEAD:./$file" 2>/dev/null ||
    file=$("${git[@]}" ls-tree -r --name-only HEAD configs | grep -F "/$file.py") ||
    fail "--config=$2: is not in the last commit, which is what is sent; it must be a path in this checkout, committed"
  "${git[@]}" diff --quiet HEAD -- "$file" || fail "--config=$2: $file was changed after the last commit, which is what is sent; commit it"
}

# quoted WORD...: one line that a shell reads as these words.
quoted() {
  local word line=''
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="$word "
  done
  echo "${line% }"
}

# fetch_results FROM TO [DRY_RUN]: copies a sweep's folder on a bucket, without what only training needs.
fetch_results() {
  local command=(gcloud storage rsync --recursive "--exclude=.*/checkpoints/.*|compiled/.*|.*/\.claims/.*" "$1" "$2")
  if [ -n "${3:-}" ]; then
    quoted mkdir -p "$2"
    quoted "${command[@]}"
    return
  fi
  command -v gcloud >/dev/null || fail "gcloud was not found: see https://cloud.google.com/sdk/docs/install"
  mkdir -p "$2"
  if "${command[@]}"; then
    echo "results: $2"
  else
    echo "error: the results could not be fetched; they are in $1" >&2
    return 1
  fi
}

# finish PID...: hands SIGTERM and SIGINT on to the processes, waits for all, and returns the gravest status: 2, 1, 75 or 0.
finish() {
  local pid status worst=0
  processes=("$@")
  trap 'signalled=1; kill -TERM "${processes[@]}" 2>/dev/null || true' TERM INT
  for pid in "$@"; do
    while true; do
      signalled='' status=0
      wait "$pid" || status=$?
      [ -n "$signalled" ] || break  # a signal to this script ends `wait` while the process still saves
    done
    case $status in
      0) ;;
      75) if [ $worst = 0 ]; then worst=75; fi ;;
      2) worst=2 ;;
      *) if [ $worst != 2 ]; then worst=1; fi ;;
    esac
  done
  return $worst
}
