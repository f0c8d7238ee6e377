package leasetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// RunCoordination runs the suite of [Run], and that for what a
// [consumer.CoordinationStore] has besides. newStore must return an empty
// store; it is called once for each subtest.
func RunCoordination(t *testing.T, newStore func(t *testing.T) consumer.CoordinationStore) {
	t.Helper()
	Run(t, func(t *testing.T) consumer.LeaseStore { return newStore(t) })
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s consumer.CoordinationStore)
	}{
		{"assign", testAssign},
		{"hand over", testHandOver},
		{"next owner", testNextOwner},
		{"owned", testOwned},
		{"worker rows", testWorkers},
		{"leader", testLeader},
		{"one of many leads", testLeaderRace},
		{"client version", testClientVersion},
		{"one of many sets the client version", testClientVersionRace},
		{"leases and rows apart", testApart},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			if _, err := s.Coordination(t.Context()); err != nil {
				t.Fatalf("Coordination: %v", err)
			}
			tt.run(t, s)
		})
	}
}

func assign(t *testing.T, s consumer.CoordinationStore, l consumer.Lease, a consumer.Assignment) consumer.Lease {
	t.Helper()
	got, err := s.Assign(t.Context(), l, a)
	if err != nil {
		t.Fatalf("Assign %+v: %v", a, err)
	}
	same(t, s, got, a.Apply(l))
	return got
}

// refused fails the test unless err is a conflict with now.
func refused(t *testing.T, what string, err error, now consumer.Lease) {
	t.Helper()
	conflict, ok := errors.AsType[*consumer.ConflictError](err)
	if !ok || conflict.Current == nil || !equal(*conflict.Current, now) {
		t.Errorf("%s: %v, want a ConflictError with\n%+v", what, err, now)
	}
}

func testAssign(t *testing.T, s consumer.CoordinationStore) {
	free := create(t, s, full())
	l := assign(t, s, free, consumer.Assignment{Owner: "a"})
	if l.Owner != "a" || l.Counter != 1 || l.OwnerSwitches != 0 || l.Incarnation != "" {
		t.Errorf("a free lease, assigned: %+v", l)
	}
	// To the owner that it has: no switch.
	l = assign(t, s, l, consumer.Assignment{Owner: "a", Incarnation: "i"})
	if l.OwnerSwitches != 0 || l.Incarnation != "i" {
		t.Errorf("assigned to its owner: %+v", l)
	}
	l = assign(t, s, l, consumer.Assignment{Owner: "b"})
	if l.OwnerSwitches != 1 || l.Incarnation != "i" {
		t.Errorf("assigned to another owner: %+v", l)
	}
	renewed := write(t, s, l, consumer.Write{})
	_, err := s.Assign(t.Context(), l, consumer.Assignment{Owner: "c"})
	refused(t, "assign after a renewal", err, renewed)
	got, err := s.Assign(t.Context(), l, consumer.Assignment{Owner: "c", AnyCounter: true})
	if err != nil {
		t.Fatalf("Assign with any counter: %v", err)
	}
	want := renewed
	want.Owner, want.Counter, want.OwnerSwitches = "c", renewed.Counter+1, 2
	same(t, s, got, want)
	_, err = s.Assign(t.Context(), l, consumer.Assignment{Owner: "d", AnyCounter: true})
	refused(t, "assign away from another owner", err, got)
	_, err = s.Assign(t.Context(), free, consumer.Assignment{Owner: "d", AnyCounter: true})
	refused(t, "assign as a free lease", err, got)

	for _, a := range []consumer.Assignment{{Owner: "d"}, {Owner: "d", AnyCounter: true}} {
		_, err = s.Assign(t.Context(), consumer.Lease{Key: "none"}, a)
		if conflict, ok := errors.AsType[*consumer.ConflictError](err); !ok || conflict.Current != nil {
			t.Errorf("Assign of a missing lease: %v", err)
		}
	}
	if _, ok, err := s.Get(t.Context(), "none"); ok || err != nil {
		t.Errorf("a refused assignment has made a lease: %v, %v", ok, err)
	}
}

func testHandOver(t *testing.T, s consumer.CoordinationStore) {
	l := take(t, s, create(t, s, full()), "a")
	got, err := s.StartHandOver(t.Context(), l, "b")
	if err != nil {
		t.Fatalf("StartHandOver: %v", err)
	}
	want := l
	want.Owner, want.CheckpointOwner = "b", "a"
	same(t, s, got, want)

	// The old owner does not know yet.
	_, err = s.Update(t.Context(), l, consumer.Write{})
	refused(t, "renewal as if there was no hand-over", err, got)
	_, err = s.StartHandOver(t.Context(), got, "c")
	refused(t, "a second hand-over", err, got)
	_, err = s.StartHandOver(t.Context(), l, "c")
	refused(t, "a hand-over by one who does not know", err, got)
	_, err = s.Assign(t.Context(), l, consumer.Assignment{Owner: "c", AnyCounter: true})
	refused(t, "an assignment by one who does not know", err, got)

	// It goes on until it has finished.
	rate := 12.5
	renewed := write(t, s, got, consumer.Write{ThroughputKBps: &rate})
	want.Counter, want.ThroughputKBps = 2, rate
	same(t, s, renewed, want)
	w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "77"}, EndHandOver: true}
	ended := write(t, s, renewed, w)
	want.Counter, want.Checkpoint, want.CheckpointOwner, want.OwnerSwitches = 3, w.Checkpoint, "", 1
	same(t, s, ended, want)
	if !equal(ended, w.Apply(renewed)) {
		t.Error("Update and Write.Apply differ")
	}
	// The new one begins.
	began := write(t, s, ended, consumer.Write{Incarnation: "inc-b"})
	want.Counter, want.Incarnation = 4, "inc-b"
	same(t, s, began, want)

	// Without anything to store, and broken off by the leader.
	got, err = s.StartHandOver(t.Context(), began, "c")
	if err != nil {
		t.Fatalf("StartHandOver: %v", err)
	}
	w = consumer.Write{EndHandOver: true}
	if ended = write(t, s, got, w); !equal(ended, w.Apply(got)) || ended.OwnerSwitches != 2 {
		t.Errorf("after an end without checkpoint: %+v", ended)
	}
	if got, err = s.StartHandOver(t.Context(), ended, "d"); err != nil {
		t.Fatalf("StartHandOver: %v", err)
	}
	forced := assign(t, s, got, consumer.Assignment{Owner: "d", AnyCounter: true})
	if forced.OwnerSwitches != 3 || forced.CheckpointOwner != "" {
		t.Errorf("after a hand-over was broken off: %+v", forced)
	}
}

func testNextOwner(t *testing.T, s consumer.CoordinationStore) {
	l := take(t, s, take(t, s, create(t, s, full()), "x"), "a")
	w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "5"}, NextOwner: "b", Incarnation: "inc-b"}
	got := write(t, s, l, w)
	want := l
	want.Counter, want.Checkpoint, want.Owner, want.Incarnation, want.OwnerSwitches = 3, w.Checkpoint, "b", "inc-b", 0
	same(t, s, got, want)
	w = consumer.Write{NextOwner: "c"}
	got = write(t, s, got, w)
	want.Counter, want.Owner, want.OwnerSwitches = 4, "c", 1
	same(t, s, got, want)
	_, err := s.Update(t.Context(), l, w)
	refused(t, "a second move", err, got)
}

func testOwned(t *testing.T, s consumer.CoordinationStore) {
	if err := s.CreateIndex(t.Context()); err != nil {
		t.Fatalf("CreateIndex: %v", err)
	}
	if err := s.CreateIndex(t.Context()); err != nil {
		t.Fatalf("second CreateIndex: %v", err)
	}
	st, err := s.Coordination(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", st)
	want := map[string][]string{}
	for i := range 40 {
		l := full()
		l.Key = fmt.Sprintf("shardId-%012d", i)
		create(t, s, l)
		if owner := []string{"", "a", "b"}[i%3]; owner != "" {
			take(t, s, l, owner)
			want[owner] = append(want[owner], l.Key)
		}
	}
	for _, owner := range []string{"a", "b", "c"} {
		// An index may lag.
		var got []string
		for range 50 {
			if got, err = s.Owned(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
			if slices.Sort(got); slices.Equal(got, want[owner]) {
				break
			}
		}
		if !slices.Equal(got, want[owner]) {
			t.Errorf("Owned(%s) = %v, want %v", owner, got, want[owner])
		}
	}
}

func rowOf(t *testing.T, s consumer.CoordinationStore, id string) consumer.WorkerRow {
	t.Helper()
	row, ok, err := s.GetWorker(t.Context(), id)
	if err != nil || !ok {
		t.Fatalf("GetWorker(%s) = %v, %v", id, ok, err)
	}
	rows, err := s.ListWorkers(t.Context())
	i := slices.IndexFunc(rows, func(r consumer.WorkerRow) bool { return r.ID == id })
	if err != nil || i < 0 || !reflect.DeepEqual(rows[i], row) {
		t.Fatalf("ListWorkers = %+v, %v; want %+v among them", rows, err, row)
	}
	return row
}

func testWorkers(t *testing.T, s consumer.CoordinationStore) {
	put := func(row consumer.WorkerRow) {
		t.Helper()
		if err := s.PutWorker(t.Context(), row); err != nil {
			t.Fatalf("PutWorker: %v", err)
		}
	}
	if _, ok, err := s.GetWorker(t.Context(), "w"); ok || err != nil {
		t.Errorf("GetWorker of none = %v, %v", ok, err)
	}
	at := time.Unix(1_700_000_000, 0)
	full := consumer.WorkerRow{
		ID: "w", Updated: at, SupportCode: 1, SupportUpdated: at.Add(time.Second),
		Stats: map[string][]float64{"C": {17.25, -1}, "M": {0.00001}}, OperatingRange: map[string][]int64{"C": {100}, "M": {80, 5}},
		Properties: map[string]string{"g_inc": "i", "empty": ""},
	}
	put(full)
	if got := rowOf(t, s, "w"); !reflect.DeepEqual(got, full) {
		t.Errorf("row %+v, want %+v", got, full)
	}
	put(consumer.WorkerRow{ID: "small", Updated: at.Add(999 * time.Millisecond)})
	if got, want := rowOf(t, s, "small"), (consumer.WorkerRow{ID: "small", Updated: at}); !reflect.DeepEqual(got, want) {
		t.Errorf("row %+v, want %+v", got, want)
	}
	// What is not set stays.
	put(consumer.WorkerRow{ID: "w", Updated: at.Add(30 * time.Second), Properties: map[string]string{"g_inc": "j"}})
	full.Updated, full.Properties = at.Add(30*time.Second), map[string]string{"g_inc": "j"}
	if got := rowOf(t, s, "w"); !reflect.DeepEqual(got, full) {
		t.Errorf("row %+v, want %+v", got, full)
	}

	// A write that was given up comes after a later one of the same process.
	beat := func(process, number string) consumer.WorkerRow {
		return consumer.WorkerRow{ID: "beats", Updated: at, Properties: map[string]string{"g_inc": process, "g_seq": number, "of": process + number}}
	}
	for i, tt := range []struct {
		row consumer.WorkerRow
		err error
	}{
		{row: consumer.WorkerRow{ID: "beats", Updated: at}},
		{row: beat("i", "18")},
		{row: beat("i", "20")},
		{row: beat("i", "20")}, // sent twice
		{row: beat("i", "19"), err: consumer.ErrLateRow},
		{row: beat("j", "10")}, // of another process, whose clock may differ
		{row: beat("j", "11")},
		{row: beat("i", "21")}, // who looks tells these two apart
		{row: consumer.WorkerRow{ID: "beats", Updated: at, Properties: map[string]string{"g_inc": "i"}}}, // of another mode
		{row: beat("i", "12")},
	} {
		before, _, _ := s.GetWorker(t.Context(), "beats")
		err := s.PutWorker(t.Context(), tt.row)
		if !errors.Is(err, tt.err) || err == nil != (tt.err == nil) {
			t.Errorf("write %d: %v, want %v", i, err, tt.err)
		}
		want := tt.row.Merge(before)
		if tt.err != nil {
			want = before
		}
		if got := rowOf(t, s, "beats"); !reflect.DeepEqual(got, want) {
			t.Errorf("write %d: row %+v, want %+v", i, got, want)
		}
	}
	if err := s.DeleteWorker(t.Context(), rowOf(t, s, "beats")); err != nil {
		t.Errorf("DeleteWorker: %v", err)
	}

	old := full
	old.Updated = at
	for _, row := range []consumer.WorkerRow{old, {ID: "none", Updated: at}} {
		if err := s.DeleteWorker(t.Context(), row); err != nil {
			t.Errorf("DeleteWorker: %v", err)
		}
	}
	rowOf(t, s, "w")
	if err := s.DeleteWorker(t.Context(), full); err != nil {
		t.Errorf("DeleteWorker: %v", err)
	}
	if rows, err := s.ListWorkers(t.Context()); err != nil || len(rows) != 1 || rows[0].ID != "small" {
		t.Errorf("after DeleteWorker: %+v, %v", rows, err)
	}
}

func testLeader(t *testing.T, s consumer.CoordinationStore) {
	ctx := t.Context()
	must := func(want bool) func(ok bool, err error) {
		return func(ok bool, err error) {
			t.Helper()
			if err != nil || ok != want {
				t.Fatalf("%v, %v; want %v", ok, err, want)
			}
		}
	}
	is := func(want *consumer.LeaderLock) {
		t.Helper()
		got, ok, err := s.GetLeader(ctx)
		if err != nil || ok != (want != nil) || ok && !reflect.DeepEqual(got, *want) {
			t.Fatalf("GetLeader = %+v, %v, %v; want %+v", got, ok, err, want)
		}
	}
	is(nil)
	a := consumer.LeaderLock{Owner: "a", Version: "1", Duration: 120 * time.Second}
	must(false)(s.AcquireLeader(ctx, &a, a))
	must(false)(s.RenewLeader(ctx, a, a))
	must(false)(s.ReleaseLeader(ctx, a))
	must(true)(s.AcquireLeader(ctx, nil, a))
	is(&a)
	b := consumer.LeaderLock{Owner: "b", Version: "9", Duration: 5 * time.Second, Data: []byte{1, 0}}
	b2 := consumer.LeaderLock{Owner: "b", Version: "10", Duration: 5 * time.Second, Data: []byte{2}}
	must(false)(s.AcquireLeader(ctx, nil, b))
	a2 := consumer.LeaderLock{Owner: "a", Version: "2", Duration: 90 * time.Second}
	must(true)(s.RenewLeader(ctx, a, a2))
	is(&a2)
	must(false)(s.RenewLeader(ctx, a, a2))
	must(false)(s.AcquireLeader(ctx, &a, b))
	must(false)(s.RenewLeader(ctx, consumer.LeaderLock{Owner: "b", Version: "2"}, b))
	must(false)(s.ReleaseLeader(ctx, consumer.LeaderLock{Owner: "b", Version: "2"}))
	must(true)(s.AcquireLeader(ctx, &a2, b))
	is(&b)
	must(false)(s.ReleaseLeader(ctx, a2))
	must(true)(s.RenewLeader(ctx, b, b2))
	is(&b2)
	b.Version = "11"
	b.Data = nil
	must(true)(s.RenewLeader(ctx, b2, b)) // data that is not given stays
	b.Data = b2.Data
	is(&b)
	must(true)(s.ReleaseLeader(ctx, b))
	is(nil)

	released := b
	released.Released = true
	must(true)(s.AcquireLeader(ctx, nil, b))
	must(false)(s.AcquireLeader(ctx, &released, a)) // not released any more
	is(&b)
}

func testLeaderRace(t *testing.T, s consumer.CoordinationStore) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards winners
	winners := 0
	for i := range 8 {
		wg.Go(func() {
			ok, err := s.AcquireLeader(t.Context(), nil, consumer.LeaderLock{Owner: fmt.Sprint("w", i), Version: fmt.Sprint(i), Duration: time.Second})
			if err != nil {
				t.Errorf("AcquireLeader: %v", err)
			}
			if ok {
				mu.Lock()
				winners++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if winners != 1 {
		t.Errorf("%d of 8 lead, want 1", winners)
	}
}

func testApart(t *testing.T, s consumer.CoordinationStore) {
	ctx := t.Context()
	l := take(t, s, create(t, s, full()), "w")
	if err := s.PutWorker(ctx, consumer.WorkerRow{ID: "w", Updated: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.AcquireLeader(ctx, nil, consumer.LeaderLock{Owner: "w", Version: "1", Duration: time.Second}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	leases, err := s.List(ctx)
	if err != nil || len(leases) != 1 || leases[0].Key != l.Key {
		t.Errorf("List = %+v, %v; want one lease", leases, err)
	}
	leases, rows, err := s.ListAll(ctx)
	if err != nil || len(leases) != 1 || leases[0].Key != l.Key || len(rows) != 1 || rows[0].ID != "w" {
		t.Errorf("ListAll = %+v, %+v, %v; want one lease and one row", leases, rows, err)
	}
	if _, ok, err := s.Get(ctx, "w"); ok || err != nil {
		t.Errorf("Get of a worker's row = %v, %v", ok, err)
	}
	if _, ok, err := s.GetWorker(ctx, shard); ok || err != nil {
		t.Errorf("GetWorker of a lease = %v, %v", ok, err)
	}
	keys, err := s.Owned(ctx, "w")
	if slices.Sort(keys); err != nil || !slices.Equal(keys, []string{l.Key}) {
		t.Errorf("Owned = %v, %v", keys, err)
	}
}

// versionIs fails the test unless the client version is the given one, and returns what
// the store says.
func versionIs(t *testing.T, s consumer.CoordinationStore, want string) consumer.Coordination {
	t.Helper()
	st, err := s.Coordination(t.Context())
	if err != nil || st.ClientVersion != want || st.ClientVersionSet.IsZero() != (want == "") {
		t.Fatalf("Coordination = %v, set at %v, %v; want the client version %q", st, st.ClientVersionSet, err, want)
	}
	return st
}

func testClientVersion(t *testing.T, s consumer.CoordinationStore) {
	const upgrade, two, three = consumer.ClientVersionUpgradeFrom2X, consumer.ClientVersion2X, consumer.ClientVersion3XRollback
	set := func(seen consumer.Coordination, version string, want bool) {
		t.Helper()
		if ok, err := s.SetClientVersion(t.Context(), seen, version, "w"); err != nil || ok != want {
			t.Fatalf("SetClientVersion to %s, seen %q set at %v: %v, %v; want %v", version, seen.ClientVersion, seen.ClientVersionSet, ok, err, want)
		}
	}
	none := versionIs(t, s, "")
	other := none
	other.ClientVersion, other.ClientVersionSet = two, time.UnixMilli(1_700_000_000_000)
	set(other, upgrade, false)
	versionIs(t, s, "")
	set(none, upgrade, true)
	first := versionIs(t, s, upgrade)
	set(none, three, false)
	other = first
	other.ClientVersion = two
	set(other, three, false)
	other = first
	other.ClientVersionSet = first.ClientVersionSet.Add(time.Millisecond)
	set(other, three, false)
	versionIs(t, s, upgrade)

	// Away and back: what was seen before is another one, however fast that went.
	set(first, two, true)
	set(versionIs(t, s, two), upgrade, true)
	again := versionIs(t, s, upgrade)
	if !again.ClientVersionSet.After(first.ClientVersionSet) {
		t.Errorf("set at %v, and again at %v", first.ClientVersionSet, again.ClientVersionSet)
	}
	set(first, three, false)
	versionIs(t, s, upgrade)
	set(again, three, true)
	versionIs(t, s, three)
	set(again, three, false)
}

func testClientVersionRace(t *testing.T, s consumer.CoordinationStore) {
	seen := versionIs(t, s, "")
	for _, version := range []string{consumer.ClientVersionUpgradeFrom2X, consumer.ClientVersion3XRollback} {
		var wg sync.WaitGroup
		var winners atomic.Int64
		for i := range 8 {
			wg.Go(func() {
				ok, err := s.SetClientVersion(t.Context(), seen, version, fmt.Sprint("w", i))
				if err != nil {
					t.Errorf("SetClientVersion: %v", err)
				}
				if ok {
					winners.Add(1)
				}
			})
		}
		wg.Wait()
		if n := winners.Load(); n != 1 {
			t.Errorf("%d of 8 have set it to %s, want 1", n, version)
		}
		seen = versionIs(t, s, version)
	}
}
