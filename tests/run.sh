#!/usr/bin/env bash
# Installs what is missing, then checks the style, builds, and runs every test: the suites, failpoints around the
# durable steps, the simulator, and the fuzz targets that need no RocksDB, for some seconds each.
# The first failure ends it. Usage: tests/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

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
  step cargo test --workspace --release --locked
  step tests/failpoints.sh
  step tests/sim.sh --seeds 2000
  WEIR_FUZZ=${WEIR_FUZZ:-proto} step tests/fuzz.sh 5
  say "All tests passed in $((SECONDS / 60)) min $((SECONDS % 60)) s."
}

main "$@"
