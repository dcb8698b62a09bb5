#!/usr/bin/env bash
# Builds Weir, generates ad traffic, bills it, and shows where the money went.
# Installs what a fresh Debian machine lacks. Usage: deploy/demo.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

EVENTS=300000

generate_traffic() {
  say "Generating $EVENTS log lines of clicks and impressions, with robots, floods and repeats"
  "$WEIR" gen --events "$EVENTS" --out "$DEMO/traffic" >&2
}

bill_traffic() {
  say "Billing them: collect, anti-brush, anti-fraud, deduct"
  "$WEIR" run --input "$DEMO"/traffic/events-*.ndjson --accounts "$DEMO/traffic/accounts.csv" \
    --data-dir "$DEMO/data" --until-end >/dev/null
}

show_where_to_look() {
  local first=("$DEMO"/traffic/events-*.ndjson)
  cat <<EOF

Look further:
  weir=$WEIR
  data=$DEMO/data
  head -n 1 ${first[0]}
  \$weir tap charges --data-dir \$data --until end | head -n 5
  \$weir tap dropped --data-dir \$data --until end | grep -m 5 '"reason":"user_click_rate"'
  \$weir tap notices --data-dir \$data --until end | head -n 5
  \$weir report --data-dir \$data --top 3 --json
  \$weir --help

Delete it all with: rm -r $DEMO
EOF
}

main() {
  build_weir
  mkdir -p "$(cache_dir)"
  DEMO=$(mktemp --directory "$(cache_dir)/demo.XXXXXX")
  generate_traffic
  bill_traffic
  say "Where the money went"
  "$WEIR" report --data-dir "$DEMO/data" --top 10
  show_where_to_look
}

main "$@"
