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

start_zookeeper() {
  ZOOKEEPER_DIR=$(mktemp --directory)
  if ZOOKEEPER_SERVERS=$(deploy/zookeeper.sh up --port 0 --dir "$ZOOKEEPER_DIR"); then
    export ZOOKEEPER_SERVERS ZOOKEEPER_DIR
    trap stop_servers EXIT
  else
    say "No ZooKeeper can be had here: tests of its leases are skipped"
    unset ZOOKEEPER_SERVERS ZOOKEEPER_DIR
  fi
}

# Brings up a Kafka of its own for the tests that want one; where it cannot be had, they say that they are skipped.
start_kafka() {
  KAFKA_DIR=$(mktemp --directory)
  if KAFKA_BROKERS=$(deploy/kafka.sh up --port 0 --dir "$KAFKA_DIR"); then
    export KAFKA_BROKERS KAFKA_DIR
    trap stop_servers EXIT
  else
    say "No Kafka can be had here: tests of its log are skipped"
    unset KAFKA_BROKERS KAFKA_DIR
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
  start_kafka
  start_zookeeper
  step cargo test --workspace --release --locked
  step tests/failpoints.sh
  step tests/sim.sh --seeds 2000
  WEIR_FUZZ=${WEIR_FUZZ:-proto} step tests/fuzz.sh 5
  say "All tests passed in $((SECONDS / 60)) min $((SECONDS % 60)) s."
}

main "$@"
