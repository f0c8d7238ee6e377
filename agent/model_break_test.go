package agent_test

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

// brokenRule is a rule that the agent of a program breaks, by what it is given: its sink,
// its file system, its configuration or its positions.
type brokenRule struct {
	name   string
	every  uint64 // seeds that may find it are those that it divides; zero: all
	within uint64 // so many of them find it
	want   string // what is found

	cfg    func(*agent.FlowConfig)
	fs     func(vfs.FS) vfs.FS
	sink   func(agent.Sink) agent.Sink
	before func(*program)                       // each start but the first
	told   func(string) (agent.Delivery, error) // what drained says of a path
	counts func(*agent.FlowStatus)
}

func (b brokenRule) give(p *program) {
	p.broken = b
	if b.cfg != nil {
		b.cfg(&p.cfg.Flows[0])
	}
	if b.fs != nil {
		p.cfg.FS = b.fs(p.cfg.FS)
	}
	if b.sink != nil {
		open := p.wrap
		p.wrap = func(s *stream) agent.Sink { return b.sink(open(s)) }
	}
}

// putFunc is a sink that puts batches in another way.
type putFunc struct {
	agent.Sink
	put func(ctx context.Context, sink agent.Sink, recs []producer.UserRecord, done func(producer.BatchResult)) error
}

func (s putFunc) PutBatch(ctx context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	return s.put(ctx, s.Sink, recs, done)
}

// results changes what becomes of batches.
func results(change func(*producer.BatchResult)) func(agent.Sink) agent.Sink {
	return func(sink agent.Sink) agent.Sink {
		return putFunc{sink, func(ctx context.Context, sink agent.Sink, recs []producer.UserRecord, done func(producer.BatchResult)) error {
			return sink.PutBatch(ctx, recs, func(res producer.BatchResult) {
				change(&res)
				done(res)
			})
		}}
	}
}

// all returns that all the records were taken.
func all(recs []producer.UserRecord) producer.BatchResult {
	return producer.BatchResult{Records: len(recs)}
}

// highest acknowledges with a batch all that were put before it.
func highest(sink agent.Sink) agent.Sink {
	var mu sync.Mutex
	var waiting []*func() // in the order in which they were put
	return putFunc{sink, func(ctx context.Context, sink agent.Sink, recs []producer.UserRecord, done func(producer.BatchResult)) error {
		res := all(recs)
		this := new(func() { done(res) })
		mu.Lock()
		waiting = append(waiting, this)
		mu.Unlock()
		err := sink.PutBatch(ctx, recs, func(producer.BatchResult) {
			mu.Lock()
			n := slices.Index(waiting, this) + 1
			now := slices.Clone(waiting[:n])
			waiting = slices.Delete(waiting, 0, n)
			mu.Unlock()
			for _, f := range now {
				(*f)()
			}
		})
		if err != nil {
			mu.Lock()
			waiting = slices.DeleteFunc(waiting, func(f *func()) bool { return f == this })
			mu.Unlock()
		}
		return err
	}}
}

// fileFunc is a file system whose files are others.
type fileFunc struct {
	vfs.FS
	file func(f vfs.File) vfs.File
}

func (s fileFunc) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil || flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		return f, err
	}
	return s.file(f), nil
}

// shortFile seems to end where it was last read once its name is another's, or nobody's.
type shortFile struct {
	vfs.File
	mu   sync.Mutex
	read int64 // guarded by mu
}

type sizedInfo struct {
	fs.FileInfo
	size int64
}

func (i sizedInfo) Size() int64 { return i.size }

func (f *shortFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = max(f.read, off+int64(n))
	return n, err
}

func (f *shortFile) Stat() (fs.FileInfo, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now, err := os.Stat(f.Name()); err != nil || !os.SameFile(now, fi) {
		return sizedInfo{fi, min(fi.Size(), f.read)}, nil
	}
	return fi, nil
}

type unclosed struct{ vfs.File }

func (f unclosed) Close() error {
	if strings.HasSuffix(f.Name(), ".1") {
		return nil
	}
	return f.File.Close()
}

// positions changes what is stored: it deletes those positions of which change says so.
func (p *program) positions(change func(*position.Entry) (gone bool)) {
	store, err := position.Open(p.cfg.FS, p.cfg.CheckpointFile)
	p.check(err)
	for _, e := range store.All() {
		if e.UID == 0 {
			continue
		}
		if change(&e) {
			store.Delete(e.Flow, e.UID)
		} else {
			store.Put(e)
		}
	}
	p.check(store.Close())
}

var brokenRules = []brokenRule{
	{
		name: "commits before the acknowledgement", within: 5, want: "are not acknowledged",
		sink: func(sink agent.Sink) agent.Sink {
			return putFunc{sink, func(ctx context.Context, sink agent.Sink, recs []producer.UserRecord, done func(producer.BatchResult)) error {
				res := all(recs)
				err := sink.PutBatch(ctx, recs, func(producer.BatchResult) {})
				if err == nil {
					done(res)
				}
				return err
			}}
		},
	},
	{name: "commits the highest acknowledgement", within: 40, want: "are not acknowledged", sink: highest},
	{
		name: "gives up what the stream refuses", every: 7, within: 10, want: "never arrived",
		sink: results(func(res *producer.BatchResult) { res.Failed = nil }),
	},
	{
		name: "sends a batch again of which a record was refused", every: 7, within: 10, want: "were sent again",
		sink: results(func(res *producer.BatchResult) {
			if len(res.Failed) == 0 {
				return
			}
			res.Failed = nil
			for i := range res.Records {
				res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: errRefused})
			}
		}),
	},
	{
		name: "lets a batch overtake those before it", within: 20, want: "came after",
		sink: func(sink agent.Sink) agent.Sink {
			var n int // a flow has one sender
			return putFunc{sink, func(ctx context.Context, sink agent.Sink, recs []producer.UserRecord, done func(producer.BatchResult)) error {
				if n++; n%2 == 0 {
					return sink.PutBatch(ctx, recs, done)
				}
				recs = slices.Clone(recs)
				for i := range recs {
					recs[i].Data = slices.Clone(recs[i].Data)
				}
				time.AfterFunc(time.Second, func() {
					if err := sink.PutBatch(ctx, recs, done); err != nil {
						done(producer.BatchResult{Records: len(recs), Failed: []producer.FailedRecord{{Err: err}}})
					}
				})
				return nil
			}}
		},
	},
	{
		name: "closes a rotated file before its rest is read", within: 100, want: "never arrived",
		fs: func(under vfs.FS) vfs.FS {
			return fileFunc{under, func(f vfs.File) vfs.File { return &shortFile{File: f} }}
		},
	},
	{
		name: "leaves files open", within: 5, want: "files are open after the end",
		fs: func(under vfs.FS) vfs.FS {
			return fileFunc{under, func(f vfs.File) vfs.File { return unclosed{f} }}
		},
	},
	{
		name: "does not compare what a file holds after a restart", within: 60, want: "never arrived",
		before: func(p *program) {
			p.positions(func(e *position.Entry) bool {
				e.Prefix, e.Marker = tail.Print{}, tail.Print{}
				return false
			})
		},
	},
	{
		name: "forgets a file at once that is not where it was", within: 20, want: "were sent again",
		before: func(p *program) {
			p.positions(func(e *position.Entry) bool {
				fi, err := os.Stat(e.Path)
				return err != nil || tail.IDOf(e.Path, fi) != e.ID
			})
		},
	},
	{
		name: "never stores its positions", within: 15, want: "were sent again",
		before: func(p *program) { p.positions(func(*position.Entry) bool { return true }) },
	},
	{
		name: "says of any file that it is drained", within: 5, want: "bytes are pending",
		told: func(path string) (agent.Delivery, error) {
			fi, err := os.Stat(path)
			if err != nil {
				return agent.Delivery{}, err
			}
			return agent.Delivery{Path: path, Size: fi.Size()}, nil
		},
	},
	{
		name: "counts no lost bytes", within: 120, want: "were lost, 0 are counted",
		counts: func(s *agent.FlowStatus) { s.LostBytes = nil },
	},
	{
		name: "leaves compressed files alone", within: 120, want: "never arrived",
		cfg: func(f *agent.FlowConfig) { f.SkipRotatedGzip = true },
	},
	{
		name: "sends a line before its end is written", within: 20, want: "was never written",
		cfg: func(f *agent.FlowConfig) { f.FlushPartial = time.Millisecond },
	},
	{
		name: "ends a record of several lines where the file ends", within: 20, want: "was never written",
		cfg: func(f *agent.FlowConfig) { f.MultiLineFlush = time.Millisecond },
	},
	{
		name: "begins at the ends of files", within: 10, want: "never arrived",
		cfg: func(f *agent.FlowConfig) { f.StartOfFile = false },
	},
}

// TestModelFindsBrokenRules breaks rules, one at a time: within so many seeds each is
// found.
func TestModelFindsBrokenRules(t *testing.T) {
	for _, b := range brokenRules {
		t.Run(b.name, func(t *testing.T) {
			others := ""
			for n := range b.within {
				seed := (n + 1) * max(b.every, 1)
				for _, p := range play(t, seed, nil, b.give).problems {
					if strings.Contains(p.text, b.want) {
						t.Logf("found by seed %d: %s", seed, p.text)
						return
					}
					others = p.text
				}
			}
			t.Errorf("not found by %d seeds; instead: %q", b.within, others)
		})
	}
}
