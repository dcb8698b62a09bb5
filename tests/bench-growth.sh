#!/usr/bin/env bash
# How cost grows with the number of events: for each size a log is billed in a data directory of its own, and
# the job started once more on what that left, to do nothing.
# Usage: [SIZES="1000000 5000000 20000000 50000000"] [PARTITIONS=8] tests/bench-growth.sh [--json]
# 50 million events take 21 GB of log lines and twice as much for the data directory. Each size is removed before
# the next one, and the disk is left alone for REST seconds (30), since it is slow after many files went.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh

SIZES=${SIZES:-1000000 5000000 20000000 50000000}
PARTITIONS=${PARTITIONS:-8}
REST=${REST:-30}
# Bytes of disk for each event, with some to spare.
ROOM=1300

need_room() {
  local free
  free=$(df --block-size=1 --output=avail "$BENCH" | tail -n 1)
  ((free > EVENTS * ROOM)) ||
    die "$EVENTS events need $((EVENTS * ROOM / 1000000)) MB in $BENCH, where $((free / 1000000)) MB are free"
}

# Events/s of the first and of the last quarter of the topic.
quarters() {
  printf '{"first_quarter_events_per_s": %s, "last_quarter_events_per_s": %s}\n' \
    "$(rate_between 0 0.25)" "$(rate_between 0.75 1)"
}

# How long the slowest checkpoint that is left took, from the beginning of the copy to its manifest, and the
# bytes of the largest one.
checkpoints() {
  find "$DATA/checkpoints" -name weir.json -printf '%T@ %h\n' | while read -r written dir; do
    echo "$written $(stat --format=%.W "$dir") $(du --bytes --summarize "$dir" | cut -f1)"
  done | awk '
    { took = $1 - $2; if (took > longest) longest = took; if ($3 > largest) largest = $3 }
    END { printf "{\"longest_checkpoint_s\": %.3f, \"largest_checkpoint_bytes\": %d}\n", longest, largest }'
}

bill() {
  mkdir "$DATA"
  warm_up
  run_watched "$WEIR"
}

# Seconds that a start with nothing to do takes, to the end of the process.
start_again() {
  local began=$EPOCHREALTIME
  run_job "$WEIR"
  echo "$began $EPOCHREALTIME" | awk '{ printf "%.3f", $2 - $1 }'
}

measure() {
  local again
  need_room
  generate_log
  say "Billing $EVENTS events"
  bill
  collect_result >"$BENCH/result.json"
  say "Starting again on what that left"
  again=$(start_again)
  jq --argjson quarters "$(quarters)" --argjson checkpoints "$(checkpoints)" --argjson again "$again" '
    def on_disk($of): [.disk_bytes | to_entries[] | select(.key | startswith($of)) | .value] | add / 1;
    . as $r | {
      events, events_per_s, cpu_us_per_event: ((.cpu_user_s + .cpu_system_s) * 1e6 / .events),
      log_bytes_per_event: (on_disk("log") / .events), state_bytes_per_event: (on_disk("state") / .events),
      checkpoint_bytes_per_event: (on_disk("checkpoints") / .events), peak_memory_bytes,
      start_again_s: $again, longest_pause_s: ([.stages[].longest_checkpoint_pause_s] | max)
    } + $quarters + $checkpoints' "$BENCH/result.json"
}

print_table() {
  jq --slurp --raw-output '
    def fixed($places): . * pow(10; $places) | round / pow(10; $places);
    def row($name; value): [$name, (.[] | value)] | join("\t");
    map(map_values(. // 0)) |
    row("events"; .events),
    row("events/s"; .events_per_s | round),
    row("events/s, first quarter"; .first_quarter_events_per_s),
    row("events/s, last quarter"; .last_quarter_events_per_s),
    row("CPU µs an event"; .cpu_us_per_event | fixed(2)),
    row("peak memory MB"; .peak_memory_bytes / 1e6 | fixed(1)),
    row("log, bytes an event"; .log_bytes_per_event | round),
    row("state, bytes an event"; .state_bytes_per_event | round),
    row("checkpoints, bytes an event"; .checkpoint_bytes_per_event | round),
    row("largest checkpoint MB"; .largest_checkpoint_bytes / 1e6 | fixed(1)),
    row("longest checkpoint ms"; .longest_checkpoint_s * 1000 | round),
    row("longest pause for one ms"; .longest_pause_s * 1000 | fixed(1)),
    row("starting again s"; .start_again_s | fixed(2))' "$1" |
    column --table --separator $'\t'
}

main() {
  local format=${1:-} results
  [[ -z $format || $format == --json ]] || die 'usage: [SIZES="1000000 …"] [PARTITIONS=8] tests/bench-growth.sh [--json]'
  build_weir
  prepare_bench
  results=$BENCH/results/growth-$(date --utc +%Y%m%dT%H%M%SZ).json
  BENCH=$(mktemp --directory "$(cache_dir)/bench-growth.XXXXXX")
  # shellcheck disable=SC2046
  trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$BENCH"' EXIT
  DATA=$BENCH/data
  for EVENTS in $SIZES; do
    measure >>"$results"
    rm -rf "${BENCH:?}"/*
    sleep "$REST"
  done
  if [[ $format == --json ]]; then
    jq --slurp . "$results"
  else
    print_table "$results"
  fi
  say "Kept in $results"
}

main "$@"
