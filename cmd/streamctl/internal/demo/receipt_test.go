package demo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

// frames writes a file of receipts: each batch is a shard id and deliveries as
// "sequence number, sub, file, line".
func frames(t testing.TB, path string, batches ...func(*demo.Frame)) {
	t.Helper()
	log, err := demo.CreateLog(path)
	if err != nil {
		t.Fatal(err)
	}
	var f demo.Frame
	for _, b := range batches {
		b(&f)
		if err := log.Append(&f); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReceiptsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	frames(
		t, path,
		func(f *demo.Frame) {
			f.Reset("shardId-000000000001")
			f.Add("495", demo.Delivery{File: 3, Line: 1, Hash: 11})
			f.Add("495", demo.Delivery{File: 3, Line: 2, Hash: 12, Sub: 1})
			f.Add("496", demo.Delivery{File: 4, Line: 1 << 40, Hash: 1<<64 - 1})
		},
		func(f *demo.Frame) { f.Reset("empty") },
		func(f *demo.Frame) {
			f.Reset("")
			f.Add("", demo.Delivery{File: demo.Unknown})
		},
	)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	var last int64
	r := demo.NewReceiptReader(bytes.NewReader(data))
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.Time < last {
			t.Errorf("time %d after %d", b.Time, last)
		}
		last = b.Time
		got += fmt.Sprintf("[%s]", b.ShardID)
		if err := b.Deliveries(func(seq []byte, d demo.Delivery) { got += fmt.Sprintf("%s%v", seq, d) }); err != nil {
			t.Fatal(err)
		}
	}
	want := "[shardId-000000000001]495{3 0 1 11}495{3 1 2 12}496{4 0 1099511627776 18446744073709551615}[empty][]{4294967295 0 0 0}"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	// Cut anywhere, the file reads as a whole number of frames and a torn one.
	for cut := range data {
		r := demo.NewReceiptReader(bytes.NewReader(data[:cut]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, demo.ErrTorn) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	// A flipped bit is found, wherever it is.
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		r := demo.NewReceiptReader(bytes.NewReader(bad))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if errors.Is(err, io.EOF) {
			t.Fatalf("a flipped bit in byte %d is not found", i)
		}
	}
}

func FuzzReceiptReader(f *testing.F) {
	path := filepath.Join(f.TempDir(), "r")
	frames(f, path, func(fr *demo.Frame) {
		fr.Reset("s")
		fr.Add("1", demo.Delivery{File: 1, Line: 1, Hash: 1})
	})
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-3])
	f.Add([]byte("\xff\xff\xff\x0f\x00\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		r := demo.NewReceiptReader(bytes.NewReader(data))
		for {
			b, err := r.Next()
			if err != nil {
				return
			}
			_ = b.Deliveries(func([]byte, demo.Delivery) {})
		}
	})
}
