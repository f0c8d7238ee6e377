package agent_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
)

var reloadSeeds = flag.Int("reload-seeds", 1, "histories of TestReloadUnderLoad")

// TestReloadUnderLoad changes the configuration of an agent again and again while files
// are written to and rotated and the stream is slow: flows come, go, and have other
// settings or another stream, and some configurations are wrong. Every line arrives once,
// the flows that are the same are not touched, and the metric says whether the last
// configuration was taken.
func TestReloadUnderLoad(t *testing.T) {
	for seed := range *reloadSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { reloadUnderLoad(t, uint64(seed)) })
		})
	}
}

// reloads is how often each history changes the configuration.
const reloads = 25

func reloadUnderLoad(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	r := newReloader(t)
	var mu sync.Mutex // guards delays
	delays := rand.New(rand.NewPCG(seed, 2))
	for _, name := range []string{"s0", "s1", "s2"} {
		r.sinks[name] = &stream{delay: func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return time.Duration(delays.IntN(30)) * time.Millisecond
		}}
	}
	// Of each flow that there is, by its file: what is said of it.
	flows := make(map[string]string)
	said := func() string {
		return fmt.Sprintf(`"kinesisStream": "s%d", "maxBufferAgeMillis": %d`, rng.IntN(3), 1000*(1+rng.IntN(2)))
	}
	files := []string{"a", "b", "c", "d"}
	for _, file := range files {
		flows[file] = said()
	}
	config := func(flows map[string]string) string {
		var list []string
		for _, file := range slices.Sorted(maps.Keys(flows)) {
			list = append(list, fmt.Sprintf(`{"filePattern": %q, "id": %q, "initialPosition": "START_OF_FILE", "minTimeBetweenFilePollsMillis": 10, %s}`,
				filepath.Join(r.dir, file+".log*"), file, flows[file]))
		}
		return fmt.Sprintf(`{"checkpointFile": %q, "flows": [%s]}`, filepath.Join(r.dir, "checkpoints"), strings.Join(list, ",\n"))
	}

	cfg, err := r.loadText(config(flows))
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(cfg, r.open)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w := &world{t: t, a: a}

	written := make(chan int, len(files))
	stop := make(chan struct{})
	for i, file := range files {
		go func() { written <- r.keepWriting(file, rand.New(rand.NewPCG(seed, uint64(10+i))), stop) }()
	}

	taken, wrong := 0, 0
	for range reloads {
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		next := maps.Clone(flows)
		for _, file := range files {
			switch rng.IntN(6) {
			case 0:
				next[file] = said()
			case 1:
				delete(next, file)
			case 2:
				if next[file] == "" {
					next[file] = said()
				}
			}
		}
		if len(next) == 0 {
			next["a"] = said()
		}
		text := config(next)
		bad := rng.IntN(3) == 0
		if bad {
			switch rng.IntN(4) {
			case 0:
				text = text[:len(text)/2]
			case 1:
				text = strings.Replace(text, "START_OF_FILE", "MIDDLE_OF_FILE", 1)
			case 2:
				text = strings.Replace(text, `"kinesisStream": "s`, `"kinesisStream": "", "id": "s`, 1)
			case 3:
				next["new"] = said()
				text = config(next)
				r.fail = errors.New("no sink")
			}
		}
		want := reloadedTo(flows, next)
		got, err := r.reload(ctx, a, text)
		r.fail = nil
		switch success := w.values()["config_reload_success"]; {
		case bad && (err == nil || success != 0):
			t.Errorf("a wrong configuration: error %v, config_reload_success %v", err, success)
		case !bad && (err != nil || success != 1):
			t.Errorf("a right configuration: error %v, config_reload_success %v", err, success)
		case !bad && fmt.Sprint(got) != fmt.Sprint(want):
			t.Errorf("reloaded %+v, want %+v", got, want)
		}
		if bad {
			wrong++
			continue
		}
		taken++
		flows = next
		for i, f := range a.Status().Flows {
			if f.ID != slices.Sorted(maps.Keys(flows))[i] {
				t.Errorf("flow %s runs, want %v", f.ID, slices.Sorted(maps.Keys(flows)))
			}
		}
	}
	close(stop)
	lines := 0
	for range files {
		lines += <-written
	}
	for _, file := range files {
		if flows[file] == "" {
			flows[file] = said()
		}
	}
	if _, err := r.reload(ctx, a, config(flows)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second)
	for _, f := range a.Status().Flows {
		if f.BehindBytes != 0 || lostBytes(f) != 0 {
			t.Errorf("flow %s at rest: %d bytes behind, lost %v", f.ID, f.BehindBytes, f.LostBytes)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.onceEach(lines)
	if taken < 10 || wrong < 3 || lines < 3000 {
		t.Errorf("%d configurations were taken, %d were not, and %d lines written: too few for a test", taken, wrong, lines)
	}
}

// reloadedTo is what a change of flows comes to.
func reloadedTo(from, to map[string]string) (r agent.Reloaded) {
	for _, file := range slices.Sorted(maps.Keys(to)) {
		switch {
		case from[file] == "":
			r.Added = append(r.Added, file)
		case from[file] != to[file]:
			r.Changed = append(r.Changed, file)
		default:
			r.Kept = append(r.Kept, file)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(from)) {
		if to[file] == "" {
			r.Removed = append(r.Removed, file)
		}
	}
	return r
}

// reload does what the command does when the configuration has changed.
func (r *reloader) reload(ctx context.Context, a *agent.Agent, text string) (agent.Reloaded, error) {
	var what agent.Reloaded
	cfg, err := r.loadText(text)
	if err == nil {
		what, err = a.Reload(ctx, cfg, r.open)
	}
	a.ReloadFailed(err)
	return what, err
}

// keepWriting appends lines to a file, and rotates it now and then, until stop is closed.
// It returns how many.
func (r *reloader) keepWriting(file string, rng *rand.Rand, stop <-chan struct{}) (lines int) {
	for rotations := 0; ; {
		select {
		case <-stop:
			return lines
		case <-time.After(time.Duration(1+rng.IntN(10)) * time.Millisecond):
		}
		var b strings.Builder
		for range 1 + rng.IntN(20) {
			fmt.Fprintf(&b, "%s %06d\n", file, lines)
			lines++
		}
		r.write(file+".log", b.String())
		if rng.IntN(40) == 0 {
			rotations++
			path := filepath.Join(r.dir, file+".log")
			if err := os.Rename(path, fmt.Sprintf("%s.%d", path, rotations)); err != nil {
				r.t.Error(err)
			}
		}
	}
}

// onceEach checks that so many different lines arrived, and none twice.
func (r *reloader) onceEach(lines int) {
	r.t.Helper()
	arrived := make(map[string]int)
	for _, s := range r.sinks {
		for _, rec := range s.records() {
			arrived[string(rec.Data)]++
		}
	}
	twice := 0
	for line, n := range arrived {
		if n > 1 {
			if twice++; twice <= 5 {
				r.t.Errorf("arrived %d times: %q", n, line)
			}
		}
	}
	if len(arrived) != lines || twice > 0 {
		r.t.Errorf("%d lines arrived, %d of them more than once; %d were written", len(arrived), twice, lines)
	}
}
