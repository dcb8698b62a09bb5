# shellcheck shell=bash
# Several runs of tests/bench.sh: medians, spreads, and two sides beside each other. Sourced, like
# tests/bench-lib.sh.

# The medians of runs, each with its lowest and highest value, as one JSON object.
summarize_runs() {
  jq --slurp --arg revision "$1" '
    def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
    def metrics: {
        "events/s": .events_per_s, "steady events/s": .steady_events_per_s, "CPU s": (.cpu_user_s + .cpu_system_s), "system s": .cpu_system_s,
        "peak memory MB": (.peak_memory_bytes / 1e6), "on disk MB": ([.disk_bytes[]] | add / 1e6)
      } + ([.stages[] | {"CPU s of \(.stage)": .cpu_s}] | add);
    map(metrics) as $runs | .[0] | {
      date, machine, revision: $revision, events, partitions, runs: ($runs | length),
      metrics: (reduce ($runs[0] | keys_unsorted[]) as $name ({};
        .[$name] = ([$runs[][$name]] | {median: median, low: min, high: max})))
    }' "${@:2}"
}

# Two sides that measured the same, as an array. The noise of a difference is the wider spread of its sides;
# that of one run is not known.
compare_sides() {
  jq --slurp '
    def spread: (.high - .low) / ([.median, 1e-9] | max);
    .[0] as $base | .[1] as $new
    | ([$base.runs, $new.runs] | max > 1) as $known
    | [$new.metrics | to_entries[] | .key as $name | .value as $b | $base.metrics[$name] as $a
      | select($a != null) | {
        metric: $name, base: $a.median, new: $b.median,
        ratio: (if $a.median == 0 then null else $b.median / $a.median end),
        noise: (if $known then [$a, $b | spread] | max else null end)
      }
      | .is_beyond_noise = (.ratio != null and .noise != null and (.ratio - 1 | fabs) > .noise)
      | .is_better = ((.ratio // 1) > 1) == (.metric | endswith("events/s"))]' "$1" "$2"
}

print_runs() {
  jq --raw-output '
    def fixed: . * 100 | round / 100;
    "machine\t\(.machine)", "revision\t\(.revision)", "events\t\(.events)", "runs\t\(.runs)", "",
    "\tmedian\tlowest\thighest\tspread",
    (.metrics | to_entries[] | .key as $name | .value |
      "\($name)\t\(.median | fixed)\t\(.low | fixed)\t\(.high | fixed)\t" +
      "\((.high - .low) / ([.median, 1e-9] | max) * 100 | fixed) %")' "$1" |
    column --table --separator $'\t' --keep-empty-lines
}

print_comparison() {
  jq --raw-output '
    def fixed($places): . * pow(10; $places) | round / pow(10; $places);
    "\tbase\tnew\tratio\tnoise\tbeyond the noise",
    (.[] | "\(.metric)\t\(.base | fixed(2))\t\(.new | fixed(2))\t" +
      "\(if .ratio then .ratio | fixed(3) else "-" end)\t" +
      "\(if .noise then "\(.noise * 100 | fixed(1)) %" else "not known" end)\t" +
      (if .is_beyond_noise | not then "" elif .is_better then "better" else "worse" end))' "$1" |
    column --table --separator $'\t' --keep-empty-lines
}

# Two sides can be compared if they billed the same.
check_sides() {
  local same
  same=$(jq --slurp '(map([.events, .partitions]) | unique | length) == 1' "$1" "$2")
  [[ $same == true ]] || die "the baseline is of other EVENTS or PARTITIONS than this run"
  same=$(jq --slurp '(map(.machine) | unique | length) == 1' "$1" "$2")
  [[ $same == true ]] || say "The baseline was measured on another machine: only its proportions say something."
}

# A target directory for other revisions, with what was built of other crates already, RocksDB above all. They
# must not share that of this tree: Cargo cannot tell two checkouts of one crate apart and would take the
# binary of the one for the other's.
prepare_base_target() {
  local from=$CARGO_TARGET_DIR/release to=$BENCH/target/release
  [[ -e $to || ! -e $from/deps ]] && return
  say "Copying what was built of other crates into $BENCH/target"
  mkdir -p "$to.new/deps"
  cp -a "$from/build" "$from/.fingerprint" "$to.new"
  find "$from/deps" -maxdepth 1 -type f -name 'lib*' ! -name '*weir*' -exec cp -a --target-directory "$to.new/deps" {} +
  find "$to.new" -name '*weir*' -prune -exec rm -rf {} +
  mv "$to.new" "$to"
}

# Builds a revision and keeps its binary.
build_revision() {
  local commit=$1 tree=$BENCH/tree
  BASE_WEIR=$BENCH/binaries/$commit
  [[ -e $BASE_WEIR ]] && return
  prepare_base_target
  say "Building $(git log -1 --format='%h %s' "$commit")"
  rm -rf "$tree"
  mkdir -p "$tree" "$BENCH/binaries"
  # As an archive, which leaves nothing in the repository when this is interrupted. Its files are new ones, so
  # that Cargo does not take what it built of another revision for theirs.
  git archive "$commit" | tar --extract --touch --directory "$tree"
  (cd "$tree" && CARGO_TARGET_DIR=$BENCH/target cargo build --release --locked --bin weir) >&2
  cp "$BENCH/target/release/weir" "$BASE_WEIR"
  rm -rf "$tree"
}
