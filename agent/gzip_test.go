package agent_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// packed returns the content of a file, compressed.
func (w *world) packed(name string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(w.path(name))
	w.check(err)
	var z bytes.Buffer
	gz := gzip.NewWriter(&z)
	_, err = gz.Write(b)
	w.check(errors.Join(err, gz.Close()))
	return z.Bytes()
}

// unreadInGzip leaves a file of which the store knows that much is not delivered, and
// then only its compressed form is there. It returns how much, and that form.
func unreadInGzip(w *world) (unread int64, z []byte) {
	w.t.Helper()
	w.lines("app.log", 100)
	w.start()
	w.settle(2 * time.Second)
	read, err := os.Stat(w.path("app.log"))
	w.check(err)
	w.sink.keep()
	w.lines("app.log", 1000)
	w.settle(3 * time.Second)
	w.kill()
	whole, err := os.Stat(w.path("app.log"))
	w.check(err)
	z = w.packed("app.log")
	w.remove("app.log")
	return whole.Size() - read.Size(), z
}

// A compressed file that is broken off, and is written to no more, must not keep what
// is lost from being counted.
func TestBrokenGzip(t *testing.T) {
	bubble(t, agent.FlowConfig{FilePattern: "app.log"}, func(w *world) {
		unread, z := unreadInGzip(w)
		w.check(os.WriteFile(w.path("app.log.1.gz"), z[:len(z)/2], 0o600))
		w.start()
		w.settle(3 * time.Minute)
		if got := w.status().LostBytes["missing"]; got != uint64(unread) {
			t.Errorf("%d bytes are counted as missing, want %d", got, unread)
		}
		w.verify(0)
		w.stopped()
	})
}

// As long as it grows it is waited for, however slow that is.
func TestSlowGzip(t *testing.T) {
	bubble(t, agent.FlowConfig{FilePattern: "app.log"}, func(w *world) {
		_, z := unreadInGzip(w)
		const parts = 10
		step := (len(z) + parts - 1) / parts
		w.write("app.log.1.gz", string(z[:step]))
		w.start()
		for i := step; i < len(z); i += step {
			w.settle(20 * time.Second)
			w.write("app.log.1.gz", string(z[i:min(len(z), i+step)]))
		}
		w.settle(time.Minute)
		if n := lostBytes(w.status()); n > 0 || w.status().Rotations["compress"] != 1 {
			t.Errorf("%d bytes are counted as lost; rotations %v", n, w.status().Rotations)
		}
		w.verify(1000) // what was not acknowledged arrives again
		w.stopped()
	})
}
