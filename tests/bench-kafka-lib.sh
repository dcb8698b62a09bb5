# shellcheck shell=bash
# What the benchmarks of Kafka share: a broker, workers of a group, and waiting for them. They source this file behind
# tests/bench-lib.sh; nothing happens before they call a function. None of them starts a process within $(…), which
# would wait for it.

PARTITIONS=${PARTITIONS:-16}
FIRST_PORT=${FIRST_PORT:-19480}
# How long something may take that is waited for.
PATIENCE=120
declare -a PIDS=()

# Builds, or takes $BINARY, and brings up a broker. All that is measured lies in a directory of such a name, which goes in
# the end.
prepare_kafka() {
  if [[ -n ${BINARY:-} ]]; then
    WEIR=$BINARY
  else
    build_weir
  fi
  prepare_bench
  install_packages curl
  DIR=$(mktemp --directory "$(cache_dir)/$1.XXXXXX")
  trap 'kill -9 "${PIDS[@]}" 2>/dev/null || true; deploy/kafka.sh down --wipe --dir "$DIR/kafka" >&2 || true; rm -rf "$DIR"' EXIT
  BROKERS=$(deploy/kafka.sh up --port 0 --dir "$DIR/kafka")
  # shellcheck disable=SC2034 # For those who source this.
  BROKER=$(cat "$DIR/kafka/node-1/pid")
}

# The configuration of worker $1 of $2; $3 says what the log is; files are those whose number is that of the worker.
configure() {
  local worker=$1 workers=$2 log=$3 file
  {
    printf 'data_dir = "%s/worker-%s"\npartitions = %s\n' "$DIR/$CASE" "$worker" "$PARTITIONS"
    for file in "$SOURCES"/events-*.ndjson; do
      file=${file##*events-}
      ((${file%.ndjson} % workers == worker)) && printf '[[source]]\npath = "%s/events-%s"\n' "$SOURCES" "$file"
    done
    ((worker > 0)) || printf '[accounts]\nfile = "%s/accounts.csv"\n' "$SOURCES"
    printf '[listen]\nmetrics = "127.0.0.1:%s"\ncontrol = "127.0.0.1:%s"\n' $((FIRST_PORT + worker)) $((FIRST_PORT + 100 + worker))
    printf '[time]\nclock = "%s"\n' "$CLOCK"
    if [[ $log == kafka ]]; then
      printf '[log]\nkind = "kafka"\n[log.kafka]\nbrokers = "%s"\nprefix = "%s"\nreplication = 1\nmin_insync = 1\n' \
        "$BROKERS" "${CASE//\//-}"
      printf '[group]\nworker = %s\n' "$worker"
    fi
    if [[ $log == kafka ]]; then
      printf '[checkpoints]\nremote = "file://%s/depot"\n' "$DIR/$CASE"
    fi
  } >"$DIR/$CASE/worker-$worker.toml"
}

# Starts the workers of a case.
start() {
  local workers=$1 log=$2 worker
  PIDS=()
  for ((worker = 0; worker < workers; worker++)); do
    start_worker "$worker" "$workers" "$log"
  done
}

# Starts worker $1 of $2; $3 says what the log is.
start_worker() {
  mkdir -p "$DIR/$CASE/depot"
  configure "$@"
  "$WEIR" run --config "$DIR/$CASE/worker-$1.toml" 2>"$DIR/$CASE/worker-$1.log" &
  PIDS+=($!)
}

stop() {
  kill "${PIDS[@]}"
  wait "${PIDS[@]}" || die "a job did not end well: $(tail -n 3 "$DIR/$CASE"/worker-*.log)"
  PIDS=()
}

# Sums the samples of all workers that match a pattern.
sum() {
  local worker
  for ((worker = 0; worker < $1; worker++)); do
    curl --silent --max-time 2 "http://127.0.0.1:$((FIRST_PORT + worker))/metrics" || true
  done | awk -v pattern="$2" '$0 ~ pattern { sum += $NF } END { printf "%.0f\n", sum }'
}

# What became of how many lines.
done_by() {
  sum "$1" '^weir_(outcomes|dropped)_total[{]'
}

# Until a count, which a command with the number of workers tells, has come so far.
wait_until() {
  local deadline=$((SECONDS + PATIENCE))
  until (($("$1" "$2") >= $3)); do
    ((SECONDS < deadline)) || die "$1: $("$1" "$2") of $3. See $(tail -n 3 "$DIR/$CASE"/worker-*.log)"
    sleep 0.1
  done
}

# Events and accounts that deduct has taken in.
taken_by() {
  sum "$1" '^weir_records_in_total[{].*stage="deduct"'
}

# CPU time of processes so far, in hundredths of a second.
cpu_of() {
  local pid
  for pid in "$@"; do cat "/proc/$pid/stat"; done | sed 's/.*) //' | awk '{ sum += $12 + $13 } END { print sum + 0 }'
}

# The memory that the largest one of some processes has had, in MiB.
peak_of() {
  local pid
  for pid in "$@"; do grep VmHWM "/proc/$pid/status"; done | awk '$2 > most { most = $2 } END { printf "%.0f\n", most / 1024 }'
}

# How many partitions the first workers have.
held_by() {
  sum "$1" '^weir_group_partitions '
}
