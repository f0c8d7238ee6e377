module github.com/streamkit/streamkit/streamd/internal/linearcheck

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/streamkit/streamkit v0.0.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/tidwall/btree v1.8.2 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/streamkit/streamkit => ../../..
