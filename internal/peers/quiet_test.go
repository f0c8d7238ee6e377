package peers_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/internal/peers"
)

// direct is a network without delay.
type direct map[string]*memnet.Listener

func (d direct) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if ln := d[addr]; ln != nil {
		return ln.Dial(ctx, network, addr)
	}
	return nil, syscall.ECONNREFUSED
}

// member returns who listens at addr.
func member(addr string) peers.Member {
	return peers.Member{ID: addr, Incarnation: "1", Addr: addr, Secret: []byte("the secret of " + addr + "....")}
}

// join starts a worker of that name.
func (d direct) join(t *testing.T, name string, cfg peers.Config) *peers.Mesh {
	t.Helper()
	d[name] = memnet.Listen(name)
	cfg.Dial = d.dial
	cfg.Logger = slog.New(slog.DiscardHandler)
	m, err := peers.New(member(name), d[name], cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestQuiet lets a fleet stand for an hour: nobody is suspected, nobody pauses,
// and beats allocate nothing.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		var all []*peers.Mesh
		var list []peers.Member
		for i := range 3 {
			name := fmt.Sprint("w", i)
			all = append(all, d.join(t, name, peers.Config{
				OnPause: func(uint64) { t.Error("paused") },
				OnDead:  func(v peers.Verdict) { t.Errorf("%+v", v) },
			}))
			list = append(list, member(name))
		}
		for _, m := range all {
			m.SetMembers(list)
		}
		time.Sleep(time.Minute)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		sent := all[0].Stats().BeatsSent
		for range 60 {
			time.Sleep(time.Minute)
			for i, m := range all {
				m.SetMembers(list)
				if !m.Active() {
					t.Fatalf("%d is not active: %+v", i, m.Stats())
				}
			}
		}
		runtime.ReadMemStats(&after)
		beats := all[0].Stats().BeatsSent - sent
		if beats != 2*4*3600 {
			t.Errorf("%d beats in an hour, want 28800", beats)
		}
		// What allocates is the lists of members, once a minute.
		if got := float64(after.Mallocs-before.Mallocs) / float64(3*beats); got > 0.02 {
			t.Errorf("%.3f allocations a beat", got)
		}
		for i, m := range all {
			s := m.Stats()
			if s.Suspicions != 0 || s.Pauses != 0 || s.Disconnects != 0 || s.Declarations > 2 || s.Stalls != 0 || s.LateAcks != 0 {
				t.Errorf("%d: %+v", i, s)
			}
			if s.Members != 2 || s.Links != 2 || s.Watchers != 2 {
				t.Errorf("%d: %+v", i, s)
			}
		}
		for _, m := range all {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			if err := m.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		}
	})
}

// TestPlannedStop lets workers leave one by one: nobody is suspected, and nobody
// pauses, not even the last two.
func TestPlannedStop(t *testing.T) {
	for _, n := range []int{2, 3, 5, 8} {
		synctest.Test(t, func(t *testing.T) {
			d := direct{}
			var all []*peers.Mesh
			var list []peers.Member
			for i := range n {
				name := fmt.Sprint("w", i)
				all = append(all, d.join(t, name, peers.Config{
					OnPause: func(uint64) { t.Error("paused") },
					OnDead:  func(v peers.Verdict) { t.Errorf("%+v", v) },
				}))
				list = append(list, member(name))
			}
			for _, m := range all {
				m.SetMembers(list)
			}
			time.Sleep(3 * time.Second)
			for i, m := range all {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // before others hear of it from the table
				for _, o := range all[i+1:] {
					if !o.Active() {
						t.Errorf("%d workers: %d not active after %d has left", n, n-i-1, i)
					}
					o.SetMembers(list[i+1:])
				}
				time.Sleep(3 * time.Second)
				for _, o := range all[i+1:] {
					if s := o.Stats(); s.Suspicions != 0 || s.Pauses != 0 || s.Watchers != min(3, n-i-2) {
						t.Errorf("%d workers, %d left: %+v", n, i, s)
					}
				}
			}
		})
	}
}

// TestPauseAndResume cuts a worker off, and has it verify itself.
func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		f.startAll(4)
		time.Sleep(3 * time.Second)
		w := f.workers["w01"]
		w.cutAt = true
		f.isolate("w01", true)
		at := time.Now()
		for w.mesh.Active() {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(at); took > 1210*time.Millisecond {
			t.Errorf("paused after %v", took)
		}
		if w.mesh.Resume(1) || w.mesh.Resume(3) {
			t.Error("resumed in a term that was not named")
		}
		f.isolate("w01", false)
		time.Sleep(2 * time.Second)
		if w.mesh.Active() || w.mesh.Term() != 1 {
			t.Error("acts again, unverified")
		}
		f.mu.Lock()
		w.cutAt = false
		f.mu.Unlock()
		time.Sleep(time.Second)
		if !w.mesh.Active() || w.mesh.Term() != 2 || len(w.mesh.Watchers()) != 3 {
			t.Errorf("term %d, %+v", w.mesh.Term(), w.mesh.Stats())
		}
		if w.mesh.Resume(3) {
			t.Error("resumed without a pause")
		}
	})
}

// TestTrustDoesNotComeBack: a worker whose trust has run out pauses, whatever it is
// told afterwards.
func TestTrustDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		f.startAll(4)
		time.Sleep(3 * time.Second)
		w := f.workers["w01"]
		f.mu.Lock()
		w.cutAt = true // for it not to verify itself
		f.mu.Unlock()
		w.mesh.TakeLateAck()
		if s := w.mesh.Stats(); w.mesh.Active() || s.Pauses != 1 {
			t.Errorf("acts again, unverified: %+v", s)
		}
		time.Sleep(5 * time.Second)
		if w.mesh.Active() {
			t.Error("acts again after a while")
		}
		f.mu.Lock()
		w.cutAt = false
		f.mu.Unlock()
		time.Sleep(time.Second)
		if !w.mesh.Active() || w.mesh.Term() != 2 {
			t.Errorf("does not act when verified: term %d, %+v", w.mesh.Term(), w.mesh.Stats())
		}
	})
}

// TestLongPartition cuts one off from its peers for minutes, but not from the
// table: it goes on acting, and does not verify itself again and again.
func TestLongPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		f.startAll(4)
		time.Sleep(3 * time.Second)
		f.isolate("w01", true)
		time.Sleep(5 * time.Minute)
		w := f.workers["w01"]
		if s := w.mesh.Stats(); !w.mesh.Active() || s.Pauses != 1 || s.Links != 0 {
			t.Errorf("%+v", s)
		}
		f.isolate("w01", false)
		time.Sleep(10 * time.Second)
		if s := w.mesh.Stats(); !w.mesh.Active() || s.Watchers != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// TestFailingNet cuts connections again and again: verifications become rare.
func TestFailingNet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		f.startAll(2)
		for range 120 {
			time.Sleep(2500 * time.Millisecond)
			f.isolate("w01", true)
			time.Sleep(2500 * time.Millisecond)
			f.isolate("w01", false)
		}
		if n := f.workers["w01"].mesh.Stats().Pauses; n < 3 || n > 40 {
			t.Errorf("%d pauses in ten minutes", n)
		}
	})
}

// TestSlowPeers sees no fault in answers that take half a second.
func TestSlowPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		for i := range 5 {
			f.net.Slow(fmt.Sprintf("w%02d", i), 60*time.Millisecond)
		}
		f.startAll(5)
		time.Sleep(time.Minute)
		for id, w := range f.workers {
			if s := w.mesh.Stats(); s.Pauses != 0 || s.Suspicions != 0 || s.Watchers != 3 {
				t.Errorf("%s: %+v", id, s)
			}
		}
	})
}

func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		f.startAll(3)
		a, b := f.workers["w00"], f.workers["w01"]
		sent := []peers.Hint{
			{Kind: peers.HintLook},
			{Kind: peers.HintReleased},
			{Kind: peers.HintDead, Verdict: peers.Verdict{ID: "x", Incarnation: "y", Term: 3, Silent: true}},
		}
		for _, h := range sent {
			a.mesh.Send("w01", h)
		}
		time.Sleep(20 * time.Second)
		f.mu.Lock()
		if got := fmt.Sprint(b.hints); got != fmt.Sprint(sent) {
			t.Errorf("received %v", got)
		}
		f.mu.Unlock()
		a.mesh.Send("nobody", peers.Hint{Kind: peers.HintLook})
		a.mesh.Send("w01", peers.Hint{Kind: 77})
		a.mesh.Send("w01", peers.Hint{Kind: peers.HintDead})
		f.kill("w02")
		a.mesh.Send("w02", peers.Hint{Kind: peers.HintLook})
		time.Sleep(5 * time.Second)
		if s := a.mesh.Stats(); s.HintsSent != 3 || s.HintsDropped != 4 {
			t.Errorf("%+v", s)
		}
		// More than a courier carries.
		f.net.Slow("w01", time.Second)
		for range 1000 {
			a.mesh.Send("w01", peers.Hint{Kind: peers.HintLook})
		}
		f.net.Slow("w01", 0)
		time.Sleep(20 * time.Second)
		s := a.mesh.Stats()
		if s.HintsSent+s.HintsDropped != 1007 || s.HintsDropped < 700 {
			t.Errorf("%+v", s)
		}
	})
}
