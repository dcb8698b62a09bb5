#!/usr/bin/env bash
# Runs a real Apache Kafka on this machine, for development and tests: on loopback only, from its artefacts in Maven
# Central, with the Java that is here. Usage: deploy/kafka.sh --help
set -euo pipefail
CALLED_FROM=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=tests/lib.sh
. tests/lib.sh

MAVEN=${WEIR_MAVEN:-https://repo1.maven.org/maven2}
LIST=$PWD/deploy/kafka-jars.txt
VERSION=$(sed -n 's|.*/kafka_2.13/\([^/]*\)/.*|\1|p' "$LIST")
JARS=$(cache_dir)/kafka/$VERSION
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
# These processes are short-lived and have few cores: a quick start is worth more than the code of the second compiler.
JAVA_FLAGS=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -Djava.net.preferIPv4Stack=true
  -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ")

usage() {
  cat <<EOF
Runs Apache Kafka $VERSION on 127.0.0.1, for development and tests (KRaft, no ZooKeeper, no Docker).

Usage: deploy/kafka.sh COMMAND [--nodes 1|3] [--port PORT] [--dir DIR] [--json]
  up       start what does not run, wait until it answers, print the bootstrap address
  down     end it; with --wipe, delete its data too
  status   which nodes run; exit code 0 if all do, 3 if none does, 4 if some do
  kill N   kill -9 node N
  start N  start node N again, on its data
  tool CLASS ARGS...  run one of Kafka's own command-line tools

  --nodes 1|3  each a broker and a controller [what DIR holds, or 1]
  --port PORT  of the first broker; the other brokers, then the controllers follow it. 0 chooses [DIR's, or 9092]
  --dir DIR    for data, logs and pid files: DIR/node-N [$(cache_dir)/kafka/cluster]
  --json       print the state as JSON (up, down, status)

Examples:
  deploy/kafka.sh up --nodes 3 --port 0 --dir /tmp/three
  deploy/kafka.sh kill 2 --dir /tmp/three && deploy/kafka.sh start 2 --dir /tmp/three
  deploy/kafka.sh down --wipe --dir /tmp/three

  at="--bootstrap-server \$(deploy/kafka.sh up)" tools=org.apache.kafka.tools
  deploy/kafka.sh tool \$tools.TopicCommand \$at --create --topic clicks --partitions 8
  seq 9 | deploy/kafka.sh tool \$tools.ConsoleProducer \$at --topic clicks
  deploy/kafka.sh tool \$tools.consumer.ConsoleConsumer \$at --topic clicks --from-beginning --max-messages 9
  deploy/kafka.sh tool \$tools.consumer.group.ConsumerGroupCommand \$at --list
  deploy/kafka.sh tool \$tools.GetOffsetShell \$at

Java 17 or newer is installed with apt-get if it is missing. The jars (45 MB) come from $MAVEN
(or \$WEIR_MAVEN) and are kept in $JARS.
Exit codes: 0 done, 1 failed, 2 the command is wrong, 3 and 4 see status, 69 Java or a jar cannot be had.
EOF
}

# Takes the exit code. With 69, tests may skip: it is no failure of what they test.
fail() {
  printf 'error: %s\n' "${*:2}" >&2
  exit "$1"
}

java_is_new_enough() {
  local release
  release=$({ "$JAVA" -version 2>&1 || true; } | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  ((${release:-0} >= 17))
}

need_java() {
  java_is_new_enough || (install_packages default-jre-headless) || true
  hash -r
  java_is_new_enough || fail 69 "Kafka needs Java 17 or newer, and $JAVA is too old or not there"
}

jar_is_whole() {
  sha256sum --check --status <<<"$1  $2" 2>/dev/null
}

# The lines of the list whose jars are not in the cache, or damaged there.
missing_jars() {
  local sum path
  while read -r sum path; do
    jar_is_whole "$sum" "$JARS/${path##*/}" || echo "$sum $path"
  done < <(grep -v '^#' "$LIST")
}

# Takes lines of the list. A jar gets its name when it is whole.
fetch_jars() {
  local sum path incoming=$JARS/.incoming
  say "Downloading $(wc -l <<<"$1") jars of Kafka $VERSION into $JARS"
  rm -rf "$incoming"
  mkdir "$incoming"
  while read -r sum path; do
    printf 'url = "%s"\noutput = "%s"\n' "$MAVEN/$path" "$incoming/${path##*/}"
  done <<<"$1" | curl --config - --parallel --parallel-max 8 --fail --fail-early --location --no-progress-meter \
    --retry 2 --connect-timeout 10 --speed-limit 1000 --speed-time 30 >&2 || true
  while read -r sum path; do
    jar_is_whole "$sum" "$incoming/${path##*/}" ||
      fail 69 "$MAVEN/$path cannot be had, or is not what $LIST says"
    mv "$incoming/${path##*/}" "$JARS/"
  done <<<"$1"
  rmdir "$incoming"
}

# Makes sure of Java and the jars. Tests that start together share one download.
prepare() {
  need_java
  mkdir -p "$JARS"
  (
    flock 8
    lines=$(missing_jars)
    [[ -n $lines ]] || exit 0
    (install_packages curl ca-certificates) || true
    fetch_jars "$lines"
  ) 8>"$JARS/.lock"
  CLASSPATH=$(sed -n "s|^[^#].*/|$JARS/|p" "$LIST" | paste --serial --delimiters=:)
  export CLASSPATH
}

# Sets ID, NODES and PORT to those of the cluster in the directory, if it holds one.
load() {
  [[ -e $DIR/cluster ]] && read -r ID NODES PORT <"$DIR/cluster"
}

# Of the brokers; controllers follow as if they were further nodes.
port_of() {
  echo $((PORT + $1 - 1))
}

bootstrap() {
  seq --format=127.0.0.1:%.0f --separator=, "$PORT" $((PORT + NODES - 1))
}

# The process of a node, if it runs: by now another one may have its number.
pid_of() {
  local pid home=$DIR/node-$1
  { read -r pid <"$home/pid"; } 2>/dev/null || return 1
  [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *" kafka.Kafka $home/server.properties " ]] && echo "$pid"
}

running() {
  local node
  for node in $(seq "$NODES"); do
    if pid_of "$node" >/dev/null; then echo "$node"; fi
  done
}

# Prints those ports that somebody else has, of the given nodes.
taken_ports() {
  local node port
  for node in "$@"; do
    for port in $(port_of "$node") $(port_of $((NODES + node))); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; fi
    done
  done
}

# Below the ports that the system gives to outgoing connections.
choose_ports() {
  local try
  for try in {1..100}; do
    PORT=$((20000 + RANDOM % 2000 * 6))
    [[ -n $(taken_ports $(seq "$NODES")) ]] || return 0
  done
  die "found no free ports in $try tries"
}

# Decides what shall run: what the options say, and what the directory holds.
plan() {
  if load; then
    [[ ${WANT_NODES:-$NODES} == "$NODES" ]] ||
      die "$DIR holds a cluster of $NODES: wipe it (deploy/kafka.sh down --wipe), or take another --dir"
    if [[ -z $(running) ]]; then
      PORT=${WANT_PORT:-$PORT}
    elif [[ ${WANT_PORT:-0} != 0 && $WANT_PORT != "$PORT" ]]; then
      die "the cluster in $DIR already runs, at $(bootstrap)"
    fi
  else
    ID=$(head --bytes=16 /dev/urandom | base64 | tr '+/' 'Kk' | tr -d '=')
    NODES=${WANT_NODES:-1}
    PORT=${WANT_PORT:-9092}
  fi
  [[ $PORT != 0 ]] || choose_ports
}

write_config() {
  local home=$DIR/node-$1 host=127.0.0.1 isr=$((NODES == 1 ? 1 : 2)) voters
  voters=$(for node in $(seq "$NODES"); do printf ',%s' "$node@$host:$(port_of $((NODES + node)))"; done)
  mkdir -p "$home"
  cat >"$home/server.properties" <<EOF
node.id=$1
process.roles=broker,controller
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://$host:$(port_of "$1"),CONTROLLER://$host:$(port_of $((NODES + $1)))
advertised.listeners=PLAINTEXT://$host:$(port_of "$1")
log.dirs=$home/data
# Topics are made on purpose, and are on every node.
auto.create.topics.enable=false
default.replication.factor=$NODES
min.insync.replicas=$isr
offsets.topic.replication.factor=$NODES
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$NODES
transaction.state.log.min.isr=$isr
transaction.state.log.num.partitions=4
# The last of three to leave would wait for a majority that has gone.
controlled.shutdown.enable=$([[ $NODES == 1 ]] && echo true || echo false)
# Tests do not wait: for who is dead, for a group to gather, for a transaction that nobody ends.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=5000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# The default takes 128 MiB of a small heap.
log.cleaner.dedupe.buffer.size=16777216
EOF
}

# Those that are not formatted yet, at the same time.
format_nodes() {
  local node home job jobs=()
  for node in "$@"; do
    home=$DIR/node-$node
    [[ ! -e $home/data/meta.properties ]] || continue
    "$JAVA" -Xmx128m "${JAVA_FLAGS[@]}" kafka.tools.StorageTool format --cluster-id "$ID" \
      --config "$home/server.properties" >>"$home/server.log" 2>&1 9>&- &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do
    wait "$job" || die "could not format the storage: see $DIR/node-*/server.log"
  done
}

# It outlives this script and holds nothing of it: no terminal, no pipe of the caller, no lock.
start_node() {
  local home=$DIR/node-$1 heap=$((NODES == 1 ? 512 : 384))
  setsid "$JAVA" "-Xmx${heap}m" "${JAVA_FLAGS[@]}" kafka.Kafka "$home/server.properties" \
    </dev/null >>"$home/server.log" 2>&1 9>&- &
  echo $! >"$home/pid"
  disown
}

# The metadata that a broker gives to its clients, in hex. Asked in Kafka's protocol (Metadata, version 1, no topics),
# it takes milliseconds; Kafka's own tools take seconds.
metadata_of() (
  exec 3<>"/dev/tcp/127.0.0.1/$(port_of "$1")"
  printf '\0\0\0\x0e\0\3\0\1\0\0\0\0\xff\xff\0\0\0\0' >&3
  size=$(timeout 2 head --bytes=4 <&3 | od -An -tu4 --endian=big)
  timeout 2 head --bytes=$((size)) <&3 | od -An -v -tx1 | tr -d ' \n'
) 2>/dev/null

# Whether the first of these nodes answers, and knows that all of them are alive: number, length of host, host, port.
knows() {
  local node metadata
  metadata=$(metadata_of "$1") || return 1
  for node in "$@"; do
    [[ $metadata == *$(printf '%08x00093132372e302e302e31%08x' "$node" "$(port_of "$node")")* ]] || return 1
  done
}

# Until each of these nodes answers, and knows that all are alive.
wait_for() {
  local node log deadline=$((SECONDS + 120)) all=("$@")
  while [[ $# -gt 0 ]]; do
    for node in "${all[@]}"; do
      log=$DIR/node-$node/server.log
      kill -0 "$(<"$DIR/node-$node/pid")" 2>/dev/null ||
        die "node $node has ended: see $log"$'\n'"$(tail -n 300 "$log" | grep -E ' ERROR |Exception:' | tail -n 4)"
    done
    ((SECONDS < deadline)) || die "node $1 does not answer after 120 s: see $DIR/node-$1/server.log"
    if knows "$1" "${all[@]}"; then shift; else sleep 0.1; fi
  done
}

# Takes a signal, and nodes. Those that have not ended after 20 s are killed.
stop_nodes() {
  local node pid signal=$1 deadline=$((SECONDS + 20))
  shift
  for node in "$@"; do
    if pid=$(pid_of "$node"); then kill "-$signal" "$pid" || true; fi
  done
  for node in "$@"; do
    while pid=$(pid_of "$node"); do
      ((SECONDS < deadline)) || kill -KILL "$pid" || true
      sleep 0.1
    done
  done
}

up() {
  local node taken idle
  plan
  mapfile -t idle < <(running | comm -23 <(seq "$NODES") -)
  if [[ ${#idle[@]} -gt 0 ]]; then
    taken=$(taken_ports "${idle[@]}")
    [[ -z $taken ]] || die "port ${taken//$'\n'/, } is taken: choose another with --port, or let --port 0 choose"
    prepare
    for node in "${idle[@]}"; do write_config "$node"; done
    echo "$ID $NODES $PORT" >"$DIR/cluster"
    format_nodes "${idle[@]}"
    say "Starting Kafka $VERSION, node ${idle[*]} of $NODES, in $DIR"
    # What does not come up is not left behind.
    # shellcheck disable=SC2064
    trap "stop_nodes KILL ${idle[*]}" EXIT
    for node in "${idle[@]}"; do start_node "$node"; done
  fi
  wait_for $(seq "$NODES")
  trap - EXIT
  if [[ -n $JSON ]]; then print_json; else bootstrap; fi
}

down() {
  local nodes
  if load; then
    mapfile -t nodes < <(running)
    [[ ${#nodes[@]} -eq 0 ]] || say "Ending Kafka, node ${nodes[*]} of $NODES, in $DIR"
    # What shall be deleted need not be closed.
    stop_nodes "${WIPE:-TERM}" "${nodes[@]}"
    if [[ -n $WIPE ]]; then
      rm -rf "$DIR"/node-[1-3] "$DIR/cluster" "$DIR/.lock"
      rmdir --ignore-fail-on-non-empty "$DIR"
    fi
  fi
  [[ -z $JSON ]] || print_json
}

print_json() {
  local node pid between=
  load || { echo '{"cluster_id":null,"bootstrap":null,"nodes":[]}' && return; }
  printf '{"cluster_id":"%s","bootstrap":"%s","nodes":[' "$ID" "$(bootstrap)"
  for node in $(seq "$NODES"); do
    pid=$(pid_of "$node") || pid=
    printf '%s{"node":%d,"port":%d,"running":%s,"pid":%s}' "$between" "$node" "$(port_of "$node")" \
      "$([[ -n $pid ]] && echo true || echo false)" "${pid:-null}"
    between=,
  done
  echo ']}'
}

print_table() {
  local node pid
  load || { echo "no cluster in $DIR" && return; }
  echo "cluster $ID in $DIR"
  for node in $(seq "$NODES"); do
    pid=$(pid_of "$node") && pid="runs, pid $pid" || pid="does not run"
    echo "node $node  127.0.0.1:$(port_of "$node")  $pid"
  done
}

status() {
  local count=0
  if [[ -n $JSON ]]; then print_json; else print_table; fi
  load && count=$(running | wc -l)
  ((count > 0)) || exit 3
  ((count == NODES)) || exit 4
}

need_node() {
  load || die "there is no cluster in $DIR"
  ((NODE >= 1 && NODE <= NODES)) || fail 2 "which node? $DIR holds 1 to $NODES"
}

kill_node() {
  need_node
  pid_of "$NODE" >/dev/null || die "node $NODE does not run"
  say "Killing node $NODE"
  stop_nodes KILL "$NODE"
}

start_again() {
  local nodes
  need_node
  ! pid_of "$NODE" >/dev/null || die "node $NODE runs already"
  mapfile -t nodes < <(running && echo "$NODE")
  prepare
  say "Starting node $NODE"
  start_node "$NODE"
  if ((${#nodes[@]} * 2 > NODES)); then
    wait_for "${nodes[@]}"
  else
    say "It answers when more than half of the nodes run"
  fi
}

tool() {
  [[ ${1:--} != -* ]] || fail 2 "which class? For instance org.apache.kafka.tools.TopicCommand"
  prepare
  cd "$CALLED_FROM"
  exec "$JAVA" -Xmx512m "${JAVA_FLAGS[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "$@"
}

parse() {
  WANT_NODES='' WANT_PORT='' DIR=$(cache_dir)/kafka/cluster JSON='' WIPE='' NODE=0
  while [[ $# -gt 0 ]]; do
    case $1 in
      --nodes) WANT_NODES=${2:-x} && shift ;;
      --port) WANT_PORT=${2:-x} && shift ;;
      --dir) DIR=${2:-} && shift ;;
      --json) JSON=1 ;;
      --wipe) WIPE=KILL ;;
      --help | -h) usage && exit ;;
      [1-3]) NODE=$1 ;;
      *) fail 2 "what is $1? See deploy/kafka.sh --help" ;;
    esac
    shift || break
  done
  [[ $WANT_NODES =~ ^[13]?$ ]] || fail 2 "--nodes is 1 or 3"
  [[ $WANT_PORT =~ ^(|0|[1-9][0-9]{0,4})$ && $WANT_PORT -le 65530 ]] || fail 2 "--port is 0 to 65530"
  [[ -n $DIR ]] || fail 2 "--dir is a directory"
  DIR=$(cd "$CALLED_FROM" && realpath --canonicalize-missing "$DIR")
}

main() {
  local command=${1:-}
  [[ $# -eq 0 ]] || shift
  case $command in
    up | down | status | kill | start) parse "$@" ;;
    tool) tool "$@" ;;
    help | --help | -h) usage && exit ;;
    *) fail 2 "what shall it do? See deploy/kafka.sh --help" ;;
  esac
  [[ -z $WIPE || $command == down ]] || fail 2 "--wipe goes with down"
  # Of those that change a directory, one at a time.
  if [[ $command == up || ($command != status && -e $DIR/cluster) ]]; then
    mkdir -p "$DIR"
    exec 9>"$DIR/.lock"
    flock 9
  fi
  case $command in
    kill) kill_node ;;
    start) start_again ;;
    *) "$command" ;;
  esac
}

main "$@"
