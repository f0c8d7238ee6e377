package scenario

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// pairScenarios have the official producer and the official consumer together
// on a stream that changes. The producer takes what has landed on another shard
// than it meant record by record: those whose hash key lies in that shard count
// as stored, the others are put again. The consumer throws a whole aggregate
// away if any record in it does not belong to the shard. Records of which the
// producer has said that they are stored are then lost.
var pairScenarios = []Scenario{
	pair("pair-kcl2", "kcl2", false),
	pair("pair-kcl3", "kcl3", false),
	pair("pair-kcl3-live", "kcl3", true),
}

// pair returns the scenario with the consumer of a module, which reads while
// the stream is written (live), or what is there afterwards.
func pair(name, module string, live bool) Scenario {
	return Scenario{
		Name: name,
		What: "the official producer and consumer at a reshard: are acknowledged records lost?",
		run:  func(ctx context.Context, p *play) error { return p.pair(ctx, module, live) },
	}
}

func (p *play) pair(ctx context.Context, module string, live bool) error {
	const stream = "pair"
	if err := p.serve(ctx); err != nil {
		return err
	}
	if err := p.create(ctx, stream, 1); err != nil {
		return err
	}
	out, saw := filepath.Join(p.dir, "told.jsonl"), filepath.Join(p.dir, "seen.jsonl")
	var reader *process
	read := func() (err error) {
		reader, err = p.java(ctx, module, "Kcl", "STREAM="+stream, "APP="+application, "WORKERS=1", "OUT="+saw)
		return err
	}
	if live {
		if err := read(); err != nil {
			return err
		}
		// It lists the shards when it begins, and again half a minute later at the
		// soonest.
		err := eventually(ctx, 60*time.Second, func() error {
			events, err := readLines[event](saw)
			if err == nil && len(events) == 0 {
				err = errors.New("the consumer has no shard")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	writer, err := p.java(ctx, "kpl", "Kpl", "STREAM="+stream, "OUT="+out,
		"RECORDS=30000", "PER_SECOND=1500", "KEYS=1000", "HASH_KEYS=0")
	if err != nil {
		return err
	}
	err = eventually(ctx, 60*time.Second, func() error {
		have, err := readLines[told](out)
		if err == nil && len(have) < 1000 {
			err = errors.New("little has been stored")
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, do := range []change{split, scale(4), merge, split} {
		if err := do(ctx, p, stream); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	if err := writer.wait(ctx, 120*time.Second); err != nil {
		return err
	}
	said, err := readLines[told](out)
	if err != nil {
		return err
	}
	s, err := p.stored(ctx, stream)
	if err != nil {
		return err
	}
	p.report.Check("what the producer was told is stored, byte for byte", s.compare(said),
		"%d user records in %d records of which %d are aggregates; %d are there more than once, %d on a shard that they do not belong to",
		s.users, s.records, s.aggregates, s.twice, s.outside)

	if !live {
		if err := read(); err != nil {
			return err
		}
	}
	got, err := p.settled(ctx, reader, saw)
	if err != nil {
		return err
	}
	if err := reader.stdin.Close(); err != nil {
		return err
	}
	if err := reader.wait(ctx, 90*time.Second); err != nil {
		return err
	}
	lost, unexplained := s.lost(said, got)
	p.report.Check("acknowledged records that the official consumer does not deliver", unexplained,
		"%d of %d; each lies in no other place than an aggregate in which another record does not belong to the shard", lost, len(said))

	ours, err := p.own(ctx, stream, len(said))
	if err != nil {
		return err
	}
	lost, _ = s.lost(said, ours)
	if lost > 0 {
		err = fmt.Errorf("%d of %d are missing", lost, len(said))
	}
	p.report.Check("acknowledged records that the consumer of this module delivers", err, "all %d", len(said))
	return nil
}

// settled waits until nothing has come for a while, and returns the data that
// has.
func (p *play) settled(ctx context.Context, reader *process, saw string) (map[string]bool, error) {
	const quiet = 15 * time.Second
	last, since := -1, time.Now()
	for {
		if reader.ended() {
			return nil, fmt.Errorf("the consumer has ended: %w", reader.err)
		}
		events, err := readLines[event](saw)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has not begun
			return nil, err
		}
		if len(events) != last {
			last, since = len(events), time.Now()
		}
		if time.Since(since) > quiet && last > 0 || time.Since(since) > 2*time.Minute {
			got := make(map[string]bool)
			for _, e := range events {
				if e.Event == "record" {
					got[string(e.Data)] = true
				}
			}
			return got, nil
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// lost counts the acknowledged records that are not in got. The error names one
// that is stored in a place where the consumer's rule does not explain it.
func (s *stored) lost(said []told, got map[string]bool) (n int, unexplained error) {
	for _, t := range said {
		data, err := base64.StdEncoding.DecodeString(t.Data)
		if err != nil {
			return n, err
		}
		if !t.OK || got[string(data)] {
			continue
		}
		n++
		for _, at := range s.by[string(data)] {
			if at.blob.outside == 0 {
				unexplained = fmt.Errorf("record %d lies at %s, %s beside none that does not belong there, and was not delivered", t.N, at.shard, at.seq)
			}
		}
	}
	return n, unexplained
}

// own reads the stream with the consumer of this module until so many different
// records have come, or none for a while.
func (p *play) own(ctx context.Context, stream string, want int) (map[string]bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &collector{got: make(map[string]bool)}
	reader, err := consumer.New(p.kinesis(), memlease.New(), "own", stream, func(*consumer.Shard) (consumer.Processor, error) {
		return c, nil
	}, consumer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1) // one result
	go func() { done <- reader.Run(ctx) }()
	err = eventually(ctx, 60*time.Second, func() error {
		if n := c.len(); n < want {
			return fmt.Errorf("%d of %d records have come", n, want)
		}
		return nil
	})
	cancel()
	if ended := <-done; ended != nil && !errors.Is(ended, context.Canceled) {
		return nil, ended
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got, err
}

type collector struct {
	mu  sync.Mutex
	got map[string]bool
}

func (c *collector) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// ProcessRecords notes the data of the records.
func (c *collector) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Records {
		c.got[string(b.Records[i].Data)] = true
	}
	return nil
}
