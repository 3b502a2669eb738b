#!/bin/sh
# Makes the certificates of a fleet: an authority of its own, one certificate for the hub
# and one for each host. Run it again when a host is added; what is there stays.
#
#   certificates.sh DIRECTORY HUB NODE...
#
# HUB is the name or IPv4 address that the hosts use for the hub. In DIRECTORY:
#
#   authority.crt            to the hub and to every host
#   authority.key            stays where it is, best without a network
#   hub.crt, hub.key         to the hub
#   node-NODE.crt, .key      to the host of that node, as node.crt and node.key
set -eu
umask 077

if [ $# -lt 3 ]; then
  echo "usage: certificates.sh DIRECTORY HUB NODE..." >&2
  exit 2
fi
directory=$1
hub=$2
shift 2
days=825
for name in "$hub" "$@"; do
  case $name in
    *[!A-Za-z0-9._-]* | "")
      echo "certificates.sh: \"$name\" can't be a name: use letters, digits, full stops, _ and -" >&2
      exit 2
      ;;
  esac
done
mkdir -p "$directory"

if [ ! -e "$directory/authority.key" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=peer-observer fleet" -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$directory/authority.key" -out "$directory/authority.crt" 2> /dev/null
fi

certificate() { # file, alternative names, use
  [ ! -e "$directory/$1.crt" ] || return 0
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/" \
    -keyout "$directory/$1.key" -out "$directory/$1.csr" 2> /dev/null
  printf 'subjectAltName=critical,%s\nextendedKeyUsage=%s\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n' "$2" "$3" > "$directory/$1.ext"
  openssl x509 -req -in "$directory/$1.csr" -CA "$directory/authority.crt" -CAkey "$directory/authority.key" \
    -CAcreateserial -days "$days" -extfile "$directory/$1.ext" -out "$directory/$1.crt" 2> /dev/null
  rm "$directory/$1.csr" "$directory/$1.ext"
}

case $hub in
  *[!0-9.]*) certificate hub "DNS:$hub" serverAuth ;;
  *) certificate hub "IP:$hub" serverAuth ;;
esac
for node in "$@"; do
  # The hub takes this name for the account; see hub.conf.
  certificate "node-$node" "DNS:$node" clientAuth
done
