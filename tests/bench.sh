#!/usr/bin/env bash
# Bills a fixed log and prints how fast that was and what it cost.
# Usage: [EVENTS=5000000] [PARTITIONS=16] tests/bench.sh [--json]
# With PARTITIONS=1 EVENTS=11000000 each of two tasks has more than ten million keys.
# The log, the data directory and the results are kept in the cache directory.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

EVENTS=${EVENTS:-5000000}
PARTITIONS=${PARTITIONS:-16}
SEED=42

# A log is made anew when its generator has changed.
generate_log() {
  local generator
  generator=$(find pipeline/src/gen -name '*.rs' -print0 | sort -z | xargs -0 cat | cksum | cut -d' ' -f1)
  LOG=$BENCH/log-$EVENTS-$SEED-$generator
  if [[ ! -e $LOG/accounts.csv ]]; then
    say "Generating $EVENTS log lines into $LOG"
    "$WEIR" gen --out "$LOG" --events "$EVENTS" --seed "$SEED" --files 2 --force >&2
  fi
}

# Brings the log into the page cache, so that the run does not measure the disk it lies on.
warm_up() {
  cat "$LOG"/events-*.ndjson >/dev/null
  sync
}

run_job() {
  say "Billing them"
  DATA=$(mktemp --directory "$BENCH/run.XXXXXX")
  trap 'rm -rf "$DATA"' EXIT
  warm_up
  /usr/bin/time --verbose --output="$BENCH/time.txt" \
    "$WEIR" run --input "$LOG"/events-*.ndjson --accounts "$LOG/accounts.csv" \
    --data-dir "$DATA" --partitions "$PARTITIONS" --until-end --summary json >"$BENCH/summary.json"
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
    --arg memory "$(measured 'Maximum resident set size (kbytes)')" \
    --arg log_bytes "$(du --bytes --total "$LOG"/events-*.ndjson | tail -n 1 | cut -f1)" '
    $summary[0] as $s | {
      date: $date, machine: $machine,
      events: $s.events, input_bytes: ($log_bytes | tonumber), conserved: $s.conserved,
      partitions: $partitions, elapsed_s: $s.elapsed_s, events_per_s: $s.events_per_s,
      cpu_user_s: ($user | tonumber), cpu_system_s: ($system | tonumber),
      peak_memory_bytes: ($memory | tonumber * 1024),
      disk_bytes: $disk, stages: $s.stages
    }'
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

main() {
  local format=${1:-} result
  [[ -z $format || $format == --json ]] || die "usage: [EVENTS=5000000] [PARTITIONS=16] tests/bench.sh [--json]"
  build_weir
  install_packages time jq bsdextrautils
  BENCH=$(cache_dir)/bench
  mkdir -p "$BENCH/results"
  generate_log
  run_job
  result=$BENCH/results/$(date --utc +%Y%m%dT%H%M%SZ).json
  collect_result >"$result"
  say "Kept in $result"
  if [[ $format == --json ]]; then
    cat "$result"
  else
    print_table "$result"
  fi
}

main "$@"
