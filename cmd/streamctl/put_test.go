package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestPutLongLine(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	in := "first\n" + strings.Repeat("x", 2<<20) + "\nlast\n"
	var out, errOut bytes.Buffer
	code := run(t.Context(), []string{"put", "s", "--endpoint", srv.Endpoint()}, strings.NewReader(in), &out, &errOut)
	const want = "streamctl: line 2 of the standard input is longer than the 1 MiB of a record: cut it, or leave it out; the lines before it were put\n"
	if code != 1 || errOut.String() != want {
		t.Errorf("code %d, %q; want 1, %q", code, errOut.String(), want)
	}
	if !strings.HasPrefix(out.String(), "put 1 record into stream s at ") {
		t.Errorf("output %q", out.String())
	}
	if got := srv.Records(t, "s"); len(got) != 1 {
		t.Errorf("%d records in the stream, want 1", len(got))
	}
}
