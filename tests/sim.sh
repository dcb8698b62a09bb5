#!/usr/bin/env bash
# Simulates failures from seeds: first the seeds that have failed once, then seeds 0 to N-1; then breaks one
# contract after the other and expects each to be caught within 2,000 seeds.
# Usage: tests/sim.sh [--seeds N]
#        tests/sim.sh --seed S [--faults LIST] [--inputs LIST] [--sabotage NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

main() {
  local target
  prepare_build
  build_disturbed
  target=${CARGO_TARGET_DIR:-target}/release/weir-sim
  if [[ " $* " == *" --seed "* ]]; then
    step "$target" "$@"
    return
  fi
  step "$target" --first tests/sim/seeds.txt "$@"
  step "$target" --sabotage all --seeds 2000
}

main "$@"
