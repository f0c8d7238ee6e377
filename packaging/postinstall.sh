#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# An upgrade: the new program takes over where the old one stops.
	systemctl try-restart streamagent.service
fi
