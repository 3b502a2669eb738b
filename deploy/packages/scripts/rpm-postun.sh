# After an upgrade the new version takes over. What was kept in /var/lib/peer-observer
# stays.
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
  if [ "$1" -ge 1 ]; then
    systemctl try-restart peer-observer.service || :
  fi
fi
