package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestAuto: the rules that fit the table are found.
func TestAuto(t *testing.T) {
	day := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) // newer than any look
	row := func(id string, updated time.Time, props map[string]string) consumer.WorkerRow {
		return consumer.WorkerRow{ID: id, Updated: updated, Properties: props}
	}
	nativeRow := map[string]string{"g_inc": "i", "g_seq": "5"}
	held := func(owner, incarnation string) []consumer.Lease {
		return []consumer.Lease{{Owner: owner, Counter: 7, Incarnation: incarnation, Checkpoint: consumer.Checkpoint{SequenceNumber: "1001"}}}
	}
	untouched := []consumer.Lease{{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}}
	for _, tt := range []struct {
		name   string
		state  consumer.Coordination
		rows   []consumer.WorkerRow
		leases []consumer.Lease // of the first shards
		lock   string           // data of the leader's lock
		want   string
	}{
		{name: "empty", want: "native"},
		{name: "leases that nobody has had", leases: untouched, want: "native"},
		{name: "lease that somebody has had", leases: held("", ""), want: "kcl2"},
		{name: "lease that one of ours has had", leases: held("", "i"), want: "kcl2"},
		{name: "lease of somebody", leases: held("java", ""), want: "kcl2"},
		{name: "lease of one of ours", leases: held("go", "i"), want: "kcl2"},
		{name: "lease of an earlier run", leases: held("w", "i"), want: "kcl2"},
		{name: "lease not understood", leases: []consumer.Lease{{Invalid: errFake}}, want: "kcl2"},
		{name: "native row", rows: []consumer.WorkerRow{row("go", day, nativeRow)}, leases: held("go", "i"), want: "native"},
		{name: "native row and 3.x", rows: []consumer.WorkerRow{row("go", day, nativeRow)}, state: consumer.Coordination{ClientVersion: consumer.ClientVersion3X}, want: "native"},
		{name: "native row and another's lease", rows: []consumer.WorkerRow{row("go", day, nativeRow)}, leases: held("java", ""), want: "native"},
		{name: "native row of long ago", rows: []consumer.WorkerRow{row("go", time.Unix(1, 0), nativeRow)}, leases: held("go", "i"), want: "native"},
		{name: "native row of an earlier run", rows: []consumer.WorkerRow{row("w", day, nativeRow)}, leases: held("w", "i"), want: "native"},
		{name: "native row of long ago, and another's lease", rows: []consumer.WorkerRow{row("go", time.Unix(1, 0), nativeRow)}, leases: held("java", "i"), want: "kcl2"},
		{name: "native row of long ago, and 3.x", rows: []consumer.WorkerRow{row("go", time.Unix(1, 0), nativeRow)}, state: consumer.Coordination{ClientVersion: consumer.ClientVersion3X}, want: "kcl3"},
		{name: "bulletin left behind", leases: held("", "i"), lock: `{"n":1,"w":[]}`, want: "native"},
		{name: "lock without a bulletin", leases: held("", "i"), lock: "?", want: "kcl2"},
		{name: "3.x", state: consumer.Coordination{ClientVersion: consumer.ClientVersion3X}, want: "kcl3"},
		{name: "3.x with a way back", state: consumer.Coordination{ClientVersion: consumer.ClientVersion3XRollback}, want: "kcl3"},
		{name: "2.x", state: consumer.Coordination{ClientVersion: consumer.ClientVersion2X, IndexActive: true}, rows: []consumer.WorkerRow{row("java", day, nil)}, want: "kcl2"},
		{name: "upgrade", state: consumer.Coordination{ClientVersion: consumer.ClientVersionUpgradeFrom2X}, want: "kcl2 with a row"},
		{name: "official row and index", state: consumer.Coordination{IndexActive: true}, rows: []consumer.WorkerRow{row("java", day, nil)}, want: "kcl3"},
		{name: "official row without index", rows: []consumer.WorkerRow{row("java", day, nil)}, want: "kcl2"},
		{name: "old official row", state: consumer.Coordination{IndexActive: true}, rows: []consumer.WorkerRow{row("java", time.Unix(1, 0), nil)}, want: "kcl2"},
		{name: "row of ModeKCL3", rows: []consumer.WorkerRow{row("go", day, map[string]string{"g_inc": "i"})}, want: "kcl3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memlease.New()
				for _, r := range tt.rows {
					if r.Updated.Equal(day) {
						r.Updated = time.Now().Add(time.Hour)
					}
					if err := mem.PutWorker(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				stream := newFakeStream(2, 1)
				for i, l := range tt.leases {
					l.Key = stream.shards[i].id
					if _, err := mem.Create(t.Context(), l); err != nil {
						t.Fatal(err)
					}
				}
				if tt.lock != "" {
					lock := consumer.LeaderLock{Owner: "go", Version: "v", Duration: time.Millisecond, Data: []byte(tt.lock)}
					if _, err := mem.AcquireLeader(t.Context(), nil, lock); err != nil {
						t.Fatal(err)
					}
				}
				view := newFleetStore(mem)
				view.state = tt.state
				c, err := consumer.New(stream, view, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
					return consumer.ProcessorFunc(ignore), nil
				}, consumer.Config{WorkerID: "w", Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				stop := run(t, c)
				time.Sleep(5 * time.Second)
				if got := view.followed(); got != tt.want {
					t.Errorf("the rules are those of %s, want %s", got, tt.want)
				}
				stop()
			})
		})
	}
}

// followed returns by which rules the worker of this view seems to go.
func (s *fleetStore) followed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.row.Properties["g_seq"] != "":
		return "native"
	case s.row.ID != "" && s.takes == 0:
		return "kcl3"
	case s.row.ID != "":
		return "kcl2 with a row"
	}
	return "kcl2"
}

// TestAutoChange: rules change with the table, and no lease is let go by it.
func TestAutoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(4, 1)
		h := newHistory(stream)
		mem := memlease.New()
		h.store = mem
		view := newFleetStore(mem)
		view.state.ClientVersion = consumer.ClientVersion2X
		c, err := consumer.New(stream, view, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(h.process), nil
		}, consumer.Config{WorkerID: "w", Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, c)
		n := 0
		for _, version := range []string{consumer.ClientVersion2X, consumer.ClientVersionUpgradeFrom2X, consumer.ClientVersion3XRollback, consumer.ClientVersion2X, consumer.ClientVersion3X} {
			view.set(func() { view.state.ClientVersion = version })
			for i := range 40 {
				if i == 20 { // it has been seen by now
					view.set(func() { view.rows = nil })
				}
				for range 10 {
					h.produce(n, 20)
					n++
				}
				time.Sleep(4 * time.Second)
			}
			s := c.Stats()
			three := slices.Contains([]string{consumer.ClientVersion3X, consumer.ClientVersion3XRollback}, version)
			if s.Leader != three || len(s.Shards) != 4 {
				t.Errorf("%s: leads: %v; %d shards held", version, s.Leader, len(s.Shards))
			}
			var written bool
			view.set(func() { written = len(view.rows) > 0 })
			if want := three || version == consumer.ClientVersionUpgradeFrom2X; written != want {
				t.Errorf("%s: rows written: %v", version, written)
			}
		}
		if s := c.Stats(); s.LeasesReleased+s.LeasesLost+s.LeasesExpired > 0 || s.LeasesTakenFree != 4 {
			t.Errorf("leases were let go by a change of rules: %+v", s)
		}
		stop()
		if h.missing() != 0 || h.duplicates() != 0 {
			t.Errorf("%d records missing, %d twice", h.missing(), h.duplicates())
		}
	})
}

// laggard is a view of a table whose listings are of a while ago.
type laggard struct {
	*tableView
	leases, rows time.Duration // how long ago
	before       []snapshot
}

type snapshot struct {
	at     time.Time
	leases []consumer.Lease
	rows   []consumer.WorkerRow
	lock   consumer.LeaderLock
	locked bool
}

// follow notes what is in the table until ctx ends.
func (s *laggard) follow(ctx context.Context, step time.Duration) {
	for ctx.Err() == nil {
		now := snapshot{at: time.Now()}
		now.leases, _ = s.tableView.List(ctx)
		now.rows, _ = s.CoordinationStore.ListWorkers(ctx)
		now.lock, now.locked, _ = s.tableView.GetLeader(ctx)
		s.mu.Lock()
		s.before = append(s.before, now)
		s.mu.Unlock()
		select {
		case <-time.After(step):
		case <-ctx.Done():
		}
	}
}

func (s *laggard) ago(d time.Duration) (last snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.before {
		if time.Since(b.at) >= d {
			last = b
		}
	}
	return last
}

func (s *laggard) List(context.Context) ([]consumer.Lease, error) { return s.ago(s.leases).leases, nil }

func (s *laggard) ListWorkers(context.Context) ([]consumer.WorkerRow, error) {
	return s.ago(s.rows).rows, nil
}

func (s *laggard) GetLeader(context.Context) (consumer.LeaderLock, bool, error) {
	b := s.ago(s.rows)
	return b.lock, b.locked, nil
}

// TestAutoAtOnce starts two workers on a new table at once or nearly so, and has one
// of them see it late. Both come to the same rules.
func TestAutoAtOnce(t *testing.T) {
	const late = 2 * time.Second
	for _, apart := range []time.Duration{0, 30 * time.Millisecond, 500 * time.Millisecond, 1900 * time.Millisecond, 2200 * time.Millisecond} {
		for _, lag := range []struct{ leases, rows time.Duration }{{0, 0}, {late, 0}, {0, late}, {late, late}} {
			t.Run(fmt.Sprintf("%v apart, leases %v late, rows %v late", apart, lag.leases, lag.rows), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newNativeFleet(t, 4)
					f.mode = consumer.ModeAuto
					ctx, cancel := context.WithCancel(t.Context())
					view := &laggard{tableView: &tableView{CoordinationStore: f.table}, leases: lag.leases, rows: lag.rows}
					go view.follow(ctx, 10*time.Millisecond)
					stop := f.feed(100 * time.Millisecond)
					a := f.start("a", consumer.Config{})
					time.Sleep(apart)
					b := f.startOn("b", consumer.Config{}, view)
					f.until(15*time.Second, "two workers share", f.shared(2, 2))
					time.Sleep(time.Minute)
					stop()
					time.Sleep(2 * time.Second)
					for _, w := range []*nativeWorker{a, b} {
						if st := w.Stats(); st.Beats == 0 || st.LeasesStolen+st.LeasesTakenFree+st.LeasesLost+st.ForeignWorkers != 0 {
							t.Errorf("%s: beats %d, stolen %d, taken %d, lost %d, foreign %d", w.name, st.Beats, st.LeasesStolen, st.LeasesTakenFree, st.LeasesLost, st.ForeignWorkers)
						}
					}
					a.wait()
					b.wait()
					cancel()
					f.check(false)
				})
			})
		}
	}
}

// TestAutoJoins has workers without a mode find the rules of a table.
func TestAutoJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		a := f.start("a", consumer.Config{})
		f.until(5*time.Second, "one worker reads all", f.shared(4))
		f.mode = consumer.ModeAuto
		b := f.start("b", consumer.Config{})
		f.until(10*time.Second, "two workers share", f.shared(2, 2))
		c := f.start("c", consumer.Config{})
		f.until(10*time.Second, "three workers share", f.shared(1, 1, 2))
		for _, w := range []*nativeWorker{a, b, c} {
			if st := w.Stats(); st.Beats == 0 || st.LeasesStolen != 0 || st.ForeignWorkers != 0 {
				t.Errorf("%s: beats %d, stolen %d, foreign %d", w.name, st.Beats, st.LeasesStolen, st.ForeignWorkers)
			}
			w.wait()
		}
		d := f.start("d", consumer.Config{}) // when all are gone
		f.until(10*time.Second, "one worker reads all", f.shared(4))
		d.kill()
		d.stop()
		<-d.done
		e := f.start("e", consumer.Config{}) // when one has died
		f.until(30*time.Second, "another reads all", func() bool { return f.owners()["e"] == 4 })
		if st := e.Stats(); st.Beats == 0 || !st.Leader || st.LeasesTakenExpired != 0 {
			t.Errorf("e: beats %d, leads %v, expired %d", st.Beats, st.Leader, st.LeasesTakenExpired)
		}
		e.wait()
	})
	t.Run("leases of others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newNativeFleet(t, 4)
			f.mode = consumer.ModeKCL2
			a := f.start("a", consumer.Config{})
			f.until(10*time.Second, "one worker reads all", f.shared(4))
			f.mode = consumer.ModeAuto
			b := f.start("b", consumer.Config{})
			f.until(30*time.Second, "two workers share", f.shared(2, 2))
			if st := b.Stats(); st.Beats != 0 || st.LeasesStolen == 0 {
				t.Errorf("b: beats %d, stolen %d", st.Beats, st.LeasesStolen)
			}
			a.wait()
			b.wait()
		})
	})
}

// TestAutoForeign has a worker of the official library come to a table that is
// native by itself: that is an error, and no lease goes to anybody until it is gone.
func TestAutoForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		f.mode = consumer.ModeAuto
		log := new(errorLog)
		a := f.start("a", consumer.Config{Logger: slog.New(log)})
		f.until(5*time.Second, "one worker reads all", f.shared(4))
		_, gone := startOfficial(t, f.table, "java")
		f.until(10*time.Second, "it is noticed", func() bool { return a.Stats().ForeignWorkers == 1 })
		b := f.start("b", consumer.Config{Logger: slog.New(log)}) // the rules stay what they are
		f.stream.split(0)
		time.Sleep(time.Minute)
		if o := f.owners(); o["a"] != 3 || o["b"] != 0 || o["java"] != 0 || b.Stats().ForeignWorkers != 1 || b.Stats().Beats == 0 {
			t.Errorf("leases of workers: %v; %d foreign workers", o, b.Stats().ForeignWorkers)
		}
		log.mu.Lock()
		if len(log.msgs) != 1 || !strings.Contains(log.msgs[0], "does not know the rules") {
			t.Errorf("logged: %q", log.msgs)
		}
		log.mu.Unlock()
		gone()
		f.until(2*time.Minute, "two workers share when it is gone", f.shared(2, 3))
		a.wait()
		b.wait()
	})
}

// TestAutoPeers has workers without a mode watch each other.
func TestAutoPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 6)
		f.mode = consumer.ModeAuto
		ws := f.startAll("a b c", 2, 2, 2)
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(15 * time.Second)
		f.longest()
		f.crash(ws[0], false)
		time.Sleep(15 * time.Second)
		if gap := f.longest(); gap > 2*time.Second {
			t.Errorf("a shard was not read for %v", gap)
		}
		stop()
		time.Sleep(2 * time.Second)
		ws[1].wait()
		ws[2].wait()
		ws[0].stop()
		<-ws[0].done
		f.check(true)
	})
}

// TestModesNeedAStore: a mode that needs more of a store says so.
func TestModesNeedAStore(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.ModeKCL3, consumer.ModeNative} {
		_, err := consumer.New(newFakeStream(1, 1), &faultyStore{LeaseStore: memlease.New()}, "app", "stream",
			func(*consumer.Shard) (consumer.Processor, error) { return consumer.ProcessorFunc(ignore), nil }, consumer.Config{Mode: mode})
		if err == nil || !strings.Contains(err.Error(), mode.String()+" needs a lease store that implements CoordinationStore") {
			t.Errorf("New: %v", err)
		}
	}
}
