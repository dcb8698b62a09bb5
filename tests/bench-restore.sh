#!/usr/bin/env bash
# How long a worker of a group takes to restore the state of all partitions from object storage, which is a local directory here.
# One worker on Kafka bills a log and is stopped once its newest checkpoints are all in the depot; then a worker with an empty
# data directory gets all partitions. Before each run the page cache is dropped, if that is allowed, and the same files are
# copied with cp and sync for comparison: what the disk does without Weir.
#
# Half of the runs have to fold again what was appended behind the newest checkpoints, up to a minute of the log (case
# "behind"); then some later lines are billed, so that the newest checkpoints hold nearly all of it, and the other half begins
# (case "at-end").
#
# Told of each run, in seconds: from the start of the process until it ran (started_s) and had its partitions (assigned_s), and
# from then on until the last task had its files (fetch_s), until all tasks were open (restore_s, as the worker itself measures
# it), and until they had folded all that stood behind the checkpoints (caught_up_s). Tasks are opened side by side: while one is
# fetched, others open their stores and look for their own records in the log. So it is also told during how much of that time
# something was fetched (fetching_s), and of the time of the threads that open tasks, which share went to fetching
# (fetching_share). A GB is 10^9 bytes.
# Usage: [RUNS=1] [EVENTS=10000000] [PARTITIONS=16] [BINARY=weir] tests/bench-restore.sh [--json]
# RUNS is that of each case; BINARY a built weir, so that nothing is built. 10 million events are 0.9 GB of state, and need 15 GB
# in the cache directory. --json prints an object for each
# run, one a line.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh
# shellcheck source=tests/bench-kafka-lib.sh
. tests/bench-kafka-lib.sh

RUNS=${RUNS:-1}
EVENTS=${EVENTS:-10000000}
PATIENCE=3600
# After so many seconds a worker that was stopped is no member of the group any more: its session_timeout, and some more.
GONE=13
# Threads that open tasks, see pipeline/src/fleet.rs.
OPENERS=16

# The newest manifest of each task that folds a topic in the depot. Those of sources stay with their worker.
newest_manifests() {
  find "$DIR/$CASE/depot/manifests" -name '*.json' \
    \( -path '*/anti-*/*' -o -path '*/deduct-*/*' -o -path '*/post-process-*/*' \) 2>/dev/null | sort | awk '
    { task = $0; sub("/[^/]*$", "", task); newest[task] = $0 }
    END { for (task in newest) print newest[task] }'
}

# Whether the depot has the newest minute of every task, later than minute $1: four stages fold, in each partition.
is_settled() {
  local minutes
  (($(sum 1 '^weir_lag_records[{]') == 0 && $(sum 1 '^weir_checkpoint_uploads_waiting ') == 0)) || return 1
  minutes=$(newest_manifests | sed 's|.*/||; s|[.]json$||' | sort | uniq --count)
  awk -v tasks=$((4 * PARTITIONS)) -v before="$1" '
    { known++; all = ($1 == tasks && $2 + 0 > before) }
    END { exit !(known == 1 && all) }' <<<"$minutes"
}

# Bills the log with one worker, and leaves its state in the depot alone.
fill_depot() {
  local accounts before
  CASE=restore CLOCK=events SOURCES=$DIR/log
  mkdir -p "$SOURCES"
  say "Billing $EVENTS events"
  cp "$LOG/accounts.csv" "$SOURCES"
  touch "$SOURCES/events-0.ndjson" "$SOURCES/events-1.ndjson"
  accounts=$(($(wc -l <"$LOG/accounts.csv") - 1))
  start 1 kafka
  wait_until taken_by 1 "$accounts"
  before=$(done_by 1)
  cp "$LOG"/events-*.ndjson "$SOURCES"
  wait_until done_by 1 $((before + EVENTS))
  settle 0
  stop
}

# Waits until the newest checkpoints, later than minute $1, are in the depot, and writes down what they consist of.
settle() {
  local deadline=$((SECONDS + 300))
  say "Waiting for the uploads"
  until is_settled "$1" && sleep 2 && is_settled "$1"; do
    ((SECONDS < deadline)) || die "not all newest checkpoints are in the depot: $(newest_manifests)"
    sleep 1
  done
  newest_manifests | xargs cat >"$DIR/newest.json"
  jq --raw-output '.manifest.hashes[]' "$DIR/newest.json" | sort --unique >"$DIR/files.txt"
}

# The worker that billed the log goes on with one line of each file once more, as new events of one and of two minutes later:
# the clock of events goes on, and with it come the checkpoints.
bill_the_end() {
  local file last minutes before
  CASE=restore CLOCK=events SOURCES=$DIR/log
  before=$(jq '.manifest.checkpoint.minute' "$DIR/newest.json" | sort --numeric-sort | tail -n 1)
  sleep "$GONE"
  start 1 kafka
  wait_until held_by 1 "$PARTITIONS"
  last=$(tail -qn 1 "$LOG"/events-*.ndjson | jq .event_time_ms | sort --numeric-sort | tail -n 1)
  for file in "$SOURCES"/events-*.ndjson; do
    tail -n 1 "$file" >"$DIR/line"
    for minutes in 1 2; do
      jq --compact-output --argjson at $((last + 60000 * minutes)) --arg last_two "Z$minutes" \
        '.event_time_ms = $at | .guid |= sub("..$"; $last_two)' "$DIR/line" >>"$file"
    done
  done
  settle "$before"
  stop
}

# Reads come from the disk then, for all processes of this machine. Prints whether it was allowed.
drop_cache() {
  sync
  if { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null; then echo true; else echo false; fi
}

# Copies the files of the newest checkpoints as they are, to see what the disk does. Seconds.
copy() {
  local begun
  mkdir "$DIR/copy"
  drop_cache >/dev/null
  begun=$EPOCHREALTIME
  (cd "$DIR/$CASE/depot/files" && xargs cp --target-directory="$DIR/copy" <"$DIR/files.txt")
  sync
  since "$begun" "$EPOCHREALTIME"
  rm -r "$DIR/copy"
}

# Seconds from one time to another.
since() {
  awk -v from="$1" -v to="$2" 'BEGIN { printf "%.2f", to - from }'
}

# The time of the last line of worker $1's log that contains $2, in seconds since 1970.
time_of() {
  date --date "$(grep --fixed-strings "$2" "$DIR/$CASE/worker-$1.log" | tail -n 1 | cut -d' ' -f1)" +%s.%N
}

# Reads the times at which checkpoints began to come and stood here, in order. Prints during how long any came, and the sum.
fetching() {
  find "$DIR/$CASE/worker-$1/checkpoints" -name weir.json -printf '%T@ %h\n' | while read -r stood dir; do
    echo "$(stat --format=%.W "$dir") $stood"
  done | sort --numeric-sort | awk '
    { sum += $2 - $1; if ($1 > end) end = $1; if ($2 > end) { any += $2 - end; end = $2 } }
    END { printf "%.2f,%.2f\n", any, sum }'
}

# The sample of a metric, from $DIR/metrics.txt.
sample() {
  awk -v name="$1" '$1 == name { print $2; found = 1 } END { if (!found) print 0 }' "$DIR/metrics.txt"
}

# A worker with an empty data directory, whose number was never used; $2 says what is measured.
restore() {
  local run=$1 name=$2 copied dropped begun io cpu load took started fetched opened caught_up behind fetching
  CASE=restore CLOCK=events SOURCES=$DIR/nothing-$run
  mkdir -p "$SOURCES"
  touch "$SOURCES/events-$run.ndjson"
  say "Restoring, $name, worker $run"
  copied=$(copy)
  sleep "$GONE"
  load=$(cut -d' ' -f1 /proc/loadavg)
  dropped=$(drop_cache)
  begun=$EPOCHREALTIME
  start_worker "$run" $((run + 1)) kafka
  wait_until held_by $((run + 1)) "$PARTITIONS"
  cpu=$(cpu_of "${PIDS[@]}")
  io=$(awk '{ print $2 }' "/proc/${PIDS[0]}/io" | sed -n '5p;6p' | paste --serial --delimiters=,)
  until (($(sum $((run + 1)) '^weir_lag_records[{]') == 0)); do sleep 0.05; done
  caught_up=$EPOCHREALTIME
  curl --silent "http://127.0.0.1:$((FIRST_PORT + run))/metrics" >"$DIR/metrics.txt"
  stop
  (($(sample weir_checkpoint_fetched_bytes_total) > 0)) || die "worker $run has fetched nothing"
  started=$(time_of "$run" 'INFO running in')
  fetched=$(time_of "$run" 'in object storage')
  opened=$(time_of "$run" 'are taken over after')
  took=$(sample weir_group_takeover_duration_seconds_sum)
  behind=$(sed -n 's/.* taken over after .* s, \([0-9]*\) records behind.*/\1/p' "$DIR/$CASE/worker-$run.log" |
    awk '{ sum += $1 } END { print sum + 0 }')
  fetching=$(fetching "$run")
  cp "$DIR/$CASE/worker-$run.log" "$BENCH/results/restore-$run.log"
  rm -rf "${DIR:?}/$CASE/worker-$run"
  jq --null-input --compact-output --slurpfile newest "$DIR/newest.json" --arg machine "$(machine)" \
    --arg case "$name" --argjson fetching "[$fetching]" --argjson openers "$OPENERS" --argjson events "$EVENTS" \
    --argjson partitions "$PARTITIONS" --argjson dropped "$dropped" --argjson load "$load" --argjson copied "$copied" \
    --argjson begun "$begun" --argjson started "$started" --argjson fetched "$fetched" \
    --argjson opened "$opened" --argjson caught_up "$caught_up" --argjson took "$took" --argjson behind "$behind" \
    --argjson times "$(sample weir_group_takeover_duration_seconds_count)" --argjson cpu "$cpu" --argjson io "[$io]" \
    --argjson bytes "$(sample weir_checkpoint_fetched_bytes_total)" '
    def fixed: . * 100 | round / 100;
    def per_gb: . / ($bytes / 1e9) | fixed;
    ($opened - $took) as $assigned
    | {machine: $machine, case: $case, events: $events, partitions: $partitions, tasks: ($newest | length),
      state_bytes: ([$newest[].manifest.checkpoint.files[].bytes] | add), fetched_bytes: $bytes,
      files: ([$newest[].manifest.checkpoint.files | length] | add), cache_dropped: $dropped, load_before: $load,
      takeovers: $times, started_s: ($started - $begun | fixed), assigned_s: ($assigned - $begun | fixed),
      fetch_s: ($fetched - $assigned | fixed), fetching_s: $fetching[0],
      fetching_share: ($fetching[1] / ($took * $openers) | fixed), restore_s: ($took | fixed), behind: $behind,
      fold_again_s: ($caught_up - $opened | fixed), caught_up_s: ($caught_up - $assigned | fixed),
      cpu_since_start_s: ($cpu / 100), read_from_disk_bytes: $io[0], written_to_disk_bytes: $io[1], copy_s: $copied,
      fetching_s_per_gb: ($fetching[0] | per_gb), restore_s_per_gb: ($took | per_gb),
      caught_up_s_per_gb: ($caught_up - $assigned | per_gb), copy_s_per_gb: ($copied | per_gb)}'
}

main() {
  local format=${1:-} run results
  [[ -z $format || $format == --json ]] || die "usage: tests/bench-restore.sh [--json]; see its head"
  prepare_kafka bench-restore
  generate_log --malformed-rate 0
  results=$BENCH/results/restore.json
  fill_depot
  for ((run = 1; run <= RUNS; run++)); do
    restore "$run" behind
  done >"$results"
  bill_the_end
  for ((run = RUNS + 1; run <= 2 * RUNS; run++)); do
    restore "$run" at-end
  done >>"$results"
  if [[ $format == --json ]]; then
    cat "$results"
  else
    jq --slurp --raw-output '
      [.[0] | keys_unsorted[] | select(. != "machine")][] as $name | [$name] + map(.[$name]) | @tsv' \
      "$results" | column --table --separator $'\t'
  fi
}

main "$@"
