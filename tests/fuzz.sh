#!/usr/bin/env bash
# Runs every fuzz target for some seconds, from the corpus in tests/fuzz/corpus.
# Usage: tests/fuzz.sh [SECONDS for each target, default 10] [TARGET...]
# The targets above RocksDB run where a release build has left it in the cache, as tests/run.sh does; with
# WEIR_FUZZ=all always, which may build it (15 minutes), with WEIR_FUZZ=proto never.
# SANITIZER=address looks for errors of memory, too; it is slower.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

DIR=tests/fuzz
# What can be run wrongly in safe code is found without a sanitizer, several times as fast.
SANITIZER=${SANITIZER:-none}

skip() {
  say "Fuzzing is skipped: $*"
  exit 0
}

has_nightly() {
  rustup toolchain list 2>/dev/null | grep -q '^nightly'
}

need_tools() {
  prepare_build
  if ! has_nightly; then
    command -v rustup >/dev/null || skip "there is no nightly toolchain, and no rustup to install one with"
    step rustup toolchain install nightly --profile minimal >&2 ||
      skip "there is no nightly toolchain, and none can be installed"
  fi
  if ! cargo fuzz --version >/dev/null 2>&1; then
    CARGO_TARGET_DIR=$(cache_dir)/cargo-fuzz step cargo install cargo-fuzz --locked >&2 ||
      skip "there is no cargo-fuzz, and it cannot be installed"
  fi
}

# The RocksDB that the release build has made, if there is one: it is linked and not built again.
find_rocksdb() {
  local found
  # The newest one is that of Cargo.lock.
  # shellcheck disable=SC2012
  found=$(ls -t "$CARGO_TARGET_DIR"/release/build/librocksdb-sys-*/out/librocksdb.a 2>/dev/null | head -1)
  [[ -n $found ]] || return 1
  export ROCKSDB_LIB_DIR=${found%/*} ROCKSDB_STATIC=1
}

# The targets that the features make.
targets() {
  awk -v features=" $* " '
    function out() { if (name != "" && (needs == "" || index(features, " " needs " "))) print name; name = needs = "" }
    /^\[\[bin\]\]/ { out(); is_bin = 1 }
    is_bin && /^name = / { split($0, part, "\""); name = part[2] }
    is_bin && /^required-features = / { split($0, part, "\""); needs = part[2] }
    END { out() }' "$DIR/Cargo.toml"
}

# Runs a target; what it finds that is new stays in the cache.
run_target() {
  local target=$1 seconds=$2 binary=$3 work args
  work=$(cache_dir)/fuzz
  mkdir -p "$work/corpus/$target" "$work/artifacts/$target"
  args=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0
    -artifact_prefix="$work/artifacts/$target/")
  [[ -e $DIR/dictionaries/$target.dict ]] && args+=(-dict="$DIR/dictionaries/$target.dict")
  if "$binary" "${args[@]}" "$work/corpus/$target" "$DIR/corpus/$target" >"$work/$target.log" 2>&1; then
    printf '%-10s %12s executions\n' "$target" "$(sed -n 's/.*number_of_executed_units: *//p' "$work/$target.log")"
    return 0
  fi
  tail -40 "$work/$target.log" >&2
  say "$target fails. Once more: $binary $(find "$work/artifacts/$target" -type f -printf '%T@ %p\n' |
    sort -n | tail -1 | cut -d' ' -f2-)"
  return 1
}

main() {
  local seconds=${1:-10} features=() found=() failed=0 target triple
  shift || true
  need_tools
  # What is fuzzed has the dependencies that are shipped.
  cp Cargo.lock "$DIR/Cargo.lock"
  case ${WEIR_FUZZ:-cached} in
    all)
      find_rocksdb || true
      features=(operators all)
      ;;
    cached)
      if find_rocksdb; then
        features=(operators all)
      else
        say "There is no RocksDB in the cache: only targets that need none are run (WEIR_FUZZ=all for all)"
      fi
      ;;
  esac
  # The allocator of the pipeline and a sanitizer's do not go together.
  [[ $SANITIZER == none || ${#features[@]} -eq 0 ]] || features=(operators)
  CARGO_TARGET_DIR=$(cache_dir)/fuzz/target-$SANITIZER
  export CARGO_TARGET_DIR
  step cargo +nightly fuzz build --fuzz-dir "$DIR" --sanitizer "$SANITIZER" --features "${features[*]}" >&2
  triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
  mapfile -t found < <(if [[ $# -gt 0 ]]; then printf '%s\n' "$@"; else targets "${features[@]}"; fi)
  for target in "${found[@]}"; do
    run_target "$target" "$seconds" "$CARGO_TARGET_DIR/$triple/release/$target" || failed=1
  done
  return "$failed"
}

main "$@"
