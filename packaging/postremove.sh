#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
# Debian's purge takes the positions along. The user stays: files may belong to it.
if [ "$1" = purge ]; then
	rm -rf /var/lib/streamagent /var/log/streamagent
fi
