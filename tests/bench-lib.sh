# shellcheck shell=bash
# What the benchmarks share: a generated log, and the finite job with all that it costs. They source this
# file from the root of the repository; nothing happens before they call a function.
# shellcheck source=tests/lib.sh
. tests/lib.sh

SEED=42

# The log, the data directory and the results are kept in the cache directory.
prepare_bench() {
  install_packages time jq bsdextrautils
  BENCH=$(cache_dir)/bench
  mkdir -p "$BENCH/results"
}

# A log is made anew when its generator has changed. Takes further options of `weir gen`.
generate_log() {
  local generator options="$*"
  generator=$(find pipeline/src/gen -name '*.rs' -print0 | sort -z | xargs -0 cat | cksum | cut -d' ' -f1)
  LOG=$BENCH/log-$EVENTS-$SEED-$generator${options// /}
  if [[ ! -e $LOG/accounts.csv ]]; then
    say "Generating $EVENTS log lines into $LOG"
    "$WEIR" gen --out "$LOG" --events "$EVENTS" --seed "$SEED" --files 2 --force "$@" >&2
  fi
}

# Brings the log into the page cache, so that the run does not measure the disk it lies on.
warm_up() {
  cat "$LOG"/events-*.ndjson >/dev/null
  sync
}

# Bills the log with a binary, in $DATA.
run_job() {
  /usr/bin/time --verbose --output="$BENCH/time.txt" \
    "$1" run --input "$LOG"/events-*.ndjson --accounts "$LOG/accounts.csv" \
    --data-dir "$DATA" --partitions "$PARTITIONS" --until-end --summary json >"$BENCH/summary.json"
}

# The same, and every tenth of a second how long the topic of charges is: how far the job has come.
run_watched() {
  local watcher status=0
  watch_charges >"$BENCH/charges.txt" &
  watcher=$!
  run_job "$1" || status=$?
  sleep 0.3
  kill "$watcher"
  wait "$watcher" || true
  return "$status"
}

watch_charges() {
  while sleep 0.1; do
    # There is no such directory in the beginning.
    { find "$DATA/log/charges" -type f -printf '%s\n' 2>/dev/null || true; } |
      awk -v now="$EPOCHREALTIME" '{ sum += $1 } END { print now, sum + 0 }'
  done
}

# Events/s between two parts of the watched run, given as shares of the topic of charges.
rate_between() {
  awk -v events="$EVENTS" -v from="$1" -v to="$2" '
    { at[NR] = $1; bytes[NR] = $2 }
    function when(part,   n, goal) {
      goal = bytes[NR] * part
      for (n = 2; n <= NR; n++)
        if (bytes[n] >= goal && bytes[n] > bytes[n - 1])
          return at[n] - (at[n] - at[n - 1]) * (bytes[n] - goal) / (bytes[n] - bytes[n - 1])
      return at[NR]
    }
    END {
      took = when(to) - when(from)
      printf "%.0f", (took > 0 ? events * (to - from) / took : 0)
    }' "$BENCH/charges.txt"
}

# Bytes on disk by topic and by stage. A checkpoint shares files with its store: they count once.
disk_usage() {
  (cd "$DATA" && find log state checkpoints -type f -printf '%i %b %p\n') |
    awk '!seen[$1]++ {
        split($3, part, "/")
        name = part[1]
        if (name == "log") name = "log/" part[2]
        if (name == "state") name = "state/" part[3]
        sub(/-[0-9]+$/, "", name)
        bytes[name] += $2 * 512
      }
      END { for (name in bytes) print name, bytes[name] }' | sort |
    jq --raw-input 'split(" ") | {(.[0]): (.[1] | tonumber)}' | jq --slurp 'add'
}

# The value that GNU time gives a label.
measured() {
  sed -n "s/^\t$1: //p" "$BENCH/time.txt"
}

machine() {
  printf '%s, %s cores, Linux %s' \
    "$(sed -n 's/^model name\t: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)"
}

# All that was measured, as one JSON object.
collect_result() {
  jq --null-input --slurpfile summary "$BENCH/summary.json" --argjson disk "$(disk_usage)" \
    --arg machine "$(machine)" --argjson partitions "$PARTITIONS" --arg date "$(date --utc +%FT%TZ)" \
    --arg user "$(measured 'User time (seconds)')" \
    --arg system "$(measured 'System time (seconds)')" \
    --argjson steady "$(rate_between 0.2 0.9)" \
    --arg memory "$(measured 'Maximum resident set size (kbytes)')" \
    --arg log_bytes "$(du --bytes --total "$LOG"/events-*.ndjson | tail -n 1 | cut -f1)" '
    $summary[0] as $s | {
      date: $date, machine: $machine,
      events: $s.events, input_bytes: ($log_bytes | tonumber), conserved: $s.conserved,
      partitions: $partitions, elapsed_s: $s.elapsed_s, events_per_s: $s.events_per_s,
      # Between 20 % and 90 % of the events: without the start and the end.
      steady_events_per_s: $steady,
      cpu_user_s: ($user | tonumber), cpu_system_s: ($system | tonumber),
      peak_memory_bytes: ($memory | tonumber * 1024),
      disk_bytes: $disk, stages: $s.stages
    }'
}

# Until the job runs in $BENCH/data and has opened the accounts of $BENCH/log.
wait_for_job() {
  local deadline=$((SECONDS + 60)) accounts
  accounts=$(($(wc -l <"$BENCH/log/accounts.csv") - 1))
  until [[ $(opened 2>/dev/null || echo 0) -ge $accounts ]]; do
    ((SECONDS < deadline)) || die "the job does not open its accounts: $(tail -n 3 "$BENCH/job.log")"
    sleep 0.5
  done
}

opened() {
  "$WEIR" offsets --data-dir "$BENCH/data" --stage deduct --json | jq '[.[].position] | add // 0'
}
