package crashtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/logcheck"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// rig is a store with one stream on a disk, for one fault at a time. Use it
// inside a bubble. What is wrong is returned, not reported.
type rig struct {
	disk   *vfstest.Disk
	opts   store.Options
	offset time.Duration // of the server's clock
	st     *store.Store
	clk    *clock.Clock
	id     uint64
	values int
	tick   time.Duration
	h      logcheck.History
}

var rigKey = state.StreamKey{Scope: scope, Name: "s"}

// newRig returns a rig with a running store and a stream of two shards.
func newRig(t *testing.T) (*rig, error) {
	r := &rig{disk: vfstest.NewDisk(), opts: store.Options{RingFiles: 3, RingBytes: 5 << 12}}
	t.Cleanup(func() { _ = r.close() }) // a test that ends well has done so
	if err := errors.Join(r.disk.MkdirAll(dataDir, 0o700), r.disk.SyncDir("/")); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	s, err := r.st.Command(context.Background(), state.CreateStream{Key: rigKey, ShardCount: 2, Mode: state.Provisioned, MaxRecordBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	r.id = s.ID
	return r, nil
}

func (r *rig) open() error {
	opts := r.opts
	opts.Dir, opts.FS, opts.Clock, opts.Logger = dataDir, r.disk, new(clock.Clock), slog.New(slog.DiscardHandler)
	opts.Clock.Advance(r.offset)
	st, err := store.Open(opts)
	if err != nil {
		opts.Clock.Close()
		return err
	}
	r.st, r.clk = st, opts.Clock
	return nil
}

// close ends the store in order.
func (r *rig) close() error {
	if r.st == nil {
		return nil
	}
	err := r.st.Close()
	r.clk.Close()
	r.st = nil
	return err
}

// kill ends the process: the next one finds the disk as it is.
func (r *rig) kill() {
	next := r.disk.TakeOver()
	_ = r.close() // its disk is gone
	r.disk = next
}

// cut ends the process and the power.
func (r *rig) cut(seed uint64, percent int) {
	next := r.disk.Cut(rand.New(rand.NewPCG(seed, 0)), percent)
	r.disk.PowerOff()
	_ = r.close() // its disk is gone
	r.disk = next
}

func (r *rig) now() time.Duration { r.tick++; return r.tick }

// put puts count records of about the given size, in one request.
func (r *rig) put(count, size int) error {
	if r.st == nil {
		return errNotOpen
	}
	var recs []store.Record
	first := len(r.h.Puts)
	for range count {
		r.values++
		key, value := fmt.Sprint("key", r.values), fmt.Sprintf("v%d", r.values)
		hash := hashkey.Of(key)
		recs = append(recs, store.Record{PartitionKey: key, Data: fill(value, size), HashKey: hash})
		r.h.Puts = append(r.h.Puts, logcheck.Put{Value: value, Hash: hash.Bytes(), Start: r.now()})
	}
	stored, err := r.st.Put(context.Background(), r.id, recs)
	end := r.now()
	for i := range recs {
		p := &r.h.Puts[first+i]
		p.End = end
		switch {
		case err == nil:
			n := seqno.Number{Create: stored[i].Create, Shard: uint32(stored[i].Shard), Index: stored[i].Index, Time: stored[i].Second}
			p.Outcome, p.Shard, p.Seq = logcheck.Acked, state.ShardID(stored[i].Shard), n.String()
		case errors.Is(err, store.ErrFull):
			p.Outcome = logcheck.Refused
		}
	}
	return err
}

// check reads all that is there and holds it against what is known. What it saw
// must be there for ever.
func (r *rig) check() error {
	h, reads, err := r.look()
	if err != nil {
		return err
	}
	if bad := h.Check(); len(bad) > 0 {
		return errors.New(logcheck.Describe(bad))
	}
	r.h.Reads = append(r.h.Reads, reads...)
	return nil
}

func (r *rig) look() (*logcheck.History, []logcheck.Read, error) {
	if r.st == nil {
		return nil, nil, errNotOpen
	}
	s, ok := r.st.StreamByID(r.id)
	if !ok {
		return nil, nil, errors.New("the stream is not there")
	}
	h := &logcheck.History{Puts: r.h.Puts, Reads: r.h.Reads, Final: make(map[string][]logcheck.Record)}
	var reads []logcheck.Read
	for i := range s.Shards {
		sh := describeShard(s, i)
		h.Shards = append(h.Shards, sh)
		all := logcheck.Read{Shard: sh.ID, Start: r.now(), Tip: true}
		for after := ""; ; {
			page, err := readPage(r.st, r.id, i, after, 50)
			if err != nil {
				return nil, nil, fmt.Errorf("%w: %s behind %q: %w", errRead, sh.ID, after, err)
			}
			if len(page.Records) == 0 {
				break
			}
			all.Records = append(all.Records, page.Records...)
			after = page.Records[len(page.Records)-1].Seq
		}
		all.End = r.now()
		h.Final[sh.ID] = all.Records
		reads = append(reads, all)
	}
	return h, reads, nil
}

var (
	errRead    = errors.New("a read failed")
	errNotOpen = errors.New("the store is not open")
)

// load does some of everything that writes to the disk: records of all sizes in
// requests of all sizes, a split, and pauses in which snapshots are written.
func (r *rig) load() error {
	var errs []error
	for i := range 14 {
		errs = append(errs, r.put(1+i%3, []int{10, 900, 40, 5000}[i%4]))
		if i%4 == 3 {
			synctest.Wait() // a snapshot may be under way
		}
		if i == 7 {
			_, err := r.st.Command(context.Background(), state.SplitShard{Key: rigKey, Shard: 0, NewStartingHash: hashkey.Key{Hi: 1 << 61}})
			errs = append(errs, err)
		}
	}
	synctest.Wait()
	return errors.Join(errs...)
}

// contents is everything that a reader of the store can see, as text.
func (r *rig) contents() (string, error) {
	h, _, err := r.look()
	if err != nil {
		return "", err
	}
	s, _ := r.st.StreamByID(r.id)
	secret := r.st.Secret()
	var b strings.Builder
	fmt.Fprintf(&b, "secret %x\n%s\n", secret, describe(s))
	ids := make([]string, 0, len(h.Final))
	for id := range h.Final {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		for _, rec := range h.Final[id] {
			fmt.Fprintf(&b, "%s %s %s %d\n", id, rec.Seq, rec.Value, rec.Arrival.UnixMilli())
		}
	}
	return b.String(), nil
}
