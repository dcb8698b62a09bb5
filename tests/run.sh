#!/usr/bin/env bash
# Installs what is missing, then checks the style, builds, and runs every test.
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
  step cargo build --workspace --release --locked
  step cargo test --workspace --release --locked
  step tests/failpoints.sh
  say "All tests passed in $((SECONDS / 60)) min $((SECONDS % 60)) s."
}

main "$@"
