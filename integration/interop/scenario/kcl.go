package scenario

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// kclScenarios have consumers go through every change of a stream.
var kclScenarios = []Scenario{
	kcl("kcl2-polling", consumer2("kcl2", "polling")),
	kcl("kcl2-fanout", consumer2("kcl2", "fanout")),
	kcl("kcl3-polling", consumer2("kcl3", "polling")),
	kcl("kcl3-fanout", consumer2("kcl3", "fanout")),
	kcl("kcl3-fanout-plain", official{module: "kcl3", class: "Kcl", retrieval: "fanout", plain: true}),
	kcl("kcl1-polling", official{module: "kcl1", class: "Kcl1", retrieval: "polling"}),
	short("kcl2-polling-short", consumer2("kcl2", "polling")),
	short("kcl2-fanout-short", consumer2("kcl2", "fanout")),
	short("kcl3-polling-short", consumer2("kcl3", "polling")),
	short("kcl3-fanout-short", consumer2("kcl3", "fanout")),
	short("kcl1-polling-short", official{module: "kcl1", class: "Kcl1", retrieval: "polling"}),
	{
		Name: "kcl3-worker-row", What: "a worker row of another library, with attributes that the KCL does not know, earns leases",
		run: func(ctx context.Context, p *play) error {
			return p.consume(ctx, consumer2("kcl3", "polling"), 1, 8, 200*time.Millisecond,
				[]step{{"split, with the row of another worker that then goes away", leaseOfOther}})
		},
	},
}

// application is the name of the consumer, and of its table.
const application = "app"

// official is a consumer: its program, how it reads, and whether it does so
// without TLS.
type official struct {
	module, class, retrieval string
	plain                    bool
}

func consumer2(module, retrieval string) official {
	return official{module: module, class: "Kcl", retrieval: retrieval}
}

// step is what the stream goes through, under load.
type step struct {
	what string
	do   change
}

func kcl(name string, o official) Scenario {
	steps := []step{
		{"split", split},
		{"merge", merge},
		{"scale to 3", scale(3)},
		{"kill the server", restart},
		{"scale to 5", scale(5)},
		{"scale to 2", scale(2)},
	}
	return Scenario{
		Name: name,
		What: "split, merge, 2→3→5→2 shards and a killed server under load; every record, order by key, parents before children",
		run: func(ctx context.Context, p *play) error {
			return p.consume(ctx, o, 2, 24, 150*time.Millisecond, steps)
		},
	}
}

// short has one worker, little load and one change.
func short(name string, o official) Scenario {
	return Scenario{
		Name: name, What: "a split under a little load; every record, order by key, parents before children",
		run: func(ctx context.Context, p *play) error {
			return p.consume(ctx, o, 1, 4, time.Second, []step{{"an attribute of others in each lease", mark}, {"split", split}})
		},
	}
}

func (p *play) consume(ctx context.Context, o official, workers, keys int, pause time.Duration, steps []step) error {
	const stream = "orders"
	if err := p.serve(ctx); err != nil {
		return err
	}
	if err := p.create(ctx, stream, 2); err != nil {
		return err
	}
	out := filepath.Join(p.dir, "seen.jsonl")
	env := []string{"STREAM=" + stream, "APP=" + application, "RETRIEVAL=" + o.retrieval, "WORKERS=" + strconv.Itoa(workers), "OUT=" + out}
	if o.plain {
		env = append(env, "STREAMD_KINESIS=http://"+p.addr, "STREAMD_DYNAMODB=http://"+p.addr)
	}
	began := time.Now()
	program, err := p.java(ctx, o.module, o.class, env...)
	if err != nil {
		return err
	}
	l := p.startLoad(ctx, stream, keys, pause)
	defer l.end()

	first, err := p.until(ctx, program, out, 120*time.Second, func(s *seen) error {
		if len(s.next) < keys {
			return fmt.Errorf("records of %d of %d keys have come", len(s.next), keys)
		}
		return nil
	})
	if !p.report.Check("the consumer starts and has records of every key", err,
		"after %v", time.Since(began).Round(100*time.Millisecond)) {
		return nil
	}
	for _, c := range steps {
		at := time.Now()
		before := len(first.events)
		if err := c.do(ctx, p, stream); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		// Enough has come when every shard that the change closed was read to its
		// end, and records that were put behind it have come.
		shards, err := p.shards(ctx, stream)
		if err != nil {
			return err
		}
		mark := make([]int64, keys)
		for k := range mark {
			mark[k] = l.put[k].Load() + 1
		}
		s, err := p.until(ctx, program, out, 120*time.Second, func(s *seen) error {
			if err := s.lineage(shards); err != nil {
				return err
			}
			for k := range mark {
				if s.next[k] < mark[k] {
					return fmt.Errorf("%s is at record %d of %d", keyName(k), s.next[k], mark[k])
				}
			}
			return nil
		})
		if !p.report.Check("records go on: "+c.what, err, "%d shards, %d of them closed; %d events in %v",
			len(shards), closed(shards), len(s.events)-before, time.Since(at).Round(100*time.Millisecond)) {
			return nil
		}
		first = s
	}

	total := l.end()
	s, err := p.until(ctx, program, out, 60*time.Second, func(s *seen) error { return s.complete(l) })
	p.report.Check("every record was processed", err, "%d records of %d keys; %d came again", total, keys, s.twice)
	if err := program.stdin.Close(); err != nil {
		return err
	}
	if err := program.wait(ctx, 160*time.Second); err != nil {
		return err
	}
	events, err := readLines[event](out)
	if err != nil {
		return err
	}
	s, err = follow(events)
	p.report.Check("order by key, each record as it was put", err, "%d events, workers %v", len(events), s.workers())
	shards, err := p.shards(ctx, stream)
	if err != nil {
		return err
	}
	p.report.Check("parents before children, each end told", s.lineage(shards), "%d shards, %d closed", len(shards), closed(shards))
	return p.leases(ctx, shards)
}

// until reads what the consumer has seen until enough is nil. Order is looked
// at all the while.
func (p *play) until(ctx context.Context, program *process, out string, atMost time.Duration, enough func(*seen) error) (*seen, error) {
	var s *seen
	err := eventually(ctx, atMost, func() error {
		if program.ended() {
			return fmt.Errorf("%w: the program has ended: %w", errGiveUp, program.err)
		}
		events, err := readLines[event](out)
		if err != nil {
			return err
		}
		if s, err = follow(events); err != nil {
			return fmt.Errorf("%w: %w", errGiveUp, err)
		}
		return enough(s)
	})
	if s == nil {
		s = &seen{}
	}
	return s, err
}
