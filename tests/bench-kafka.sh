#!/usr/bin/env bash
# What Kafka as the log costs, and what a group does when one dies, on the cores of one machine that the broker shares.
# The same files are billed by a long-running job on the embedded log, by one worker on Kafka, and by two; then one of two
# workers is killed with kill -9 while events come in steadily, and it is measured when the other one charges the first
# event in a partition of the dead one. Of each case it is told what an event costs: CPU time of the workers and of the broker,
# room in the topics, and bytes that went over the loopback interface.
# Usage: [RUNS=3] [EVENTS=500000] [PARTITIONS=16] [RATE=5000] [SECONDS_BEFORE=150] tests/bench-kafka.sh [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh
# shellcheck source=tests/bench-kafka-lib.sh
. tests/bench-kafka-lib.sh

RUNS=${RUNS:-3}
EVENTS=${EVENTS:-500000}
RATE=${RATE:-5000}
SECONDS_BEFORE=${SECONDS_BEFORE:-150}

# Counters that a case begins and ends with: CPU time of workers and broker, bytes of topics, bytes over loopback.
counters() {
  local topics=$DIR/kafka
  [[ $1 == kafka ]] || topics=$DIR/$CASE/worker-0/log
  printf '%s %s %s %s\n' "$(cpu_of "${PIDS[@]}")" "$(cpu_of "$BROKER")" "$(du --summarize --bytes "$topics" | cut -f1)" \
    "$(awk '$1 == "lo:" { print $2 }' /proc/net/dev)"
}

# Bills the log with so many workers; events/s from the first one taken in to the last one billed.
throughput() {
  local name=$1 workers=$2 log=$3 run=$4 begun took accounts before counted peak
  CASE=$name-$run CLOCK=events SOURCES=$DIR/$name-$run/log
  mkdir -p "$SOURCES"
  say "Billing $EVENTS events: $name, run $run"
  cp "$LOG/accounts.csv" "$SOURCES"
  touch "$SOURCES/events-0.ndjson" "$SOURCES/events-1.ndjson"
  accounts=$(($(wc -l <"$LOG/accounts.csv") - 1))
  start "$workers" "$log"
  wait_until taken_by "$workers" "$accounts"
  before=$(done_by "$workers")
  counted=$(counters "$log")
  begun=$EPOCHREALTIME
  cp "$LOG"/events-*.ndjson "$SOURCES"
  wait_until done_by "$workers" $((before + EVENTS))
  took=$(awk -v now="$EPOCHREALTIME" -v begun="$begun" 'BEGIN { print now - begun }')
  counted="$counted $(counters "$log")" peak=$(peak_of "${PIDS[@]}")
  stop
  rm -rf "${DIR:?}/$CASE"
  jq --null-input --compact-output --arg case "$name" --argjson took "$took" --argjson events "$EVENTS" --arg counted "$counted" \
    --argjson peak "$peak" '
    ($counted / " " | map(tonumber)) as $c | {case: $case, events_per_s: ($events / $took | round),
      worker_peak_mib: $peak, worker_us: (($c[4] - $c[0]) * 10000 / $events), broker_us: (($c[5] - $c[1]) * 10000 / $events),
      topic_bytes: (($c[6] - $c[2]) / $events), loopback_bytes: (($c[7] - $c[3]) / $events)}'
}

# What deduct of the surviving worker has taken in of the partitions in a pattern.
taken_over() {
  sum 1 "^weir_records_in_total[{]stage=\"deduct\",partition=\"($1)\""
}

# Kills one of two workers; seconds until the other one has its partitions open, and until it has taken something in there
# at the last stage that decides.
takeover() {
  local run=$1 feeding before lost killed base opened decided deadline uploaded
  CASE=takeover-$run CLOCK=wall SOURCES=$DIR/takeover-$run/log
  mkdir -p "$SOURCES"
  say "Killing one of two workers, run $run"
  "$WEIR" gen --out "$SOURCES" --events 100000000 --files 2 --seed "$SEED" --rate "$RATE" --follow >&2 &
  feeding=$!
  until [[ -e $SOURCES/accounts.csv && -e $SOURCES/events-1.ndjson ]]; do sleep 0.1; done
  start 2 kafka
  PIDS+=("$feeding")
  wait_until held_by 2 "$PARTITIONS"
  sleep "$SECONDS_BEFORE"
  uploaded=$(sum 2 '^weir_checkpoint_uploaded_bytes_total ')
  before=$(held_by 1)
  lost=$("$WEIR" status --json --control "http://127.0.0.1:$((FIRST_PORT + 100))" |
    jq --raw-output '[.workers[] | select(.worker == 1) | .partitions[] | tostring] | join("|")')
  kill -9 "${PIDS[1]}"
  killed=$EPOCHREALTIME
  wait_until held_by 1 $((before + 1))
  opened=$EPOCHREALTIME
  base=$(taken_over "$lost")
  deadline=$((SECONDS + 120))
  until (($(taken_over "$lost") > base)); do
    ((SECONDS < deadline)) || die "nothing comes out of the partitions that were taken over. See $DIR/$CASE/worker-0.log"
    sleep 0.05
  done
  decided=$EPOCHREALTIME
  curl --silent "http://127.0.0.1:$FIRST_PORT/metrics" >"$DIR/metrics.txt"
  kill "$feeding" "${PIDS[0]}"
  wait "${PIDS[0]}" || true
  PIDS=()
  awk -v killed="$killed" -v opened="$opened" -v decided="$decided" -v uploaded="$uploaded" \
    -v seconds="$SECONDS_BEFORE" '
    $1 == "weir_checkpoint_fetched_bytes_total" { fetched = $2 }
    END { printf "{\"open_s\": %.2f, \"first_record_s\": %.2f, \"uploaded_bytes_per_minute\": %.0f, \"fetched_bytes\": %.0f}\n",
      opened - killed, decided - killed, uploaded * 60 / seconds, fetched }' "$DIR/metrics.txt"
  rm -rf "${DIR:?}/$CASE"
}

main() {
  local format=${1:-} run results
  [[ -z $format || $format == --json ]] || die "usage: tests/bench-kafka.sh [--json]; see its head"
  prepare_kafka bench-kafka
  generate_log --malformed-rate 0
  results=$BENCH/results/kafka.json
  for ((run = 1; run <= RUNS; run++)); do
    throughput embedded 1 embedded "$run"
    throughput one-worker 1 kafka "$run"
    throughput two-workers 2 kafka "$run"
  done >"$DIR/throughput.json"
  for ((run = 1; run <= RUNS; run++)); do
    takeover "$run"
  done >"$DIR/takeover.json"
  jq --null-input --slurpfile runs "$DIR/throughput.json" --slurpfile takeovers "$DIR/takeover.json" \
    --arg machine "$(machine)" --argjson events "$EVENTS" --argjson rate "$RATE" '
    def median: sort | .[(length - 1) / 2 | floor];
    def of($case): [$runs[] | select(.case == $case)] as $all
      | reduce ($all[0] | keys[] | select(. != "case")) as $key ({};
          .[$key] = ($all | map(.[$key]) | {median: median, runs: .}));
    def took($key): [$takeovers[][$key]] | {median: median, runs: .};
    {machine: $machine, events: $events, embedded: of("embedded"), one_worker: of("one-worker"),
     two_workers: of("two-workers"), rate: $rate, open_s: took("open_s"), first_record_s: took("first_record_s"),
     uploaded_bytes_per_minute: took("uploaded_bytes_per_minute"), fetched_bytes: took("fetched_bytes")}
    | .one_worker_to_embedded = .one_worker.events_per_s.median / .embedded.events_per_s.median
    | .two_workers_to_one = .two_workers.events_per_s.median / .one_worker.events_per_s.median' >"$results"
  if [[ $format == --json ]]; then
    cat "$results"
  else
    jq --raw-output '
      def row($name): if type == "object" then "\($name)\t\(.median)" else "\($name)\t\(.)" end;
      to_entries[] | .key as $name | .value
      | if (.events_per_s? // null) then to_entries[] | .key as $key | .value | row("\($name) \($key)") else row($name) end' \
      "$results" | column --table --separator $'\t'
  fi
}

main "$@"
