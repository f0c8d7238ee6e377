package store_test

import (
	"log/slog"
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

func key(name string) state.StreamKey {
	return state.StreamKey{Scope: arn.Scope{Account: "000000000000", Region: "us-east-1"}, Name: name}
}

// fixture is a store with its clock.
type fixture struct {
	*store.Store
	t     testing.TB
	clock *clock.Clock
}

func (f *fixture) close() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Errorf("Close: %v", err)
	}
	f.clock.Close()
}

func tryOpen(t testing.TB, opts store.Options) (*fixture, error) {
	opts.Clock = new(clock.Clock)
	opts.Logger = slog.New(slog.DiscardHandler)
	if _, bench := t.(*testing.B); opts.FS == nil && !bench {
		opts.FS = vfstest.Lazy{FS: vfs.OS}
	}
	s, err := store.Open(opts)
	if err != nil {
		return nil, err
	}
	return &fixture{s, t, opts.Clock}, nil
}

func open(t testing.TB, opts store.Options) *fixture {
	t.Helper()
	f, err := tryOpen(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) create(name string, shards int) *state.Stream {
	f.t.Helper()
	return f.must(state.CreateStream{Key: key(name), ShardCount: shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20})
}

func (f *fixture) must(c state.Command) *state.Stream {
	f.t.Helper()
	s, err := f.Command(f.t.Context(), c)
	if err != nil {
		f.t.Fatalf("%T: %v", c, err)
	}
	return s
}

func record(k, data string) store.Record {
	return store.Record{PartitionKey: k, Data: []byte(data), HashKey: hashkey.Of(k)}
}

func (f *fixture) put(s *state.Stream, recs ...store.Record) []store.Stored {
	f.t.Helper()
	stored, err := f.Put(f.t.Context(), s.ID, recs)
	if err != nil {
		f.t.Fatal(err)
	}
	return stored
}

// all reads a shard from a position on, a few records at a time.
func (f *fixture) all(s *state.Stream, shard int, from state.Position) []store.StoredRecord {
	f.t.Helper()
	var recs []store.StoredRecord
	for {
		res, err := f.Read(f.t.Context(), store.ReadRequest{StreamID: s.ID, Shard: shard, From: from, MaxRecords: 3, MaxBytes: 1 << 20})
		if err != nil {
			f.t.Fatal(err)
		}
		if res.Next.Before(from) {
			f.t.Fatalf("read from %+v goes back to %+v", from, res.Next)
		}
		recs = append(recs, res.Records...)
		from = res.Next
		if len(res.Records) == 0 && res.BehindLatest != 0 {
			f.t.Fatalf("nothing found, and %v behind", res.BehindLatest)
		}
		if len(res.Records) == 0 {
			return recs
		}
	}
}

func datas(recs []store.StoredRecord) []string {
	var ds []string
	for _, r := range recs {
		ds = append(ds, string(r.Data))
	}
	return ds
}
