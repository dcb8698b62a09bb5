#!/usr/bin/env bash
# Replays minutes of a stream of 5,000 events/s beside the live job that bills the next ones, and prints how
# many times faster than real time that was, and whether the live job kept up.
# Usage: [MINUTES=10] tests/bench-replay.sh [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

MINUTES=${MINUTES:-10}
RATE=5000

write_config() {
  cat >"$BENCH/weir.toml" <<TOML
data_dir = "$BENCH/data"
[[source]]
path = "$BENCH/history/events-*.ndjson"
[[source]]
path = "$BENCH/live/events-*.ndjson"
[accounts]
file = "$BENCH/history/accounts.csv"
[listen]
metrics = "off"
control = "127.0.0.1:0"
[time]
clock = "events"
TOML
}

# Records that wait in the flow of the live job.
lag() {
  "$WEIR" offsets --data-dir "$BENCH/data" --json 2>/dev/null | jq '[.[].lag] | add'
}

cuts() {
  "$WEIR" checkpoints --data-dir "$BENCH/data" --json | jq --raw-output '[.[] | select(.complete)] | .[].minute'
}

wait_for_cuts() {
  local deadline=$((SECONDS + 300))
  until [[ $(cuts 2>/dev/null | wc -l) -ge $1 ]]; do
    ((SECONDS < deadline)) || die "the job has not come to $1 cuts: see $BENCH/job.log"
    sleep 0.5
  done
}

# The live job's lag while the replay runs, at its worst.
watch_lag() {
  local now worst=0
  while kill -0 "$1" 2>/dev/null; do
    now=$(lag || echo 0)
    ((now > worst)) && worst=$now
    sleep 0.3
  done
  echo "$worst"
}

main() {
  local format=${1:-} from to start worst replay
  [[ -z $format || $format == --json ]] || die "usage: [MINUTES=10] tests/bench-replay.sh [--json]"
  build_weir
  install_packages jq
  BENCH=$(mktemp --directory "$(cache_dir)/bench-replay.XXXXXX")
  # shellcheck disable=SC2046
  trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$BENCH"' EXIT
  start=$((($(date +%s) - (MINUTES + 1) * 60) / 60 * 60))
  say "Writing $MINUTES minutes of $RATE events/s"
  "$WEIR" gen --out "$BENCH/history" --events $((MINUTES * 60 * RATE)) --rate $RATE --start-ms ${start}000 >/dev/null
  mkdir "$BENCH/live"
  write_config
  "$WEIR" run --config "$BENCH/weir.toml" 2>"$BENCH/job.log" &
  wait_for_cuts $((MINUTES - 1))
  say "Writing the next ones, as they come"
  "$WEIR" gen --out "$BENCH/live" --force --follow --rate $RATE --events $((600 * RATE)) --seed 7 >/dev/null &
  sleep 5
  from=$(cuts | sed -n 2p)
  to=$(cuts | sed -n "$((MINUTES - 1))p")
  say "Replaying from $from to $to beside the live job"
  "$WEIR" replay --from "$from" --to "$to" --data-dir "$BENCH/data" --json >"$BENCH/replay.json" &
  replay=$!
  worst=$(watch_lag "$replay")
  wait "$replay"
  jq --argjson minutes $((MINUTES - 3)) --argjson lag "$worst" --argjson after "$(lag)" '{
    result, from, to, stream_s: ($minutes * 60), replay_s: .elapsed_s,
    times_real_time: ($minutes * 60 / .elapsed_s), live_lag_worst: $lag, live_lag_after: $after
  }' "$BENCH/replay.json" >"$BENCH/result.json"
  if [[ $format == --json ]]; then
    cat "$BENCH/result.json"
  else
    jq --raw-output 'to_entries[] | "\(.key)\t\(.value)"' "$BENCH/result.json" | column --table --separator $'\t'
  fi
}

main "$@"
