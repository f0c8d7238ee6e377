package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// maxFrame is how much the server's commit loop puts into one frame.
const maxFrame = 4 << 20

// A caller has one call at a time in the journal.
type caller struct {
	entry []byte     // what it puts, as the journal keeps it
	done  chan error // of capacity 1: it waits for one answer
}

// measureJournal has callers put calls into one journal. All that wait go into
// one frame, as the server does it; nothing is parsed, applied, indexed or
// answered, and what is durable is released.
func measureJournal(ctx context.Context, s settings) (r result, err error) {
	j, err := journal.OpenLocal(s.dir, journal.LocalConfig{Store: storeID, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return result{}, err
	}
	defer func() {
		if cerr := j.Close(); err == nil {
			err = cerr
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calls := make(chan *caller, s.callers) // one of each at most
	var loops, callers sync.WaitGroup
	loops.Go(func() { commit(ctx, j, calls, len(entryOf(s, 0))) })

	warm := time.Now().Add(s.duration / 4)
	end := warm.Add(s.duration)
	times := make([][]time.Duration, s.callers)
	failed := make([]error, s.callers)
	for i := range s.callers {
		callers.Go(func() {
			c := &caller{entry: entryOf(s, i), done: make(chan error, 1)}
			for {
				began := time.Now()
				if !began.Before(end) && len(times[i]) > 0 {
					return
				}
				calls <- c
				if failed[i] = <-c.done; failed[i] != nil {
					return
				}
				if !began.Before(warm) {
					times[i] = append(times[i], time.Since(began))
				}
			}
		})
	}
	callers.Wait()
	r.Elapsed = time.Since(warm)
	close(calls)
	loops.Wait()
	for _, err := range failed {
		if err != nil {
			return result{}, err
		}
	}
	all := slices.Concat(times...)
	r.Count = int64(len(all) * s.batch)
	r.Bytes = r.Count * int64(s.size+keySize)
	r.P50, r.P99 = percentile(all, 50), percentile(all, 99)
	return r, nil
}

// storeID is the id of the store that the journal is said to belong to.
var storeID = [16]byte{1}

// commit appends frames of all calls that wait, until there will be no more.
func commit(ctx context.Context, j *journal.Local, calls <-chan *caller, size int) {
	id := journal.FrameID{Gateway: storeID, Session: 1}
	var (
		prev  uint32
		file  journal.LSN // base of the one that the last frame lies in
		group []*caller
	)
	for first := range calls {
		group = append(group[:0], first)
		for more := true; more && (len(group)+1)*size <= maxFrame; {
			select {
			case c, ok := <-calls:
				if more = ok; ok {
					group = append(group, c)
				}
			default:
				more = false
			}
		}
		// A new one each time: the journal keeps it, as it does the server's.
		body := state.BeginFrame(make([]byte, 0, 8+len(group)*size), time.Now())
		for _, c := range group {
			body = append(body, c.entry...)
		}
		id.N++
		f := journal.NewFrame(id, prev, body)
		lsn, err := j.Append(ctx, f)
		if err == nil {
			prev = f.Sum
			if base := j.Base(lsn - 1); base != file {
				file, err = base, j.Release(ctx, base)
			}
		}
		for _, c := range group {
			c.done <- err
		}
	}
}

// keySize is the length of the partition keys.
const keySize = 16

// entryOf returns the entry of a call, of random data.
func entryOf(s settings, n int) []byte {
	random := rand.NewChaCha8([32]byte{byte(n)})
	data := make([]byte, s.size)
	b, mark := state.BeginRecords(nil, 1, 0, s.batch)
	for i := range s.batch {
		_, _ = random.Read(data) // never fails
		key := fmt.Sprintf("key-%0*d", keySize-len("key-"), n*s.batch+i)
		b = state.AppendRecord(b, hashkey.Of(key), key, data)
	}
	return state.EndRecords(b, mark)
}
