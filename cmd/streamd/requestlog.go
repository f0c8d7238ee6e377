package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// requestLog opens the log of requests that --request-log asks for, nil if it
// asks for none. A file is appended to, so that what rotates it may copy and
// truncate it.
func requestLog(to string, stderr io.Writer) (log *slog.Logger, closeLog func(), err error) {
	switch to {
	case "", "off":
		return nil, func() {}, nil
	case "stderr":
		return slog.New(slog.NewJSONHandler(stderr, nil)), func() {}, nil
	}
	// Who asked for what is not for every user of the machine.
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open the request log: %w; name another file with --request-log, or say off or stderr", err)
	}
	return slog.New(slog.NewJSONHandler(f, nil)), func() { _ = f.Close() }, nil // each line is written as it comes
}
