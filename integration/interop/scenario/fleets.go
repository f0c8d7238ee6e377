package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/aggregation"
)

// fleetScenarios have workers of both languages share one lease table.
var fleetScenarios = []Scenario{
	{
		Name: "fleet-kcl2", What: "KCL 2.7 and kcl2: a reshard while requests are refused, a kill on either side, replacement both ways",
		run: func(ctx context.Context, p *play) error { return p.fleet2(ctx, java("kcl2")) },
	},
	{
		Name: "fleet-kcl1", What: "the same with KCL 1.15",
		run: func(ctx context.Context, p *play) error { return p.fleet2(ctx, java("kcl1")) },
	},
	{
		Name: "fleet-kcl3", What: "KCL 3.5 and kcl3: the one leads, dies, then the other; hand-over each way, a reshard while requests are refused",
		run: func(ctx context.Context, p *play) error { return p.fleet3(ctx, java("kcl3")) },
	},
	{
		Name: "fleet-kcl3-back", What: "the other way round: kcl3 leads, then KCL 3.5; kills on either side, replacement both ways",
		run: func(ctx context.Context, p *play) error { return p.fleet3Back(ctx, java("kcl3")) },
	},
	{
		Name: "fleet-kcl34", What: "as fleet-kcl3 with KCL 3.4, and its three tables",
		run: func(ctx context.Context, p *play) error { return p.fleet3(ctx, java("kcl34")) },
	},
	{
		Name: "fleet-kcl30", What: "as fleet-kcl3 with KCL 3.0",
		run: func(ctx context.Context, p *play) error { return p.fleet3(ctx, java("kcl30")) },
	},
	{
		Name: "inside-kcl2", What: "checkpoints inside an aggregate, by KCL 2.7 and kcl2 in turns",
		run: func(ctx context.Context, p *play) error { return p.inside(ctx, java("kcl2"), "kcl2") },
	},
	{
		Name: "inside-kcl3", What: "checkpoints inside an aggregate, by KCL 3.5 and kcl3 in turns; each dies as the leader",
		run: func(ctx context.Context, p *play) error { return p.inside(ctx, java("kcl3"), "kcl3") },
	},
}

// A script writes a life of a fleet down. Members are named by where join puts
// them.
type script struct {
	ctx context.Context //nolint:containedctx // of one play
	f   *fleet
}

func (s script) join(m **member, name string, k kind) func() error {
	return func() (err error) { *m, err = s.f.join(s.ctx, name, k); return err }
}

func (s script) kill(m **member) func() error {
	return func() error { s.f.kill(*m); return nil }
}

func (s script) leave(m **member) func() error {
	return func() error { return s.f.leave(s.ctx, *m) }
}

func (s script) goesOn(what string) func() error {
	return func() error { return s.f.goesOn(s.ctx, what) }
}

func (s script) hold(what string, members ...**member) func() error {
	return func() error {
		var list []*member
		for _, m := range members {
			list = append(list, *m)
		}
		return s.f.hold(s.ctx, what, list...)
	}
}

func (s script) leads(what string, m **member) func() error {
	return func() error { return s.f.leads(s.ctx, what, *m) }
}

func (s script) reshard() func() error { return func() error { return s.f.reshard(s.ctx) } }

func (s script) change(c change) func() error {
	return func() error { return c(s.ctx, s.f.p, s.f.stream) }
}

// steps does one after another, until one fails.
func steps(list ...func() error) error {
	for _, do := range list {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// fleet2 is a life of a fleet by the rules of version 2.
func (p *play) fleet2(ctx context.Context, k kind) error {
	f := &fleet{p: p}
	var java1, java2, java3, go1, go2 *member
	return f.live(ctx, 4, f.steadily, func(s script) error {
		return steps(
			s.join(&java1, "java-1", k),
			s.goesOn("java-1 alone"),
			s.join(&go1, "go-1", ours("kcl2")),
			s.hold("go-1 joins, and has its share", &java1, &go1),
			s.reshard(),
			s.kill(&java1),
			s.goesOn("java-1 is killed"),
			s.join(&java2, "java-2", k),
			s.hold("java-2 joins, and has its share", &go1, &java2),
			s.kill(&go1),
			s.goesOn("go-1 is killed"),
			s.join(&go2, "go-2", ours("kcl2")),
			s.hold("go-2 joins, and has its share", &java2, &go2),
			s.leave(&java2),
			s.hold("java-2 is replaced", &go2),
			s.goesOn("this module alone"),
			s.change(scale(3)),
			s.join(&java3, "java-3", k),
			s.hold("java-3 joins, and has its share", &go2, &java3),
			s.leave(&go2),
			s.hold("go-2 is replaced", &java3),
			s.goesOn("scaled to 3, the official library alone"),
		)
	})
}

// fleet3 is a life of a fleet by the rules of version 3: the official library
// leads, and after its death this module.
func (p *play) fleet3(ctx context.Context, k kind) error {
	f := &fleet{p: p}
	f.rules.strict = true
	var java1, java2, go1 *member
	return f.live(ctx, 4, f.steadily, func(s script) error {
		return steps(
			s.join(&java1, "java-1", k),
			s.goesOn("java-1 alone"),
			s.leads("java-1 leads", &java1),
			s.join(&go1, "go-1", ours("kcl3")),
			s.hold("the leader java-1 has leases handed over to go-1", &java1, &go1),
			s.reshard(),
			s.kill(&java1),
			s.leads("java-1 is killed, go-1 leads", &go1),
			s.hold("the leader go-1 takes the leases of the dead", &go1),
			s.goesOn("go-1 alone"),
			s.join(&java2, "java-2", k),
			s.hold("the leader go-1 has leases handed over to java-2", &go1, &java2),
			s.leave(&go1),
			s.leads("go-1 is replaced, java-2 leads", &java2),
			s.hold("java-2 has all leases", &java2),
			s.goesOn("the official library alone"),
		)
	})
}

// fleet3Back is the other way round: this module leads, and then the official
// library. A worker finds the rules by itself.
func (p *play) fleet3Back(ctx context.Context, k kind) error {
	f := &fleet{p: p}
	f.rules.strict = true
	var java1, java2, go1, go2, go3 *member
	return f.live(ctx, 4, f.steadily, func(s script) error {
		return steps(
			s.join(&go1, "go-1", ours("kcl3")),
			s.goesOn("go-1 alone"),
			s.leads("go-1 leads", &go1),
			s.join(&java1, "java-1", k),
			s.hold("the leader go-1 has leases handed over to java-1", &go1, &java1),
			s.reshard(),
			s.kill(&java1),
			s.hold("java-1 is killed, go-1 takes its leases", &go1),
			s.change(scale(3)),
			s.goesOn("scaled to 3, this module alone"),
			s.join(&java2, "java-2", k),
			s.hold("java-2 joins, and has its share", &go1, &java2),
			s.leave(&go1),
			s.leads("go-1 leaves, java-2 leads", &java2),
			s.join(&go2, "go-2", ours("auto")),
			s.hold("the leader java-2 has leases handed over to go-2", &java2, &go2),
			s.kill(&go2),
			s.hold("go-2 is killed, java-2 takes its leases", &java2),
			s.join(&go3, "go-3", ours("auto")),
			s.hold("go-3 joins, and has its share", &java2, &go3),
			s.leave(&java2),
			s.leads("java-2 is replaced, go-3 leads", &go3),
			s.hold("go-3 has all leases", &go3),
			s.goesOn("this module alone"),
		)
	})
}

// inside has workers end in the middle of an aggregate, each behind its
// checkpoint: the next one, of the other side, goes on in the same aggregate.
func (p *play) inside(ctx context.Context, k kind, mode string) error {
	const records = 12
	f := &fleet{p: p}
	f.rules.strict = true
	put := func(ctx context.Context) (*load, error) {
		var b aggregation.Builder
		for n := range int64(records) {
			b.Add(aggregation.Record{PartitionKey: keyName(0), Data: payload(0, n)})
		}
		_, err := p.kinesis().PutRecord(ctx, &kinesis.PutRecordInput{
			StreamName: &f.stream, PartitionKey: aws.String("a"), Data: b.Seal(nil),
		})
		l := &load{stop: func() {}, put: make([]atomic.Int64, 1)}
		l.put[0].Store(records)
		return l, err
	}
	halted := func(name string, k kind, sub int) error {
		k.env = append(k.env, "HALT_AT_SUB="+strconv.Itoa(sub))
		m, err := f.join(ctx, name, k)
		if err != nil {
			return err
		}
		if err := m.proc.wait(ctx, recordsLimit); err != nil {
			return err
		}
		if err := m.read(); err != nil {
			return err
		}
		last := m.events[len(m.events)-1]
		if last.Event != "halted" {
			err = fmt.Errorf("its last word is %+v", last)
		}
		if !p.report.Check(fmt.Sprintf("%s ends behind record %d of the aggregate, at its checkpoint", m.name, sub), err, "%d events", len(m.events)) {
			return errors.New("the aggregate is not cut where it should be")
		}
		return nil
	}
	var last *member
	return f.live(ctx, 1, put, func(s script) error {
		return steps(
			func() error { return halted("java-1", k, 3) },
			func() error { return halted("go-1", ours(mode), 6) },
			func() error { return halted("java-2", k, 8) },
			s.join(&last, "go-2", ours(mode)),
		)
	})
}
