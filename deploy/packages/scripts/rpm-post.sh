# Makes the user; a first installation enables the service as the system's presets say.
# It isn't started, as is the custom where rpm is at home.
if ! getent passwd peer-observer >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/peer-observer --no-create-home \
    --shell /sbin/nologin --comment "Observer of the Bitcoin node" peer-observer
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
  systemctl --no-reload preset peer-observer.service || :
fi
