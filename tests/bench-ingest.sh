#!/usr/bin/env bash
# Sends events to a running job from outside, over HTTP with wrk and over gRPC with weir-load, and prints how many are
# acknowledged a second, how long an acknowledgement takes, and what both sides use of the cores that they share; then
# how long it takes from an event to its charge at 20, 50 and 80 % of the most that the whole job keeps up with.
# Beside each stands its floor: the same bytes in the same batches written to a file on the same disk and fsynced, batch
# by batch (alone), and with as many batches for an fsync as are under way (together).
# Usage: [SECONDS_EACH=20] [PARTITIONS=8] [CASES=name|…] [SHARES="20 50 80"] [RATE=events/s] tests/bench-ingest.sh [--json]
# CASES is a pattern of the cases to run; RATE the highest rate, measured by the case grpc-100 if there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh
# shellcheck source=tests/bench-ingest-lib.sh
. tests/bench-ingest-lib.sh

SECONDS_EACH=${SECONDS_EACH:-20}
CASES=${CASES:-*}
SHARES=${SHARES-20 50 80}
RATE=${RATE:-}
BEACONS=${BEACONS:-600000}
WARM_UP=5
FLOOR_SECONDS=3

# Name, what sends it, events a batch, connections or streams, batches under way on each.
cases() {
  cat <<'CASES'
http-1 wrk 1 64 1
http-100 wrk 100 16 1
http-1000 wrk 1000 8 1
beacon wrk 1 64 1
grpc-1 grpc 1 8 8
grpc-100 grpc 100 4 8
grpc-1000 grpc 1000 4 2
CASES
}

floor() {
  local format=()
  [[ $1 == http-* ]] && format=(--lines)
  "$LOAD" floor --dir "$BENCH" --log "$BENCH/log/events-0.ndjson" "${format[@]}" --batch "$2" --together "$3" \
    --seconds "$FLOOR_SECONDS"
}

# Runs wrk for so many seconds with so many connections; its last line is the result.
run_wrk() {
  local seconds=$1 connections=$2
  shift 2
  wrk --threads 2 --connections "$connections" --duration "${seconds}s" --timeout 10s \
    --script tests/bench/ingest.lua "http://$HTTP" -- "$@" | tail -n 1
}

cpu_s() {
  awk '{ print ($14 + $15) / 100 }' "/proc/$JOB/stat"
}

# The same, and what client and job used meanwhile.
measure_wrk() {
  local before after client TIMEFORMAT='%U %S'
  echo 5 >"/proc/$JOB/clear_refs"
  before=$(cpu_s)
  { time run_wrk "$SECONDS_EACH" "$@" >"$BENCH/wrk.json" 2>&3; } 3>&2 2>"$BENCH/wrk.time"
  after=$(cpu_s)
  client=$(awk '{ print $1 + $2 }' "$BENCH/wrk.time")
  jq --compact-output --argjson before "$before" --argjson after "$after" --argjson client "$client" \
    --argjson seconds "$SECONDS_EACH" \
    --argjson peak_kb "$(awk '/^VmHWM/ { print $2 }' "/proc/$JOB/status")" '. + {
      job_cores: (($after - $before) / $seconds), client_cores: ($client / $seconds),
      job_peak_bytes: ($peak_kb * 1024)
    }' "$BENCH/wrk.json"
}

flood_wrk() {
  local name=$1 batch=$2 connections=$3 warm measured
  if [[ $name == beacon ]]; then
    say "Having $BEACONS credentials issued"
    "$LOAD" issue --to "$GRPC" --log "$BENCH/log/events-0.ndjson" --count "$BEACONS" --out "$BENCH/tokens" >&2
    head -n $((BEACONS / 5)) "$BENCH/tokens" >"$BENCH/tokens-warm"
    tail -n +$((BEACONS / 5 + 1)) "$BENCH/tokens" >"$BENCH/tokens-rest"
    BEGUN=$EPOCHREALTIME
    warm=$(run_wrk "$WARM_UP" "$connections" beacons "$BENCH/tokens-warm" 2)
    measured=$(measure_wrk "$connections" beacons "$BENCH/tokens-rest" 2)
  else
    BEGUN=$EPOCHREALTIME
    warm=$(run_wrk "$WARM_UP" "$connections" lines "$BENCH/log/events-0.ndjson" "$batch")
    measured=$(measure_wrk "$connections" lines "$BENCH/log/events-0.ndjson" "$batch")
  fi
  jq --compact-output --argjson warm "$warm" '.accepted_in_all += $warm.accepted_in_all' <<<"$measured" >"$BENCH/case.json"
}

flood_grpc() {
  BEGUN=$EPOCHREALTIME
  "$LOAD" flood --to "$GRPC" --job "$JOB" --log "$BENCH/log/events-0.ndjson" --batch "$2" --streams "$3" --window "$4" \
    --seconds "$SECONDS_EACH" --warm-up "$WARM_UP" >"$BENCH/case.json"
}

# One case as a JSON object: what was acknowledged, until when all of it was decided, and the floor.
measure_case() {
  local name=$1 by=$2 batch=$3 streams=$4 window=$5 alone together accepted through
  start_job
  say "$name: the floor, then $batch events a batch and $((streams * window)) batches under way for $SECONDS_EACH s"
  alone=$(floor "$name" "$batch" 1)
  together=$(floor "$name" "$batch" $((streams * window)))
  "flood_$by" "$name" "$batch" "$streams" "$window"
  accepted=$(jq .accepted_in_all "$BENCH/case.json")
  wait_until_decided "$accepted"
  through=$(awk -v accepted="$accepted" -v from="$BEGUN" -v to="$EPOCHREALTIME" \
    'BEGIN { printf "%.0f", accepted / (to - from) }')
  stop_job
  jq --compact-output --arg name "$name" --argjson batch "$batch" --argjson under_way $((streams * window)) \
    --argjson through "$through" --argjson alone "$alone" --argjson together "$together" '
    {case: $name, batch: $batch, under_way: $under_way} + . + {
      decided_events_per_s: $through, floor_alone: $alone, floor_together: $together,
      of_floor_alone: (.events_per_s / $alone.events_per_s),
      of_floor_together: (.events_per_s / $together.events_per_s)
    }' "$BENCH/case.json"
}

measure_cases() {
  local name rest
  while read -r name rest; do
    # shellcheck disable=SC2053,SC2086
    [[ $name != $CASES ]] || measure_case "$name" $rest </dev/null
  done < <(cases)
}

# From events to their acknowledgements and charges at a share of the highest rate.
measure_pace() {
  local share=$1 rate=$((RATE * $1 / 100))
  start_job
  say "$share % of the highest rate, $rate events/s; this begins at the next fitting time of the minute"
  "$LOAD" pace --to "$GRPC" --job "$JOB" --data-dir "$BENCH/data" --log "$BENCH/log/events-0.ndjson" --rate "$rate" \
    --seconds "$SECONDS_EACH" --warm-up "$WARM_UP" | jq --compact-output --argjson share "$share" '{share: $share} + .'
  stop_job
}

print_cases() {
  jq --slurp --raw-output '
    def fixed($places): . * pow(10; $places) | round / pow(10; $places);
    "case\tbatch\tunder way\tevents/s\tp50 ms\tp99 ms\tp99.9 ms\tjob cores\tclient cores\tjob MB\tdecided/s" +
      "\tfloor alone\tof it\tfloor together\tof it",
    (.[] | [.case, .batch, .under_way, .events_per_s, .acknowledgement.p50_ms, .acknowledgement.p99_ms,
      .acknowledgement.p999_ms, (.job_cores | fixed(2)), (.client_cores | fixed(2)), (.job_peak_bytes / 1e6 | round),
      .decided_events_per_s, .floor_alone.events_per_s, (.of_floor_alone | fixed(2)), .floor_together.events_per_s,
      (.of_floor_together | fixed(2))] | join("\t"))' "$1" | column --table --separator $'\t'
}

print_paces() {
  jq --slurp --raw-output '
    "share\tevents/s\tacknowledged p50 ms\tp99\tp99.9\tcharged p50 ms\tp99\tp99.9\tcharges watched\tsender late ms" +
      "\tjob cores\tclient cores",
    (.[] | ["\(.share) %", .rate, .acknowledgement.p50_ms, .acknowledgement.p99_ms, .acknowledgement.p999_ms,
      .charge.p50_ms, .charge.p99_ms, .charge.p999_ms, .charge.count, .sender_late_ms, .job_cores, .client_cores] |
      join("\t"))' "$1" | column --table --separator $'\t'
}

main() {
  local format=${1:-} results share
  [[ -z $format || $format == --json ]] ||
    die 'usage: [SECONDS_EACH=20] [PARTITIONS=8] [CASES=…] [SHARES="20 50 80"] [RATE=events/s] tests/bench-ingest.sh [--json]'
  prepare_ingest
  install_packages wrk
  results=$BENCH/results/ingest-$(date --utc +%Y%m%dT%H%M%SZ)
  enter_bench bench-ingest
  write_log
  measure_cases >"$BENCH/cases.json"
  cp "$BENCH/cases.json" "$results-cases.json"
  [[ -n $RATE ]] || RATE=$(jq 'select(.case == "grpc-100") | .decided_events_per_s' "$BENCH/cases.json")
  for share in ${RATE:+$SHARES}; do
    measure_pace "$share"
  done >"$BENCH/paces.json"
  cp "$BENCH/paces.json" "$results-paces.json"
  if [[ $format == --json ]]; then
    jq --null-input --slurpfile cases "$BENCH/cases.json" --slurpfile paces "$BENCH/paces.json" '{$cases, $paces}'
  else
    print_cases "$BENCH/cases.json"
    echo
    print_paces "$BENCH/paces.json"
  fi
  say "Kept in $results-*.json"
}

main "$@"
