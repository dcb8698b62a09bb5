# shellcheck shell=bash
# What the benchmarks of ingest share: a job that takes events in, and waiting for it. They source this file behind
# tests/bench-lib.sh; nothing happens before they call a function.

PARTITIONS=${PARTITIONS:-8}
HTTP=127.0.0.1:${HTTP_PORT:-19466}
GRPC=127.0.0.1:${GRPC_PORT:-19467}
JOB=

prepare_ingest() {
  prepare_build
  step cargo build --release --locked --bin weir --bin weir-load
  LOAD=$CARGO_TARGET_DIR/release/weir-load
  prepare_bench
}

# A directory for this measurement, which goes with it.
enter_bench() {
  BENCH=$(mktemp --directory "$(cache_dir)/$1.XXXXXX")
  # shellcheck disable=SC2046
  trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$BENCH"' EXIT
}

# The events to send, without repeats and frauds, and accounts that pay for all of them. Takes further options of
# `weir gen`.
write_log() {
  "$WEIR" gen --out "$BENCH/log" --events 200000 --files 1 --force --duplicate-rate 0 --fraud-rate 0 --malformed-rate 0 \
    "$@" >/dev/null
  sed --in-place '2,$ s/,.*/,1000000000000000,1000000000000000/' "$BENCH/log/accounts.csv"
}

write_config() {
  cat >"$BENCH/weir.toml" <<TOML
data_dir = "$BENCH/data"
partitions = $PARTITIONS
[accounts]
file = "$BENCH/log/accounts.csv"
[listen]
metrics = "off"
control = "127.0.0.1:0"
http = "$HTTP"
grpc = "$GRPC"
[ingest]
trusted_proxies = ["127.0.0.0/8"]
TOML
}

# A job with a new data directory.
start_job() {
  rm -rf "${BENCH:?}/data"
  sync
  write_config
  "$WEIR" run --config "$BENCH/weir.toml" 2>"$BENCH/job.log" &
  JOB=$!
  wait_for_job
}

stop_job() {
  kill "$JOB"
  wait "$JOB" || die "the job did not end well: $(tail -n 3 "$BENCH/job.log")"
}

# Until so many events, all that were accepted, have come through the flow.
wait_until_decided() {
  local deadline=$((SECONDS + 600))
  until [[ $(decided "$1" 2>/dev/null) == true ]]; do
    ((SECONDS < deadline)) || die "the job does not decide all of $1 events: see $(offsets)"
    kill -0 "$JOB" 2>/dev/null || die "the job has ended: $(tail -n 3 "$BENCH/job.log")"
    sleep 0.1
  done
}

offsets() {
  "$WEIR" offsets --data-dir "$BENCH/data" --json
}

# `raw` holds a record for each event; then nothing may be left to read.
decided() {
  offsets | jq --argjson events "$1" '
    ([.[] | select(.stage == "anti-brush") | .position] | add) >= $events and ([.[] | .lag] | add) == 0'
}
