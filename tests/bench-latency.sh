#!/usr/bin/env bash
# How long it takes from a line of a growing file to its charge, at 20, 50 and 80 % of the highest rate.
# Usage: [RATE=events/s] [SHARES="20 50 80"] [SECONDS_EACH=30] [PARTITIONS=8] tests/bench-latency.sh [--json]
# RATE is the highest rate; without it, it is measured first by billing a million events. A latency counts from
# the time at which a line is due by a schedule that never waits, until its charge can be read from the log.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh

RATE=${RATE:-}
SHARES=${SHARES:-20 50 80}
SECONDS_EACH=${SECONDS_EACH:-30}
PARTITIONS=${PARTITIONS:-8}
WARM_UP=5

# The rate at which a finite run bills a log.
measure_rate() {
  EVENTS=1000000
  generate_log
  say "Measuring the highest rate"
  DATA=$BENCH/data
  warm_up
  run_job "$WEIR"
  RATE=$(jq '.events_per_s | round' "$BENCH/summary.json")
  rm -rf "$DATA" "$LOG"
}

write_config() {
  cat >"$BENCH/weir.toml" <<TOML
data_dir = "$BENCH/data"
partitions = $PARTITIONS
[[source]]
path = "$BENCH/live.ndjson"
[accounts]
file = "$BENCH/log/accounts.csv"
[listen]
metrics = "off"
control = "127.0.0.1:0"
TOML
}

# Writes lines at a rate for a job that follows them; what came of it as one JSON object.
measure() {
  local share=$1 rate=$((RATE * $1 / 100)) job
  rm -rf "${BENCH:?}"/*
  say "Generating the lines for $share % of the highest rate, $rate events/s"
  "$WEIR" gen --out "$BENCH/log" --rate "$rate" --events $((rate * (WARM_UP + SECONDS_EACH))) --files 1 \
    --start-ms "$(date +%s)000" >/dev/null
  : >"$BENCH/live.ndjson"
  sync
  write_config
  "$WEIR" run --config "$BENCH/weir.toml" 2>"$BENCH/job.log" &
  job=$!
  wait_for_job
  say "Writing them; this begins at the next fitting time of the minute"
  "$CARGO_TARGET_DIR/release/weir-latency" --log "$BENCH/log/events-0.ndjson" --to "$BENCH/live.ndjson" \
    --data-dir "$BENCH/data" --rate "$rate" --seconds "$SECONDS_EACH" --warm-up "$WARM_UP" |
    jq --argjson share "$share" '{share: $share} + .'
  kill "$job"
  wait "$job"
}

print_table() {
  jq --raw-output '
    "share\tevents/s\tcharges watched\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\twriter late ms",
    (.[] | "\(.share) %\t\(.rate)\t\(.count)\t\(.p50_ms)\t\(.p99_ms)\t\(.p999_ms)\t\(.max_ms)\t\(.writer_late_ms)")' |
    column --table --separator $'\t'
}

main() {
  local format=${1:-} results share
  [[ -z $format || $format == --json ]] ||
    die 'usage: [RATE=events/s] [SHARES="20 50 80"] [SECONDS_EACH=30] tests/bench-latency.sh [--json]'
  prepare_build
  step cargo build --release --locked --bin weir --bin weir-latency
  prepare_bench
  results=$BENCH/results/latency-$(date --utc +%Y%m%dT%H%M%SZ).json
  BENCH=$(mktemp --directory "$(cache_dir)/bench-latency.XXXXXX")
  # shellcheck disable=SC2046
  trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$BENCH"' EXIT
  [[ -n $RATE ]] || measure_rate
  for share in $SHARES; do
    measure "$share" >>"$results"
  done
  if [[ $format == --json ]]; then
    jq --slurp . "$results"
  else
    jq --slurp . "$results" | print_table
  fi
  say "Kept in $results"
}

main "$@"
