#!/bin/sh
# Plays the corpora of package tables to dynalite, to moto and to streamd, says
# where answers differ, and records what the first two answer.
#
# Needs node with npm, and Python 3 with venv. DYNALITE=URL and MOTO=URL name
# servers that run already; then nothing is installed. TABLES=URL names any
# other server that speaks the DynamoDB API, such as DynamoDB Local: it gets the
# corpora of dynalite, and nothing is recorded.
set -eu
cd "$(dirname "$0")/../.."
work=bin/interop
mkdir -p "$work"
started=
trap 'for p in $started; do kill "$p" 2>/dev/null || true; done' EXIT

# wait_for URL: until something answers.
wait_for() {
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		if curl -s -o /dev/null --max-time 2 "$1"; then return; fi
		sleep 1
	done
	echo "nothing answers at $1" >&2
	exit 1
}

CGO_ENABLED=0 go build -o "$work/streamd" ./cmd/streamd
CGO_ENABLED=0 go build -o "$work/compare" ./integration/interop/tables/cmd/compare
testdata=integration/interop/tables/testdata

# play CORPUS URL RECORDING: beside a streamd of its own; RECORDING may be empty.
play() {
	"$work/streamd" --memory --listen 127.0.0.1:4594 --admin 127.0.0.1:4595 > "$work/streamd.log" 2>&1 &
	server=$!
	started="$started $server"
	wait_for http://127.0.0.1:4595/healthz
	echo "$1:"
	"$work/compare" -corpus "$1" -url "$2" -with http://127.0.0.1:4594 -record "$3"
	kill "$server"
	wait "$server" 2>/dev/null || true
}

if [ -n "${TABLES:-}" ]; then
	play dynalite "$TABLES" ""
	play kcl "$TABLES" ""
	play kcl-twice "$TABLES" ""
	exit
fi
if [ -z "${DYNALITE:-}" ]; then
	npm install --silent --no-save --prefix "$work" dynalite@4.0.0
	(cd "$work" && exec node -e '
		require("dynalite")({createTableMs: 0, deleteTableMs: 0, updateTableMs: 0}).listen(4596, "127.0.0.1")
	') > "$work/dynalite.log" 2>&1 &
	started="$started $!"
	DYNALITE=http://127.0.0.1:4596
fi
if [ -z "${MOTO:-}" ]; then
	[ -x "$work/venv/bin/moto_server" ] || {
		python3 -m venv "$work/venv"
		"$work/venv/bin/pip" install --quiet 'moto[server]==5.2.5'
	}
	"$work/venv/bin/moto_server" -H 127.0.0.1 -p 4597 > "$work/moto.log" 2>&1 &
	started="$started $!"
	MOTO=http://127.0.0.1:4597
fi
wait_for "$DYNALITE"
wait_for "$MOTO"
play dynalite "$DYNALITE" "$testdata/dynalite.jsonl.gz"
play kcl "$DYNALITE" "$testdata/kcl.jsonl.gz"
play kcl-twice "$DYNALITE" "$testdata/kcl-twice.jsonl.gz"
play moto "$MOTO" "$testdata/moto.jsonl.gz"
play kcl3-moto "$MOTO" "$testdata/kcl3-moto.jsonl.gz"
