#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# An upgrade: the new program takes over where the old one stops. Its start waits for
	# the streams, and may fail; the upgrade does neither.
	systemctl --no-block try-restart streamagent.service
fi
