package store_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// copyDir copies a data directory as a crash of the process would leave it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	for {
		to, before := t.TempDir(), names(t, from)
		err := copyInto(to, from)
		if err == nil && slices.Equal(names(t, from), before) {
			return to
		}
		// A checkpoint was at it while the copy was: no moment had been like what
		// was copied.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// names returns what lies in a directory and below.
func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func copyInto(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return err
		}
		_, err = io.Copy(dst, src)
		return errors.Join(err, dst.Close())
	})
}

// What was acknowledged is there after a crash at any moment, once, in order,
// under its number; a small ring makes checkpoints part of the test.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	small := store.Options{RingFiles: 3, RingBytes: 16 << 10}
	r := rand.New(rand.NewPCG(7, 7))
	acked := make(map[string]store.Stored)
	n := 0
	var retired []*fixture
	for round := range 25 {
		opts := small
		opts.Dir = dir
		f := open(t, opts)
		retired = append(retired, f)
		s, ok := f.Stream(key("s"))
		if !ok {
			s = f.create("s", 2)
		}
		found := make(map[string]bool)
		for shard := range s.Shards {
			prev := uint64(0)
			for _, rec := range f.all(s, shard, state.Position{}) {
				d := string(rec.Data)
				if found[d] {
					t.Fatalf("round %d: %q is there twice", round, d)
				}
				found[d] = true
				if rec.Index <= prev {
					t.Fatalf("round %d: index %d after %d", round, rec.Index, prev)
				}
				prev = rec.Index
				if a, ok := acked[d]; !ok || a.Shard != shard || a.Index != rec.Index {
					t.Fatalf("round %d: %q is at %d of shard %d, acknowledged as %+v", round, d, rec.Index, shard, a)
				}
				if got := s.Shards[shard].Number(rec.Index, rec.Arrival).Time; got != acked[d].Second {
					t.Fatalf("round %d: %q has second %d, acknowledged with %d", round, d, got, acked[d].Second)
				}
			}
		}
		if len(found) != len(acked) {
			t.Fatalf("round %d: %d of %d acknowledged records are there", round, len(found), len(acked))
		}
		var mu sync.Mutex
		var writers sync.WaitGroup
		for range 4 {
			seed := r.Uint64()
			writers.Go(func() {
				r := rand.New(rand.NewPCG(seed, 0))
				for range 10 {
					mu.Lock()
					var recs []store.Record
					for range 1 + r.IntN(5) {
						n++
						recs = append(recs, record(fmt.Sprint("k", r.IntN(20)), fmt.Sprintf("%d:%s", n, strings.Repeat("z", r.IntN(60)))))
					}
					mu.Unlock()
					stored := f.put(s, recs...)
					mu.Lock()
					for i, st := range stored {
						acked[string(recs[i].Data)] = st
					}
					mu.Unlock()
				}
			})
		}
		writers.Wait()
		if round%3 == 0 {
			cur, _ := f.Stream(s.Key)
			f.must(state.UpdateShardCount{Key: s.Key, Target: 1 + len(cur.Open())%4})
		}
		dir = copyDir(t, dir) // f goes on, as far as the copy is concerned it is dead
	}
	for _, f := range retired {
		f.close()
	}
}

func TestSecretStays(t *testing.T) {
	dir := t.TempDir()
	f := open(t, store.Options{Dir: dir})
	secret := f.Secret()
	f.close()
	f = open(t, store.Options{Dir: dir})
	defer f.close()
	if f.Secret() != secret || secret == ([32]byte{}) {
		t.Error("the secret changed with a restart")
	}
}
