#!/bin/sh
# Debian: makes the user, enables the service and starts it, or restarts it after an
# upgrade.
set -e

case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

if ! getent passwd peer-observer >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/peer-observer --no-create-home \
    --shell /usr/sbin/nologin --comment "Observer of the Bitcoin node" peer-observer
fi

# What the administrator has disabled or masked stays so.
deb-systemd-helper unmask peer-observer.service >/dev/null || true
if deb-systemd-helper --quiet was-enabled peer-observer.service; then
  deb-systemd-helper enable peer-observer.service >/dev/null || true
else
  deb-systemd-helper update-state peer-observer.service >/dev/null || true
fi
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
  action=start
  [ -z "$2" ] || action=restart
  deb-systemd-invoke "$action" peer-observer.service >/dev/null || true
fi
