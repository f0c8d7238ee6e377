#!/bin/sh
set -e
# With "upgrade", or 1 packages left, another version comes.
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl disable --now streamagent.service || true
	fi
fi
