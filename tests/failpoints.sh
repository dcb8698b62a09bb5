#!/usr/bin/env bash
# Builds Weir once more, with failpoints, and disturbs each of its durable steps. The binary of the product is not
# touched: this one has a name of its own. Usage: tests/failpoints.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

main() {
  prepare_build
  build_disturbed
  WEIR_FAILPOINTS=1 WEIR_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/weir-failpoints" \
    step cargo test --release --locked --workspace --test failpoints -- --nocapture
}

main "$@"
