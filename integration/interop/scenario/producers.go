package scenario

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// producerScenarios have one side's consumer read what the other side's producer
// puts, while the stream changes and requests are refused.
var producerScenarios = []Scenario{
	{
		Name: "producer-kcl2", What: "the producer of this module and KCL 2.7, with reshards while writes are refused",
		run: func(ctx context.Context, p *play) error { return p.producer(ctx, java("kcl2")) },
	},
	{
		Name: "producer-kcl3", What: "the producer of this module and KCL 3.5, with reshards while writes are refused",
		run: func(ctx context.Context, p *play) error { return p.producer(ctx, java("kcl3")) },
	},
	{
		Name: "kpl-consumer", What: "the KPL and the consumer of this module, with reshards while writes are refused",
		run: func(ctx context.Context, p *play) error { return p.kplConsumer(ctx) },
	},
}

// refused has a part of the records that are put refused for a while.
const refused = `[
	{"kind":"throttle","operation":"PutRecords","probability":0.2,"seed":1,"for":"15s"},
	{"kind":"partial","share":0.3,"probability":0.5,"seed":2,"for":"15s"},
	{"kind":"reply-lost","operation":"PutRecords","every":40,"max":3,"for":"15s"}]`

func (p *play) producer(ctx context.Context, k kind) error {
	f := &fleet{p: p, rules: rules{copies: true}}
	var reader *member
	err := f.live(ctx, 2, f.packed, func(s script) error {
		return steps(
			s.join(&reader, "java-1", k),
			s.goesOn("before the stream changes"),
			func() error { return p.faults(ctx, refused) },
			s.change(split),
			s.goesOn("split while writes are refused"),
			s.change(scale(4)),
			s.change(merge),
			s.goesOn("scaled to 4, and merged"),
		)
	})
	if err != nil {
		return err
	}
	stored, err := p.stored(ctx, f.stream)
	if err != nil {
		return err
	}
	if stored.aggregates == 0 {
		err = errors.New("none is an aggregate")
	}
	p.report.Check("records are packed together", err, "%d user records in %d records of which %d are aggregates; %d are there more than once, %d on a shard that they do not belong to",
		stored.users, stored.records, stored.aggregates, stored.twice, stored.outside)
	return nil
}

// kplConsumer reads what the KPL puts while it puts.
func (p *play) kplConsumer(ctx context.Context) error {
	f := &fleet{p: p}
	if err := f.begin(ctx, 2, f.nothing); err != nil {
		return err
	}
	defer f.close()
	out := filepath.Join(p.dir, "told.jsonl")
	writer, err := p.java(ctx, "kpl", "Kpl", "STREAM="+f.stream, "OUT="+out,
		"RECORDS=30000", "PER_SECOND=1500", "KEYS=1000", "HASH_KEYS=0")
	if err != nil {
		return err
	}
	reader, err := f.join(ctx, "go-1", ours("kcl2"))
	if err != nil {
		return err
	}
	err = eventually(ctx, recordsLimit, func() error {
		if err := errors.Join(f.alive(), reader.read()); err != nil {
			return err
		}
		if len(reader.events) < 1000 {
			return errors.New("little has come")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.faults(ctx, refused); err != nil {
		return err
	}
	for _, do := range []change{split, scale(4), merge, split} {
		if err := errors.Join(do(ctx, p, f.stream), sleep(ctx, 2*time.Second)); err != nil {
			return err
		}
	}
	if err := writer.wait(ctx, recordsLimit); err != nil {
		return err
	}
	said, err := readLines[told](out)
	if err != nil {
		return err
	}
	err = eventually(ctx, recordsLimit, func() error {
		if err := errors.Join(f.alive(), reader.read()); err != nil {
			return err
		}
		return delivered(said, reader.events)
	})
	p.report.Check("each acknowledged record is delivered", err, "%d", len(said))
	if err := f.leave(ctx, reader); err != nil {
		return err
	}
	if err := reader.read(); err != nil {
		return err
	}
	again, behind, err := streamOrder(reader.events)
	p.report.Check("records come in the order of their shards, and each once from its place", err,
		"%d that the KPL had put twice; %d that it had put behind a later one of their key", again, behind)
	shards, err := p.shards(ctx, f.stream)
	if err != nil {
		return err
	}
	s := &seen{events: reader.events}
	p.report.Check("parents before children, each end told", s.lineage(shards), "%d shards, %d closed", len(shards), closed(shards))
	looks, err := f.watch.end()
	p.report.Check("counters grow, no checkpoint goes back, no rows of other kinds", err, "%d looks at the table", looks)
	return p.leases(ctx, shards)
}

// delivered fails if an acknowledged record is not among the events.
func delivered(said []told, events []event) error {
	got := make(map[string]bool)
	for _, e := range events {
		if e.Event == "record" {
			got[string(e.Data)] = true
		}
	}
	missing := 0
	for _, t := range said {
		data, err := base64.StdEncoding.DecodeString(t.Data)
		if err != nil {
			return err
		}
		if t.OK && !got[string(data)] {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d have not come", missing, len(said))
	}
	return nil
}

// streamOrder fails unless the records of each shard come in their order. It
// counts records that came before, from another place, and those that came behind
// a later one of their key: these lie so in the stream.
func streamOrder(events []event) (again, behind int, err error) {
	at := make(map[string]consumer.Checkpoint)
	had := make(map[string]bool)
	newest := make(map[int]int64)
	for i, e := range events {
		if e.Event != "record" {
			continue
		}
		place := consumer.Checkpoint{SequenceNumber: e.Seq, SubSequenceNumber: e.Sub}
		if last, ok := at[e.Shard]; ok && place.Compare(last) <= 0 {
			return again, behind, fmt.Errorf("event %d: %v of %s came after %v", i, place, e.Shard, last)
		}
		at[e.Shard] = place
		key, n, err := numbers(e.Data)
		if err != nil {
			return again, behind, err
		}
		switch {
		case had[string(e.Data)]:
			again++
		case n < newest[key]:
			behind++
		default:
			newest[key] = n
		}
		had[string(e.Data)] = true
	}
	return again, behind, nil
}
