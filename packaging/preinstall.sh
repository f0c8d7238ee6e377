#!/bin/sh
set -e
if ! getent group streamagent >/dev/null; then
	groupadd --system streamagent
fi
if ! getent passwd streamagent >/dev/null; then
	useradd --system --gid streamagent --home-dir /var/lib/streamagent --no-create-home --shell /usr/sbin/nologin streamagent
fi
