#!/bin/sh
# Writes the files of a fleet that name its nodes. Run it again when a node is added, and
# have the hub's server read its configuration again (nats-server --signal reload).
#
#   hosts.sh DIRECTORY NODE...
#
# A node's name is its --node.name, and has letters, digits, _ and - only. In DIRECTORY:
#
#   hosts-accounts.conf, hosts-imports.conf   read by hub.conf
#   history.json        stream of the hub that collects the history of all nodes
#   history-NODE.json   stream of the node's own server, for that
set -eu

if [ $# -lt 2 ]; then
  echo "usage: hosts.sh DIRECTORY NODE..." >&2
  exit 2
fi
directory=$1
shift
# Those of the events, docs/events.md.
subjects="netmsg netconn mempool validation validation.> utxo_cache.> rpc rpc.> p2p-extractor p2p.> log-extractor log.> ipc observer.>"

for node in "$@"; do
  case $node in
    *[!A-Za-z0-9_-]* | "" | fleet | history | hub | kept)
      echo "hosts.sh: \"$node\" can't be a node's name: use letters, digits, _ and -, and none of fleet, history, hub, kept" >&2
      exit 2
      ;;
  esac
done
if [ "$(printf '%s\n' "$@" | sort | uniq -d)" ]; then
  echo "hosts.sh: a node is named twice" >&2
  exit 2
fi
mkdir -p "$directory"

{
  echo "# Written by hosts.sh. An account a node: what a node publishes stays in it, and only"
  echo "# what is exported here leaves it. The user is the name in the host's certificate."
  for node in "$@"; do
    echo "$node {"
    echo "  users: [{user: \"$node\", allowed_connection_types: [LEAFNODE]}]"
    echo "  exports: ["
    for subject in $subjects; do
      echo "    {stream: \"$subject\", accounts: [fleet]}"
    done
    echo "    {service: \"\$JS.$node.API.CONSUMER.>\", response_type: stream, accounts: [fleet]}"
    echo "    {service: \"\$JS.FC.$node.>\", accounts: [fleet]}"
    echo "    {stream: \"deliver.$node.>\", accounts: [fleet]}"
    echo "  ]"
    echo "}"
  done
} > "$directory/hosts-accounts.conf"

{
  echo "# Written by hosts.sh. The hub puts the node's name before its subjects: a node can't"
  echo "# speak for another."
  echo "imports: ["
  for node in "$@"; do
    for subject in $subjects; do
      echo "  {stream: {account: $node, subject: \"$subject\"}, prefix: \"$node\"}"
    done
    echo "  {service: {account: $node, subject: \"\$JS.$node.API.CONSUMER.>\"}}"
    echo "  {service: {account: $node, subject: \"\$JS.FC.$node.>\"}}"
    echo "  {stream: {account: $node, subject: \"deliver.$node.>\"}}"
  done
  echo "]"
} > "$directory/hosts-imports.conf"

list=""
for subject in $subjects; do
  list="$list${list:+, }\"$subject\""
done
for node in "$@"; do
  cat > "$directory/history-$node.json" << END
{
  "name": "$node",
  "description": "Events of $node, until the hub has them",
  "subjects": [$list],
  "retention": "limits",
  "discard": "old",
  "storage": "file",
  "max_bytes": 8589934592,
  "max_age": 86400000000000,
  "max_msgs": -1,
  "max_msgs_per_subject": -1,
  "max_msg_size": -1,
  "max_consumers": -1,
  "num_replicas": 1,
  "no_ack": true
}
END
done

{
  echo '{'
  echo '  "name": "history",'
  echo '  "description": "Events of all nodes, in the order of each",'
  echo '  "sources": ['
  comma=""
  for node in "$@"; do
    [ -z "$comma" ] || echo "$comma"
    comma=","
    printf '    {"name": "%s",\n' "$node"
    printf '     "external": {"api": "$JS.%s.API", "deliver": "deliver.%s"},\n' "$node" "$node"
    printf '     "subject_transforms": [{"src": ">", "dest": "history.%s.>"}]}' "$node"
  done
  echo
  echo '  ],'
  cat << 'END'
  "republish": {"src": "history.>", "dest": "kept.>"},
  "retention": "limits",
  "discard": "old",
  "storage": "file",
  "compression": "s2",
  "max_bytes": 107374182400,
  "max_age": 604800000000000,
  "max_msgs": -1,
  "max_msgs_per_subject": -1,
  "max_msg_size": -1,
  "max_consumers": -1,
  "num_replicas": 1,
  "allow_direct": true
}
END
} > "$directory/history.json"
