package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// upgradeScenarios have the official library go over to another way of sharing,
// with workers of this module present all the while. What it waits for, ten
// minutes and hours, is shortened in its programs (see java/kcl, Later).
var upgradeScenarios = []Scenario{
	{
		Name: "upgrade-kcl2-kcl3", What: "KCL 2.7 is upgraded to 3.5, by its two phases, with a worker of this module present",
		run: func(ctx context.Context, p *play) error { return p.upgrade(ctx, "worker-go") },
	},
	{
		Name: "upgrade-kcl2-kcl3-led", What: "the same, with the worker of this module as the one that is elected and ends the change",
		run: func(ctx context.Context, p *play) error { return p.upgrade(ctx, "go") },
	},
	{
		Name: "upgrade-one-table", What: "KCL 3.4 and its three tables are upgraded to 3.5 and one, with a worker of this module present",
		run: func(ctx context.Context, p *play) error { return p.oneTable(ctx) },
	},
}

// stable has a program go over after so many seconds.
const stable = "STABLE_SECONDS=20"

// upgrade plays the change from 2.x to 3.x. By the rules of 2.x the one whose name comes first
// of two is elected, and has all go over: the official library's worker, unless the
// names of ours, which begin as given, come before "java".
func (p *play) upgrade(ctx context.Context, name string) error {
	f := &fleet{p: p}
	var java1, java2, java3, java4, go1, go2 *member
	elected := &java3
	if name < "java" {
		elected = &go1
	}
	return f.live(ctx, 4, f.steadily, func(s script) error {
		return steps(
			s.join(&java1, "java-1", java("kcl2")),
			s.goesOn("KCL 2.7 alone"),
			s.join(&go1, name+"-1", ours("auto", stable)),
			s.hold("go-1 joins, and has its share", &java1, &go1),
			s.join(&java2, "java-2", java("kcl3", "CLIENT_VERSION=CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1", stable)),
			s.leave(&java1),
			s.hold("KCL 3.5 by the rules of 2.x, first phase, in the place of 2.7", &go1, &java2),
			s.join(&java3, "java-3", java("kcl3", "CLIENT_VERSION=CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X", stable)),
			s.leave(&java2),
			s.hold("second phase", &go1, &java3),
			s.reshard(),
			s.state("the official library has gone over to the rules of 3.x", "Migration3.0", "cv", "CLIENT_VERSION_3X_WITH_ROLLBACK"),
			s.author("it was the one elected who had it go over", elected),
			s.goesOn("by the rules of 3.x"),
			s.hold("leases stay with both", &go1, &java3),
			s.join(&java4, "java-4", java("kcl3")),
			s.leave(&java3),
			s.state("the way back is given up", "Migration3.0", "cv", "CLIENT_VERSION_3X"),
			s.hold("java-4 in the place of java-3", &go1, &java4),
			s.join(&go2, name+"-2", ours("auto", stable)),
			s.leave(&go1),
			s.hold("go-2 in the place of go-1", &go2, &java4),
			s.goesOn("at the end"),
		)
	})
}

func (p *play) oneTable(ctx context.Context) error {
	f := &fleet{p: p}
	f.rules.strict = true
	f.lapse = 2 * failover // nobody dies in it, and so no lease is to lapse
	var java1, java2, java3, go1, go2 *member
	return f.live(ctx, 4, f.steadily, func(s script) error {
		return steps(
			s.join(&java1, "java-1", java("kcl34")),
			s.goesOn("KCL 3.4 alone"),
			s.join(&go1, "go-1", ours("kcl3")),
			s.hold("go-1 joins, and has its share", &java1, &go1),
			s.join(&java2, "java-2", java("kcl3", stable)),
			s.leave(&java1),
			s.hold("KCL 3.5 in the place of 3.4", &go1, &java2),
			s.state("all workers know of the one table", "TableMigration3.5", "tm", "TABLE_MIGRATION_STATUS_DEPLOYED"),
			s.join(&java3, "java-3", java("kcl3", "ONE_TABLE=1", stable)),
			s.leave(&java2),
			s.state("the rows of the other tables are moved", "TableMigration3.5", "tm", "TABLE_MIGRATION_STATUS_COMPLETE"),
			s.hold("leases stay with both", &go1, &java3),
			s.reshard(),
			s.join(&go2, "go-2", ours("auto")),
			s.leave(&go1),
			s.hold("go-2 in the place of go-1", &go2, &java3),
			s.goesOn("on one table"),
		)
	})
}

// author checks who has last set the official library's client version.
func (s script) author(what string, m **member) func() error {
	return func() error {
		by, err := s.f.p.entry(s.ctx, "Migration3.0", "mb")
		if err == nil && by != (*m).name {
			err = fmt.Errorf("it was %q", by)
		}
		if s.f.p.report.Check(what, err, "%s", by) {
			return nil
		}
		return errors.New("another was elected")
	}
}

// state waits until an attribute of a row of the official library's state is as
// given, in whichever table it is.
func (s script) state(what, key, name, want string) func() error {
	return func() error {
		at := time.Now()
		err := eventually(s.ctx, 5*time.Minute, func() error {
			if err := s.f.alive(); err != nil {
				return err
			}
			have, err := s.f.p.entry(s.ctx, key, name)
			if err == nil && have != want {
				err = fmt.Errorf("%s of %s is %q", name, key, have)
			}
			return err
		})
		if s.f.p.report.Check(what, err, "%s; after %.1f s", want, time.Since(at).Seconds()) {
			return nil
		}
		return errors.New("the official library stays where it was")
	}
}

// entry returns an attribute of a row that is no lease, from the lease table or
// else from the one that versions 3.0 to 3.4 have for such rows; "" if it is in
// neither.
func (p *play) entry(ctx context.Context, key, name string) (string, error) {
	for _, t := range []struct{ table, key string }{{application, "leaseKey"}, {application + "-CoordinatorState", "key"}} {
		out, err := p.dynamodb().GetItem(ctx, &dynamodb.GetItemInput{
			TableName: aws.String(t.table), Key: row{t.key: str(key)}, ConsistentRead: aws.Bool(true),
		})
		if _, ok := errors.AsType[*ddbtypes.ResourceNotFoundException](err); ok {
			continue
		}
		if err != nil {
			return "", err
		}
		if v := text(out.Item[name]); v != "" {
			return v, nil
		}
	}
	return "", nil
}
