package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// maxCheckpoints bounds how much is written.
const maxCheckpoints = 8

// measureCheckpoints has a checkpoint written of what was stored, over and over,
// each of a store of its own: to write a run and a snapshot, durably, and to give
// the journal free. The first is to warm up.
func measureCheckpoints(ctx context.Context, s settings) (r result, err error) {
	var times []time.Duration
	records := max(int(s.bytes)/(s.batch*(s.size+keySize)), 1) * s.batch
	for n := 0; n < maxCheckpoints && (n < 2 || r.Elapsed < s.duration); n++ {
		took, err := checkpoint(ctx, s, records)
		if err != nil {
			return result{}, err
		}
		if n == 0 {
			continue
		}
		times = append(times, took)
		r.Elapsed += took
		r.Count += int64(records)
		r.Bytes += int64(records * (s.size + keySize))
	}
	r.P50, r.P99 = percentile(times, 50), percentile(times, 99)
	return r, nil
}

// checkpoint returns how long the checkpoint of a store with so many records
// took. Its journal is so large that none comes by itself.
func checkpoint(ctx context.Context, s settings, records int) (took time.Duration, err error) {
	dir := filepath.Join(s.dir, "store")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := new(clock.Clock)
	defer c.Close()
	st, err := store.Open(store.Options{
		Dir: dir, Clock: c, Logger: slog.New(slog.DiscardHandler),
		RingFiles: journal.MinFiles, RingBytes: journal.DefaultFileBytes + records*(s.size+200)*5,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	stream, err := st.Command(ctx, state.CreateStream{
		Key:        state.StreamKey{Scope: arn.Scope{Account: "000000000000", Region: "us-east-1"}, Name: "load"},
		ShardCount: s.shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20,
	})
	if err != nil {
		return 0, err
	}
	if err := putAll(ctx, st, stream.ID, s, records/s.batch); err != nil {
		return 0, err
	}
	began := time.Now()
	held, err := st.Hold(ctx)
	if err != nil {
		return 0, err
	}
	took = time.Since(began)
	held.Release()
	return took, nil
}

// putAll puts so many calls of records, by as many callers as the settings say.
func putAll(ctx context.Context, st *store.Store, stream uint64, s settings, calls int) error {
	var callers sync.WaitGroup
	errs := make([]error, s.callers)
	for i := range s.callers {
		callers.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(i)})
			recs := make([]store.Record, s.batch)
			for j := range recs {
				data := make([]byte, s.size)
				_, _ = random.Read(data) // never fails
				key := fmt.Sprintf("key-%0*d", keySize-len("key-"), i*s.batch+j)
				recs[j] = store.Record{PartitionKey: key, Data: data, HashKey: hashkey.Of(key)}
			}
			for n := i; n < calls && errs[i] == nil; n += s.callers {
				_, errs[i] = st.Put(ctx, stream, recs)
			}
		})
	}
	callers.Wait()
	return errors.Join(errs...)
}
