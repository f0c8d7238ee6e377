package gen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// Producer puts user records through the producer library.
type Producer struct {
	Encoding producer.Encoding
	Callers  int
	Size     int // bytes of a record's data
	Keys     int // different partition keys; 0 means records without one
}

// producerRun is how many records a caller puts between two looks at the clock.
const producerRun = 256

// closing bounds the time for what is under way at the end.
const closing = 30 * time.Second

// Run implements [Load]. It counts the records that were acknowledged.
func (l Producer) Run(ctx context.Context, env *Env) (result Result, err error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
		return Result{}, err
	}
	p, err := producer.New(kinesisClient(srv.Endpoint), streamName, producer.Config{
		Encoding: l.Encoding,
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return Result{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		err = errors.Join(err, p.Close(ctx))
		if s := p.Stats(); s.UserRecordsFailed > 0 {
			err = errors.Join(err, fmt.Errorf("%d records failed", s.UserRecordsFailed))
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var over atomic.Bool
	var callers sync.WaitGroup
	keys, data := l.records()
	for c := range l.Callers {
		callers.Go(func() {
			for i := c * 7919; !over.Load(); {
				for range producerRun {
					i++
					r := producer.UserRecord{Data: data[i%len(data)]}
					if len(keys) > 0 {
						r.PartitionKey = keys[i%len(keys)]
					}
					if err := p.Put(ctx, r, nil); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	var stored uint64
	result, err = measure(ctx, env, srv, func(bool) { stored = p.Stats().UserRecordsPut - stored }, func() bool { return p.Stats().UserRecordsPut > stored })
	over.Store(true)
	callers.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Result{}, err
	}
	result.Count = int64(stored)
	if err := p.Flush(ctx); err != nil {
		return Result{}, err
	}
	s := p.Stats() // of the warm-up too: no batch is counted by half
	result.Overhead = float64(s.KinesisRecordsDataPut)/float64(s.UserRecordsPut) - float64(l.Size)
	result.Optimum = optimum(l.Size, l.Keys == 0)
	size := l.Size
	if l.Keys > 0 {
		size += KeySize
	}
	result.Bytes = result.Count * int64(size)
	return result, nil
}

// optimum returns the bytes beyond its data of a user record in an aggregated record, if
// all that records can share were stored once for ever: its tag and length, the index of
// its partition key, and of its hash key if it has no key of its own, and the tag and
// length of the data.
func optimum(size int, keyless bool) float64 {
	var b [binary.MaxVarintLen64]byte
	length := func(n int) int { return binary.PutUvarint(b[:], uint64(n)) }
	inner := 2 + 1 + length(size)
	if keyless {
		inner += 2
	}
	return float64(1 + length(inner+size) + inner)
}

func (l Producer) records() (keys []string, data [][]byte) {
	var seed [32]byte
	random := rand.NewChaCha8(seed)
	for i := range l.Keys {
		keys = append(keys, fmt.Sprintf("key-%0*d", KeySize-len("key-"), i))
	}
	for range 64 {
		d := make([]byte, l.Size)
		_, _ = random.Read(d) // never fails
		data = append(data, d)
	}
	return keys, data
}
