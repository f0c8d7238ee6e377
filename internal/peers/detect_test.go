package peers_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestProcessDeath(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 12, 50} {
		t.Run(fmt.Sprint(n, " workers"), func(t *testing.T) {
			for seed := range uint64(max(1, 3-n/10)) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, seed)
					defer f.close()
					f.startAll(n)
					time.Sleep(8*time.Second + time.Duration(seed*83)*time.Millisecond)
					w := f.workers["w01"]
					if got, want := len(w.mesh.Watchers()), min(n-1, 3); got != want {
						t.Fatalf("%d watchers, want %d", got, want)
					}
					watchers := len(w.mesh.Watchers())
					at := time.Now()
					f.kill("w01")
					time.Sleep(3 * time.Second)
					ds := f.deathsOf("w01")
					if len(ds) != watchers {
						t.Errorf("seed %d: %d verdicts of %d watchers", seed, len(ds), watchers)
					}
					for _, d := range ds {
						if took := d.at.Sub(at); took >= 600*time.Millisecond || d.Silent || d.Incarnation != w.self.Incarnation || d.Term != 1 {
							t.Errorf("seed %d: %+v after %v", seed, d.Verdict, took)
						}
					}
				})
			}
		})
	}
}

func TestHostLoss(t *testing.T) {
	for _, n := range []int{2, 3, 4, 12, 50} {
		t.Run(fmt.Sprint(n, " workers"), func(t *testing.T) {
			for seed := range uint64(max(1, 3-n/10)) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, seed)
					defer f.close()
					f.startAll(n)
					time.Sleep(8*time.Second + time.Duration(seed*83)*time.Millisecond)
					watchers := f.workers["w01"].mesh.Watchers()
					f.workers["w01"].cutAt = true
					at := time.Now()
					f.isolate("w01", true)
					time.Sleep(2600 * time.Millisecond)
					if f.workers["w01"].mesh.Active() {
						t.Error("the lost host is active")
					}
					by := map[string]bool{}
					for _, d := range f.deathsOf("w01") {
						by[d.by] = true
						if took := d.at.Sub(at); took < 1200*time.Millisecond || !d.Silent {
							t.Errorf("seed %d: %+v after %v", seed, d, took)
						}
					}
					if len(by) != len(watchers) {
						t.Errorf("seed %d: %d verdicts of %d watchers", seed, len(by), len(watchers))
					}
					f.mu.Lock()
					f.workers["w01"].alive, f.workers["w01"].cutAt = false, false
					f.mu.Unlock()
				})
			}
		})
	}
}
