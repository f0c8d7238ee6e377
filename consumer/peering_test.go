package consumer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/internal/memnet"
)

// peerNet is a network between workers, each of which is a host.
type peerNet struct {
	mu        sync.Mutex // guards what follows
	listeners map[string]*peerListener
	conns     map[*peerConn]string // and the host at the end
	cut       map[string]bool      // what goes to and from these hosts vanishes
	gone      map[string]bool      // hosts without a process
}

func newPeerNet() *peerNet {
	return &peerNet{listeners: map[string]*peerListener{}, conns: map[*peerConn]string{}, cut: map[string]bool{}, gone: map[string]bool{}}
}

type peerListener struct {
	net.Listener
	conns chan net.Conn // capacity 16, as a socket's queue
	done  chan struct{}
	once  sync.Once
}

func (l *peerListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *peerListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// peerConn is one end of a connection.
type peerConn struct {
	net.Conn
	n        *peerNet
	from, to string
}

func (c *peerConn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	lost := c.n.cut[c.from] || c.n.cut[c.to]
	c.n.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (n *peerNet) listen(_ context.Context, _, addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := &peerListener{Listener: memnet.Listen(addr), conns: make(chan net.Conn, 16), done: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

func (n *peerNet) dialer(from string) func(ctx context.Context, _, to string) (net.Conn, error) {
	return func(ctx context.Context, _, to string) (net.Conn, error) {
		n.mu.Lock()
		lost, gone, l := n.cut[from] || n.cut[to], n.gone[from], n.listeners[to]
		n.mu.Unlock()
		switch {
		case gone:
			return nil, syscall.ENETDOWN
		case lost:
			<-ctx.Done()
			return nil, ctx.Err()
		case l == nil:
			return nil, syscall.ECONNREFUSED
		}
		near, far := memnet.Pipe(memnet.Addr(from), memnet.Addr(to))
		a, b := &peerConn{near, n, from, to}, &peerConn{far, n, to, from}
		n.mu.Lock()
		n.conns[a], n.conns[b] = from, to
		n.mu.Unlock()
		select {
		case l.conns <- b:
			return a, nil
		case <-l.done:
			return nil, syscall.ECONNREFUSED
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// kill ends the process of a host.
func (n *peerNet) kill(host string) {
	n.mu.Lock()
	var ends []*peerConn
	for c, h := range n.conns {
		if h == host {
			ends = append(ends, c)
		}
	}
	l := n.listeners[host]
	delete(n.listeners, host)
	n.gone[host] = true
	n.mu.Unlock()
	for _, c := range ends {
		_ = c.Conn.Close() // never fails
	}
	if l != nil {
		_ = l.Close()
	}
}

// revive lets a process run on a host again.
func (n *peerNet) revive(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.gone, host)
}

// lose cuts a host off, or connects it again.
func (n *peerNet) lose(host string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[host] = on
}

// peerFleet is workers that watch each other.
type peerFleet struct {
	*nativeFleet
	net *peerNet
}

func newPeerFleet(t *testing.T, shards int) *peerFleet {
	return &peerFleet{newNativeFleet(t, shards), newPeerNet()}
}

func (f *peerFleet) start(name string) *nativeWorker {
	f.t.Helper()
	w := &nativeWorker{fleet: f.nativeFleet, name: name, view: &tableView{CoordinationStore: f.table}, done: make(chan struct{})}
	c, err := consumer.New(f.stream, w.view, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
		return &nativeProcessor{w: w}, nil
	}, consumer.Config{WorkerID: name, Mode: f.mode, PeerAddr: name, Logger: quiet()})
	if err != nil {
		f.t.Fatal(err)
	}
	c.SetPeerNetwork(f.net.listen, f.net.dialer(name))
	w.Consumer = c
	ctx, cancel := context.WithCancel(f.t.Context())
	w.stop = cancel
	go func() {
		defer close(w.done)
		w.err = c.Run(ctx)
	}()
	return w
}

// crash ends the process of w, or with it its host, and forgets what it was
// reading.
func (f *peerFleet) crash(w *nativeWorker, host bool) {
	w.kill()
	if host {
		f.net.lose(w.name, true)
	} else {
		f.net.kill(w.name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for shard, name := range f.reading {
		if name == w.name {
			delete(f.reading, shard)
		}
	}
}

// startAll begins n workers and waits until they share the leases.
func (f *peerFleet) startAll(names string, counts ...int) []*nativeWorker {
	f.t.Helper()
	var ws []*nativeWorker
	for name := range strings.FieldsSeq(names) {
		ws = append(ws, f.start(name))
	}
	f.until(20*time.Second, "the workers share", f.shared(counts...))
	return ws
}

// TestPeersCrash measures how long shards of a worker that has crashed are not
// read.
func TestPeersCrash(t *testing.T) {
	for _, host := range []bool{false, true} {
		for _, leads := range []bool{false, true} {
			t.Run(fmt.Sprintf("host %v leader %v", host, leads), func(t *testing.T) {
				var took []time.Duration
				for seed := range 3 {
					synctest.Test(t, func(t *testing.T) {
						f := newPeerFleet(t, 12)
						ws := f.startAll("a b c d", 3, 3, 3, 3)
						stop := f.feed(100 * time.Millisecond)
						time.Sleep(15*time.Second + time.Duration(seed)*97*time.Millisecond)
						f.longest()
						i := slices.IndexFunc(ws, func(w *nativeWorker) bool { return w.Stats().Leader == leads })
						gone := ws[i]
						f.crash(gone, host)
						time.Sleep(6 * time.Second)
						took = append(took, f.longest())
						f.until(time.Second, "three share", f.shared(4, 4, 4))
						stop()
						time.Sleep(2 * time.Second)
						for _, w := range slices.Delete(ws, i, i+1) {
							if st := w.Stats(); st.PeerPauses != 0 || st.LeasesLost != 0 {
								t.Errorf("%s: %d pauses, %d leases lost", w.name, st.PeerPauses, st.LeasesLost)
							}
							w.wait()
						}
						f.net.kill(gone.name)
						gone.view.cut.Store(false)
						gone.stop()
						<-gone.done
						f.check(true)
					})
				}
				slices.Sort(took)
				t.Logf("shards were not read for %v … %v", took[0], took[len(took)-1])
				if most := took[len(took)-1]; most > 3*time.Second {
					t.Errorf("a shard was not read for %v", most)
				}
			})
		}
	}
}

// TestPeersCrashOfLeaders: who replaces a leader does not wait for workers that were dead
// before, of which rows are left.
func TestPeersCrashOfLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 8)
		ws := f.startAll("a b", 4, 4)
		stop := f.feed(100 * time.Millisecond)
		for i := range 24 {
			time.Sleep(10 * time.Second)
			f.longest()
			at := slices.IndexFunc(ws, func(w *nativeWorker) bool { return w.Stats().Leader })
			gone := ws[at]
			f.crash(gone, false)
			t.Cleanup(func() {
				gone.view.cut.Store(false)
				gone.stop()
				<-gone.done
			})
			time.Sleep(6 * time.Second)
			if gap := f.longest(); gap > time.Second {
				t.Errorf("the shards of leader %d to die were not read for %v", i+1, gap)
			}
			ws = append(slices.Delete(ws, at, at+1), f.start(fmt.Sprint("w", i)))
			f.until(20*time.Second, "two share", f.shared(4, 4))
		}
		stop()
		time.Sleep(2 * time.Second)
		for _, w := range ws {
			w.wait()
		}
		f.check(true)
	})
}

// TestPeersPartition cuts a worker off from its peers for a while, with or
// without its way to the table.
func TestPeersPartition(t *testing.T) {
	for _, table := range []bool{false, true} {
		for _, leads := range []bool{false, true} {
			t.Run(fmt.Sprintf("table too %v leader %v", table, leads), func(t *testing.T) {
				for seed := range 3 {
					synctest.Test(t, func(t *testing.T) {
						f := newPeerFleet(t, 12)
						ws := f.startAll("a b c", 4, 4, 4)
						stop := f.feed(50 * time.Millisecond)
						time.Sleep(15*time.Second + time.Duration(seed)*97*time.Millisecond)
						f.longest()
						i := slices.IndexFunc(ws, func(w *nativeWorker) bool { return w.Stats().Leader == leads })
						f.net.lose(ws[i].name, true)
						ws[i].view.cut.Store(table)
						time.Sleep(20 * time.Second)
						if gap := f.longest(); gap > 2*time.Second {
							t.Errorf("a shard was not read for %v", gap)
						}
						st := ws[i].Stats()
						switch {
						case st.PeerPauses != 1:
							t.Errorf("the worker has paused %d times", st.PeerPauses)
						case table && len(st.Shards) != 0:
							t.Errorf("the worker has %d leases still", len(st.Shards))
						case !table && (len(st.Shards) != 4 || st.LeasesLost != 0 || st.LeasesExpired != 0):
							t.Errorf("the worker has %d leases; %d lost, %d given up", len(st.Shards), st.LeasesLost, st.LeasesExpired)
						}
						f.net.lose(ws[i].name, false)
						ws[i].view.cut.Store(false)
						f.until(2*time.Minute, "three share", f.shared(4, 4, 4)) // leases that have just moved rest
						time.Sleep(20 * time.Second)
						f.longest()
						time.Sleep(10 * time.Second)
						if gap := f.longest(); gap > time.Second {
							t.Errorf("a shard was not read for %v after the end of the partition", gap)
						}
						stop()
						time.Sleep(2 * time.Second)
						for _, w := range ws {
							w.wait()
						}
						f.check(table) // if it reached the table, nothing was repeated
					})
				}
			})
		}
	}
}

// TestPeersTransfer: a lease that a worker gives to another, on request, waits for no look
// of either, nor of the leader.
func TestPeersTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 12)
		ws := f.startAll("a b c", 4, 4, 4)
		stop := f.feed(50 * time.Millisecond)
		time.Sleep(15 * time.Second)
		for i, from := range ws {
			to, shard := ws[(i+1)%len(ws)], from.Stats().Shards[0].ShardID
			f.longest()
			if err := from.Transfer(t.Context(), shard, to.name); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if gap := f.longest(); gap > 600*time.Millisecond {
				t.Errorf("%s (leader: %v) gives %s to %s, and no shard is to be unread for long: %v", from.name, from.Stats().Leader, shard, to.name, gap)
			}
		}
		stop()
		time.Sleep(2 * time.Second)
		for _, w := range ws {
			w.wait()
		}
		f.check(true)
	})
}

var (
	peerSeed  = flag.Uint64("peerseed", 0, "the first history of TestPeersHistories")
	peerSeeds = flag.Uint64("peerseeds", 2, "how many histories TestPeersHistories plays")
)

// TestPeersHistories plays fleets in which workers crash, come back under their
// names, stop, and are cut off from each other and from the table.
func TestPeersHistories(t *testing.T) {
	for i := range *peerSeeds {
		seed := *peerSeed + i
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			f := newPeerFleet(t, 10)
			names := []string{"a", "b", "c", "d", "e"}
			live := map[string]*nativeWorker{}
			var crashed []*nativeWorker
			for _, name := range names {
				live[name] = f.start(name)
			}
			stop := f.feed(100 * time.Millisecond)
			for range 30 {
				time.Sleep(time.Duration(rng.IntN(8000)) * time.Millisecond)
				name := names[rng.IntN(len(names))]
				w := live[name]
				switch k := rng.IntN(7); {
				case w == nil:
					f.net.lose(name, false)
					f.net.revive(name)
					live[name] = f.start(name)
				case k == 0 && len(live) > 2:
					f.crash(w, rng.IntN(2) == 0)
					f.net.kill(name)
					crashed = append(crashed, w)
					delete(live, name)
				case k == 1 && len(live) > 2 && !w.view.cut.Load():
					w.wait()
					f.net.kill(name)
					delete(live, name)
				case k < 4:
					f.net.lose(name, true)
					w.view.cut.Store(rng.IntN(2) == 0)
				default:
					for _, w := range live {
						f.net.lose(w.name, false)
						w.view.cut.Store(false)
					}
				}
			}
			for _, w := range live {
				f.net.lose(w.name, false)
				w.view.cut.Store(false)
			}
			time.Sleep(2 * time.Minute)
			f.longest()
			time.Sleep(20 * time.Second)
			if gap := f.longest(); gap > 2*time.Second {
				t.Errorf("seed %d: a shard is not read for %v when all is well; leases of workers: %v", seed, gap, f.owners())
			}
			stop()
			time.Sleep(3 * time.Second)
			for _, w := range live {
				w.wait()
			}
			for _, w := range crashed {
				w.stop()
				<-w.done
			}
			f.check(true)
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

// TestPeersStop stops workers of a fleet in order, the last two included.
func TestPeersStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 12)
		ws := f.startAll("a b c", 4, 4, 4)
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(10 * time.Second)
		f.longest()
		for i, w := range ws {
			w.wait()
			time.Sleep(10 * time.Second)
			if gap := f.longest(); i < 2 && gap > 1500*time.Millisecond {
				t.Errorf("a shard was not read for %v after %d had stopped", gap, i+1)
			}
			if i == 1 {
				stop()
				time.Sleep(2 * time.Second)
			}
			for _, o := range ws[i+1:] {
				if st := o.Stats(); st.PeerPauses != 0 || st.PeerDeaths != 0 {
					t.Errorf("%s: %d pauses, %d deaths", o.name, st.PeerPauses, st.PeerDeaths)
				}
			}
		}
		f.check(false)
	})
}

// TestPeersSameName restarts a worker that has crashed, under its name.
func TestPeersSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 6)
		ws := f.startAll("a b", 3, 3)
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(10 * time.Second)
		f.longest()
		f.crash(ws[1], false)
		time.Sleep(200 * time.Millisecond)
		f.net.revive("b")
		again := f.start("b")
		f.until(20*time.Second, "two share", f.shared(3, 3))
		time.Sleep(10 * time.Second)
		if gap := f.longest(); gap > 4*time.Second {
			t.Errorf("a shard was not read for %v", gap)
		}
		stop()
		time.Sleep(2 * time.Second)
		ws[0].wait()
		again.wait()
		ws[1].stop()
		<-ws[1].done
		f.check(true)
	})
}

// TestPeersMixed lets workers with and without peers share leases. One without
// may lead, and hears of nothing.
func TestPeersMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 12)
		plain := f.nativeFleet.start("p", consumer.Config{})
		ws := f.startAll("a b", 4, 4, 4)
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(15 * time.Second)
		f.longest()
		f.crash(ws[0], false)
		time.Sleep(15 * time.Second)
		if gap := f.longest(); gap > 10*time.Second {
			t.Errorf("a shard was not read for %v", gap)
		}
		if st := ws[1].Stats(); st.PeerDeaths != 1 {
			t.Errorf("%d deaths, %d pauses", st.PeerDeaths, st.PeerPauses)
		}
		stop()
		time.Sleep(2 * time.Second)
		plain.wait()
		ws[1].wait()
		ws[0].stop()
		<-ws[0].done
		f.check(true)
	})
}

func TestPeersConfig(t *testing.T) {
	for name, cfg := range map[string]consumer.Config{
		"ModeAuto only":        {Mode: consumer.ModeKCL2, PeerAddr: "127.0.0.1:0"},
		"meaning without Peer": {Mode: consumer.ModeNative, PeerAdvertiseAddr: "a:1"},
	} {
		_, err := consumer.New(newFakeStream(1, 1), memlease.New(), "app", "stream", func(*consumer.Shard) (consumer.Processor, error) { return nil, errFake }, cfg)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not say %q", err, name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := newPeerFleet(t, 1)
		if _, err := f.net.listen(t.Context(), "tcp", "a"); err != nil {
			t.Fatal(err)
		}
		w := f.start("a")
		<-w.done
		if !errors.Is(w.err, syscall.EADDRINUSE) || !strings.Contains(w.err.Error(), "choose another PeerAddr") {
			t.Errorf("Run: %v", w.err)
		}
		w.stop()
	})
}
