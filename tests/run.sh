#!/usr/bin/env bash
# Installs what is missing, then checks the style, builds, and runs every test: the suites, failpoints around the
# durable steps, the simulator, and the fuzz targets that need no RocksDB, for some seconds each.
# The first failure ends it. Usage: tests/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

stop_servers() {
  [[ -z ${KAFKA_DIR:-} ]] || deploy/kafka.sh down --wipe --dir "$KAFKA_DIR"
  [[ -z ${ZOOKEEPER_DIR:-} ]] || deploy/zookeeper.sh down --wipe --dir "$ZOOKEEPER_DIR"
}

# Brings up a server of its own for the tests that want one, and says in variables named after it where it is; where it cannot be
# had, they say that they are skipped. Usage: start_server kafka|zookeeper KAFKA_BROKERS|ZOOKEEPER_SERVERS
start_server() {
  local name=$1 answers=$2 dir=${1^^}_DIR made address
  made=$(mktemp --directory)
  trap stop_servers EXIT
  if address=$("deploy/$name.sh" up --port 0 --dir "$made"); then
    export "$dir=$made" "$answers=$address"
  else
    say "No server of $name can be had here: tests of it are skipped"
    unset "$dir" "$answers"
  fi
}

main() {
  SECONDS=0
  prepare_build
  # The ledger is tested against a server that the tests start themselves.
  install_packages postgresql
  need_rust_components
  step cargo fmt --all --check
  step cargo clippy --workspace --all-targets --release --locked -- -D warnings
  step cargo clippy --workspace --all-targets --release --locked \
    --features weir-sim/sabotage,weir-pipeline/failpoints -- -D warnings
  step cargo build --workspace --release --locked
  start_server kafka KAFKA_BROKERS
  start_server zookeeper ZOOKEEPER_SERVERS
  step cargo test --workspace --release --locked
  step tests/failpoints.sh
  step tests/sim.sh --seeds 2000
  WEIR_FUZZ=${WEIR_FUZZ:-proto} step tests/fuzz.sh 5
  say "All tests passed in $((SECONDS / 60)) min $((SECONDS % 60)) s."
}

main "$@"
