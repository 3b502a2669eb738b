#!/bin/sh
# Debian: a purge takes the events that were kept, too. The user stays, so that nobody
# else gets its number and with it files that it owns elsewhere.
set -e

if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi
case "$1" in
remove)
  if [ -x /usr/bin/deb-systemd-helper ]; then
    deb-systemd-helper mask peer-observer.service >/dev/null || true
  fi
  ;;
purge)
  if [ -x /usr/bin/deb-systemd-helper ]; then
    deb-systemd-helper purge peer-observer.service >/dev/null || true
    deb-systemd-helper unmask peer-observer.service >/dev/null || true
  fi
  rm -rf /var/lib/peer-observer
  ;;
esac
