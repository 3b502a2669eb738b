#!/bin/sh
# Debian: stops the service before its files go. During an upgrade it goes on until the
# new version is in place.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop peer-observer.service >/dev/null || true
fi
