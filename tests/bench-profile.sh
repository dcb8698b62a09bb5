#!/usr/bin/env bash
# Where the CPU time of a finite run goes, step by step. The shares are of a run that is sampled; what they are
# shares of is the CPU time of a second one that is not.
# Usage: [EVENTS=5000000] [PARTITIONS=8] tests/bench-profile.sh [BINARY]
# BINARY is another build of weir, say of the revision before a change. Needs `perf` (Debian: linux-perf).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bench-lib.sh
. tests/bench-lib.sh

EVENTS=${EVENTS:-5000000}
PARTITIONS=${PARTITIONS:-8}

# The first step one of whose patterns stands anywhere in a sample's stack is what the sample is counted for.
steps() {
  cat <<'STEPS'
fresh memory from the system	asm_exc_page_fault
read the log lines	source::reader::read|source::reader::lines|filemap_read
parse	operators::collect::parse|sonic_rs
match bots	operators::bots
digest	outbox::digest_of
compress	lz4_flex
hash keys	xxh3|proto::ids::
batch encode	BatchBuilder|Outbox::push|Outbox::charge|Outbox::take|NewEvent::encode|Charge::encode
log append: frame and queue	frame::Sealed|crc32c|EmbeddedLog.*append
log append: write and fsync	thread:^log-
decode and read the topics	input::|BatchCursor|Record::decode|Event::decode|Charge::decode|journal::Journal::read
checkpoint	thread:^checkpoint
flush and compaction	thread:^rocksdb
commit: what changed	::stage|Pages::stage|take_delta
commit: write batch and memtable	rocksdb_write|rocksdb::WriteBatch|rocksdb::DBImpl::Write|commit_as
state: look up and change	minute_table|weir_state::hot|IdentityTable|HashMap|hashbrown|deduct::books|DailyBooks|rocksdb
operators: decide	weir_operators
scheduling and the rest	.
STEPS
}

# Reads `perf script`: a line for the thread, one for each frame, an empty one.
table() {
  awk -v events="$EVENTS" -v cpu_s="$1" '
    NR == FNR { split($0, part, "\t"); name[++steps] = part[1]; pattern[steps] = part[2]; next }
    NF == 0 { count(); next }
    /^[^ \t]/ { count(); thread = $1; next }
    { $1 = ""; stack = stack "\n" $0 }
    function count(   i) {
      if (thread == "") return
      for (i = 1; i <= steps; i++) {
        if (pattern[i] ~ /^thread:/ ? thread ~ substr(pattern[i], 8) : stack ~ pattern[i] || i == steps) break
      }
      samples[i]++; all++; thread = stack = ""
    }
    END {
      count()
      for (i = 1; i <= steps; i++)
        printf "%s\t%.1f %%\t%.0f\n", name[i], 100 * samples[i] / all, samples[i] / all * cpu_s * 1e9 / events
      printf "all\t100 %%\t%.0f\n", cpu_s * 1e9 / events
    }' <(steps) -
}

main() {
  local cpu
  [[ $# -le 1 ]] || die "usage: [EVENTS=5000000] [PARTITIONS=8] tests/bench-profile.sh [BINARY]"
  command -v perf >/dev/null || die "perf is missing; Debian has it in the package linux-perf"
  WEIR=${1:-$WEIR}
  SCRATCH=$(mktemp --directory "$BENCH/run.XXXXXX")
  SAMPLES=$SCRATCH/samples
  trap 'rm -rf "$SCRATCH"' EXIT
  DATA=$SCRATCH/sampled
  warm_up
  perf record --quiet --freq 97 --call-graph dwarf,16384 --output "$SAMPLES" -- \
    "$WEIR" run --input "$LOG"/events-*.ndjson --accounts "$LOG/accounts.csv" \
    --data-dir "$DATA" --partitions "$PARTITIONS" --until-end --summary json >/dev/null
  DATA=$SCRATCH/not-sampled
  run_job "$WEIR"
  cpu=$(echo "$(measured 'User time (seconds)') $(measured 'System time (seconds)')" | awk '{ print $1 + $2 }')
  say "$(jq '.events_per_s | round' "$BENCH/summary.json") events/s, $cpu CPU s"
  { printf 'step\tshare\tns an event\n'; perf script --input "$SAMPLES" --no-inline --fields comm,ip,sym 2>/dev/null | table "$cpu"; } |
    column --table --separator $'\t'
}

build_weir
prepare_bench
generate_log
main "$@"
