# Stops and disables the service, unless another version follows.
if [ "$1" -eq 0 ]; then
  if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now peer-observer.service || :
  else
    systemctl --no-reload disable peer-observer.service || :
  fi
fi
