#!/usr/bin/env bash
# Runs a real Apache ZooKeeper on this machine, for development and tests: one server, on loopback only, from Debian's
# packages. Usage: deploy/zookeeper.sh --help
set -euo pipefail
CALLED_FROM=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

JAR=/usr/share/java/zookeeper.jar
MAIN=org.apache.zookeeper.server.quorum.QuorumPeerMain

usage() {
  cat <<EOF
Runs one server of Apache ZooKeeper on 127.0.0.1, for development and tests.

Usage: deploy/zookeeper.sh up|down|kill|status [--port PORT] [--dir DIR]
  up      start it if it does not run, wait until it answers, print its address
  down    end it; with --wipe, delete its data too
  kill    kill -9; up starts it again, on its data
  status  exit code 0 if it runs, 3 if not

  --port PORT  0 chooses [DIR's, or 2181]
  --dir DIR    for data, log and pid file [$(cache_dir)/zookeeper]

The package libzookeeper-java and a Java are installed with apt-get if they are missing.
Exit codes: 0 done, 1 failed, 2 the command is wrong, 3 see status, 69 the packages cannot be had.
EOF
}

fail() {
  printf 'error: %s\n' "${*:2}" >&2
  exit "$1"
}

pid_of() {
  local pid
  { read -r pid <"$DIR/pid"; } 2>/dev/null || return 1
  [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *" $MAIN $DIR/zoo.cfg " ]] && echo "$pid"
}

# Whether somebody listens there.
is_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

answers() (
  exec 3<>"/dev/tcp/127.0.0.1/$PORT"
  printf ruok >&3
  [[ $(timeout 2 cat <&3) == imok ]]
) 2>/dev/null

choose_port() {
  local try
  for try in {1..100}; do
    PORT=$((20000 + RANDOM % 12000))
    is_taken "$PORT" || return 0
  done
  fail 1 "found no free port in $try tries"
}

up() {
  local deadline=$((SECONDS + 60))
  PORT=${WANT_PORT:-$(cat "$DIR/port" 2>/dev/null || echo 2181)}
  if ! pid_of >/dev/null; then
    [[ $PORT != 0 ]] || choose_port
    ! is_taken "$PORT" || fail 1 "port $PORT is taken: choose another with --port, or let --port 0 choose"
    [[ -e $JAR ]] || (install_packages default-jre-headless libzookeeper-java) || true
    [[ -e $JAR ]] || fail 69 "there is no $JAR: install the package libzookeeper-java"
    mkdir -p "$DIR/data"
    echo "$PORT" >"$DIR/port"
    # Short ticks: a session may then be short, and its end is noticed soon.
    cat >"$DIR/zoo.cfg" <<EOF
tickTime=500
maxSessionTimeout=60000
dataDir=$DIR/data
clientPort=$PORT
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=ruok
EOF
    say "Starting ZooKeeper in $DIR"
    setsid java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$JAR" "$MAIN" "$DIR/zoo.cfg" \
      </dev/null >>"$DIR/server.log" 2>&1 &
    echo $! >"$DIR/pid"
    disown
  fi
  PORT=$(<"$DIR/port")
  until answers; do
    ((SECONDS < deadline)) && kill -0 "$(<"$DIR/pid")" || fail 1 "it does not answer: see $DIR/server.log"
    sleep 0.1
  done
  echo "127.0.0.1:$PORT"
}

# Takes a signal.
stop() {
  local pid
  if pid=$(pid_of); then
    kill "-$1" "$pid" || true
    while pid_of >/dev/null; do sleep 0.1; done
  fi
}

main() {
  local command=${1:-} wipe=
  DIR=$(cache_dir)/zookeeper WANT_PORT=
  shift || true
  while [[ $# -gt 0 ]]; do
    case $1 in
      --port) WANT_PORT=${2:?} && shift ;;
      --dir) DIR=$(cd "$CALLED_FROM" && realpath --canonicalize-missing "${2:?}") && shift ;;
      --wipe) wipe=1 ;;
      *) command= ;;
    esac
    shift
  done
  case $command in
    up) up ;;
    kill) stop KILL ;;
    status) pid_of >/dev/null || exit 3 ;;
    down)
      stop TERM
      [[ -z $wipe ]] || rm -rf "$DIR/data" "$DIR"/{zoo.cfg,port,pid,server.log}
      ;;
    *) usage >&2 && exit 2 ;;
  esac
}

main "$@"
