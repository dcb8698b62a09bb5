#!/usr/bin/env bash
# Bills a fixed log and prints how fast that was and what it cost.
# Usage: [EVENTS=5000000] [PARTITIONS=8] tests/bench.sh [--json] [--runs N] [--save FILE] [--compare BASE]
#   --runs N        medians of N runs, and how far the runs were apart
#   --save FILE     keeps them as a baseline
#   --compare BASE  ratios to such a file, or to a revision of the repository: its binary and that of this
#                   tree then run in turns, three times each
# With PARTITIONS=1 EVENTS=11000000 each of two tasks has more than ten million keys.
# The log, the data directory and the results are kept in the cache directory.
set -euo pipefail
STARTED_IN=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh
# shellcheck source=tests/bench-compare.sh
. tests/bench-compare.sh

EVENTS=${EVENTS:-5000000}
PARTITIONS=${PARTITIONS:-8}
FORMAT=
RUNS=
SAVE=
BASE=

usage() {
  die "usage: [EVENTS=5000000] [PARTITIONS=8] tests/bench.sh [--json] [--runs N] [--save FILE] [--compare BASE]"
}

# A path as whoever calls the script means it.
here() {
  (cd "$STARTED_IN" && realpath --quiet "$1")
}

read_arguments() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --json) FORMAT=json ;;
      --runs) RUNS=${2:-} && shift ;;
      --save) SAVE=$(here "${2:-}") && shift ;;
      --compare) BASE=${2:-} && shift ;;
      *) usage ;;
    esac
    shift || usage
  done
  [[ ${RUNS:=$([[ -n $BASE ]] && echo 3 || echo 1)} =~ ^[1-9][0-9]*$ ]] || usage
}

# Where the base of a comparison comes from: a file or a revision. Found before anything is built or run.
resolve_base() {
  BASE_COMMIT=
  if [[ -n $BASE && -f $(here "$BASE") ]]; then
    BASE=$(here "$BASE")
  elif [[ -n $BASE ]]; then
    BASE_COMMIT=$(git rev-parse --verify --quiet "$BASE^{commit}") ||
      die "$BASE is neither a file that --save wrote nor a revision of this repository"
  fi
}

# Runs a binary once and keeps what was measured in a file.
run_once() {
  say "Billing them with $2, run $3"
  DATA=$(mktemp --directory "$BENCH/run.XXXXXX")
  trap 'rm -rf "$DATA"' EXIT
  warm_up
  run_watched "$1"
  collect_result >"$RESULT-$2-$3.json"
  rm -rf "$DATA"
}

# Two binaries in turns, so that a slow minute of the machine falls on both.
run_all() {
  local run
  for ((run = 1; run <= RUNS; run++)); do
    [[ -z $BASE_COMMIT ]] || run_once "$BASE_WEIR" base "$run"
    run_once "$WEIR" new "$run"
  done
}

print_table() {
  jq --raw-output '
    def fixed($places): . * pow(10; $places) | round / pow(10; $places);
    def mb: "\(. / 1e6 | fixed(1)) MB";
    def row($name; $value): "\($name)\t\($value)";
    row("machine"; .machine),
    row("events"; .events),
    row("partitions"; .partitions),
    row("input"; .input_bytes | mb),
    row("events/s"; .events_per_s | round),
    row("events/s, from 20 % to 90 % of them"; .steady_events_per_s),
    row("elapsed"; "\(.elapsed_s | fixed(2)) s"),
    row("CPU"; "\(.cpu_user_s + .cpu_system_s | fixed(2)) s (\(.cpu_system_s) s of it system)"),
    row("peak memory"; .peak_memory_bytes | mb),
    row("books agree"; .conserved),
    "", row("stage"; "CPU s\trecords\tlongest pause for a checkpoint"),
    (.stages[] | row(.stage;
      "\(.cpu_s | fixed(2))\t\(.records)\t\(.longest_checkpoint_pause_s * 1000 | fixed(1)) ms")),
    "", row("on disk"; "\([.disk_bytes[]] | add | mb)"),
    (.disk_bytes | to_entries[] | row(.key; .value | mb))' "$1" |
    column --table --separator $'\t' --keep-empty-lines
}

# Prints a result as JSON, or as a table by the given function.
print() {
  if [[ $FORMAT == json ]]; then
    cat "$2"
  else
    "$1" "$2"
  fi
}

report() {
  local new=$RESULT.json revision
  revision=$(git describe --always --dirty 2>/dev/null || echo unknown)
  summarize_runs "$revision" "$RESULT"-new-*.json >"$new"
  [[ -z $SAVE ]] || cp "$new" "$SAVE"
  if [[ -n $BASE_COMMIT ]]; then
    summarize_runs "$BASE" "$RESULT"-base-*.json >"$RESULT-base.json"
    BASE=$RESULT-base.json
  fi
  if [[ -n $BASE ]]; then
    check_sides "$BASE" "$new"
    compare_sides "$BASE" "$new" >"$RESULT-compared.json"
    print print_comparison "$RESULT-compared.json"
  elif [[ $RUNS -gt 1 ]]; then
    print print_runs "$new"
  else
    mv "$RESULT-new-1.json" "$new"
    print print_table "$new"
  fi
  say "Kept in $RESULT*.json"
}

main() {
  read_arguments "$@"
  resolve_base
  prepare_bench
  prepare_build
  [[ -z $BASE_COMMIT ]] || build_revision "$BASE_COMMIT"
  build_weir
  generate_log
  RESULT=$BENCH/results/$(date --utc +%Y%m%dT%H%M%SZ)
  run_all
  report
}

main "$@"
