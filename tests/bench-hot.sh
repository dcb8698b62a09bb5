#!/usr/bin/env bash
# What half of all events on one advertiser costs: events/s of a finite run, and how long events of the *other*
# advertisers take from ingest to their charge at a moderate rate, both beside the case in which all advertisers get the
# same. The cases take turns; medians of RUNS of each, and their ratios.
# Usage: [RUNS=3] [EVENTS=5000000] [RATE=40000] [SECONDS_EACH=20] [PARTITIONS=8] tests/bench-hot.sh [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh
# shellcheck source=tests/bench-ingest-lib.sh
. tests/bench-ingest-lib.sh

RUNS=${RUNS:-3}
EVENTS=${EVENTS:-5000000}
RATE=${RATE:-40000}
SECONDS_EACH=${SECONDS_EACH:-20}
# The share of advertiser 1, by case.
declare -A SHARE=([even]=0 [hot]=0.5)

# Bills a log of a case as a finite run.
bill() {
  say "Billing $EVENTS events, $1"
  generate_log --hot-share "${SHARE[$1]}"
  DATA=$BENCH/data
  rm -rf "$DATA"
  warm_up
  run_watched "$WEIR"
  collect_result | jq --compact-output --arg case "$1" '
    {case: $case, events_per_s: (.events_per_s | round), steady_events_per_s, cpu_s: (.cpu_user_s + .cpu_system_s)}'
  rm -rf "$DATA"
}

# Sends events of a case at the rate; the busy advertiser's are not watched.
pace() {
  write_log --hot-share "${SHARE[$1]}"
  start_job
  say "Sending $RATE events/s, $1; this begins at the next fitting time of the minute"
  "$LOAD" pace --to "$GRPC" --job "$JOB" --data-dir "$BENCH/data" --log "$BENCH/log/events-0.ndjson" --rate "$RATE" \
    --seconds "$SECONDS_EACH" --but 1 | jq --compact-output --arg case "$1" '{case: $case} + .'
  stop_job
}

# What was measured, in turns.
measure() {
  local run case
  for ((run = 1; run <= RUNS; run++)); do
    for case in even hot; do
      "$1" "$case"
    done
  done
}

summarize() {
  jq --null-input --slurpfile bills "$1" --slurpfile paces "$2" --argjson rate "$RATE" --argjson events "$EVENTS" '
    def median: sort | .[(length - 1) / 2 | floor];
    def of($runs; $case; value): [$runs[] | select(.case == $case) | value];
    def pair($runs; value): {
      even: (of($runs; "even"; value) | median), hot: (of($runs; "hot"; value) | median),
      runs: {even: of($runs; "even"; value), hot: of($runs; "hot"; value)}
    } | . + {ratio: (.hot / .even)};
    {
      events: $events, events_per_s: pair($bills; .events_per_s), steady_events_per_s: pair($bills; .steady_events_per_s),
      rate: $rate, p50_ms: pair($paces; .charge.p50_ms), p99_ms: pair($paces; .charge.p99_ms),
      p999_ms: pair($paces; .charge.p999_ms), sender_late_ms: pair($paces; .sender_late_ms)
    }'
}

print_table() {
  jq --raw-output '
    def row($name; $of): "\($name)\t\($of.even)\t\($of.hot)\t\($of.ratio * 1000 | round / 1000)";
    "\tevenly\thalf on one\tratio",
    row("events/s, finite run"; .events_per_s), row("from 20 % to 90 % of them"; .steady_events_per_s),
    row("to the charge at \(.rate) events/s, others: p50 ms"; .p50_ms), row("p99 ms"; .p99_ms), row("p99.9 ms"; .p999_ms),
    row("sender late ms"; .sender_late_ms)' "$1" | column --table --separator $'\t'
}

main() {
  local format=${1:-} results
  [[ -z $format || $format == --json ]] ||
    die 'usage: [RUNS=3] [EVENTS=5000000] [RATE=40000] [SECONDS_EACH=20] [PARTITIONS=8] tests/bench-hot.sh [--json]'
  prepare_ingest
  measure bill >"$BENCH/hot-bills.json"
  results=$BENCH/results/hot-$(date --utc +%Y%m%dT%H%M%SZ).json
  local bills=$BENCH/hot-bills.json
  enter_bench bench-hot
  measure pace >"$BENCH/paces.json"
  summarize "$bills" "$BENCH/paces.json" >"$results"
  if [[ $format == --json ]]; then
    cat "$results"
  else
    print_table "$results"
  fi
  say "Kept in $results"
}

main "$@"
