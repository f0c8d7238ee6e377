package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func TestParseFrom(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, tt := range []struct {
		in   string
		kind types.ShardIteratorType
		at   time.Time
	}{
		{in: "trim_horizon", kind: types.ShardIteratorTypeTrimHorizon},
		{in: "TRIM_HORIZON", kind: types.ShardIteratorTypeTrimHorizon},
		{in: "latest", kind: types.ShardIteratorTypeLatest},
		{in: "2026-02-03T04:00:00Z", kind: types.ShardIteratorTypeAtTimestamp, at: now.Add(-5*time.Minute - 6*time.Second)},
		{in: "1h", kind: types.ShardIteratorTypeAtTimestamp, at: now.Add(-time.Hour)},
	} {
		kind, at, err := parseFrom(tt.in, now)
		if err != nil || kind != tt.kind || !at.Equal(tt.at) {
			t.Errorf("parseFrom(%q) = %v, %v, %v; want %v, %v", tt.in, kind, at, err, tt.kind, tt.at)
		}
	}
	for _, in := range []string{"", "yesterday", "-5m", "2026-02-03"} {
		if _, _, err := parseFrom(in, now); err == nil || !strings.Contains(err.Error(), "trim_horizon, latest") {
			t.Errorf("parseFrom(%q) = %v, want an error that lists what is possible", in, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":         "plain",
		"":              "",
		"line\n":        "line",
		"crlf\r\n":      "crlf",
		"tab\there":     "tab\there",
		"äöü €":         "äöü €",
		"two\nlines":    `"two\nlines"`,
		"\x1b[31mred":   `"\x1b[31mred"`,
		"\xff\xfe":      `"\xff\xfe"`,
		"bell\a":        `"bell\a"`,
		"right\u202eto": `"right\u202eto"`,
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("printable(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestKeyOf(t *testing.T) {
	for _, tt := range []struct{ line, want, err string }{
		{line: `{"id":"a","x":1}`, want: "a"},
		{line: `{"id":12}`, want: "12"},
		{line: `{"id":12345678901234567890}`, want: "12345678901234567890"},
		{line: `{"id":true}`, want: "true"},
		{line: `{"id":""}`, err: `has nothing in field "id"`},
		{line: `{"id":null}`, err: `has nothing in field "id"`},
		{line: `{"id":{"a":1}}`, err: `has neither text nor a number in field "id"`},
		{line: `{"x":1}`, err: `has no field "id"`},
		{line: `[1]`, err: "is no JSON object"},
		{line: `plain`, err: "is no JSON object"},
	} {
		got, err := keyOf([]byte(tt.line), "id")
		if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && err.Error() != tt.err) {
			t.Errorf("keyOf(%s) = %q, %v; want %q, %s", tt.line, got, err, tt.want, tt.err)
		}
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]byteSize{
		"64MB": 64e6, "64 mb": 64e6, "1GiB": 1 << 30, "1.5k": 1500, "10": 10, "10b": 10, "3m": 3e6, "7KiB": 7 << 10,
	} {
		var got byteSize
		if err := got.Set(in); err != nil || got != want {
			t.Errorf("Set(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MB", "-1MB", "0", "a lot", "1e30GB", "NaN"} {
		var got byteSize
		if err := got.Set(in); err == nil {
			t.Errorf("Set(%q) = %d, want an error", in, got)
		}
	}
}

func TestConfirmRefusesWithoutTerminal(t *testing.T) {
	var errOut bytes.Buffer
	a := &app{in: strings.NewReader("y\n"), err: &errOut}
	err := a.confirm(t.Context(), false, "Delete everything?")
	if err == nil || !strings.Contains(err.Error(), "--yes") || !strings.Contains(err.Error(), "Delete everything?") {
		t.Errorf("error = %v, want one that names the deed and --yes", err)
	}
	if err := a.confirm(t.Context(), true, "Delete everything?"); err != nil {
		t.Errorf("with --yes: %v", err)
	}
	if errOut.Len() > 0 {
		t.Errorf("it asked %q where nobody can answer", errOut.String())
	}
}

func TestAskedAtATerminal(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "": false, "yup\n": false} {
		var errOut bytes.Buffer
		a := &app{in: strings.NewReader(answer), err: &errOut}
		err := a.ask(t.Context(), "Delete stream \"x\" at http://127.0.0.1:4567?")
		if (err == nil) != want {
			t.Errorf("answer %q: %v", answer, err)
		}
		if !strings.Contains(errOut.String(), "http://127.0.0.1:4567? [y/N] ") {
			t.Errorf("asked %q", errOut.String())
		}
	}
}

func TestAskInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, w := io.Pipe() // a person who says nothing
	defer w.Close()    // ends the reader that is left behind
	a := &app{in: in, err: io.Discard}
	if err := a.ask(ctx, "Delete?"); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error = %v, want interrupted", err)
	}
}
