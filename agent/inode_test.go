package agent_test

import (
	"os"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// reuse makes a file of the inode that an empty one had. It is the empty one itself,
// so that it is the same on every file system.
func (w *world) reuse(empty, name, text string) {
	w.t.Helper()
	w.rename(empty, name)
	w.write(name, text)
}

// The inode of an empty file that is done with goes to one that is written to: its
// last line may still get its end.
func TestInodeOfAnEmptyRotatedFile(t *testing.T) {
	bubble(t, agent.FlowConfig{RotateWait: time.Second}, func(w *world) {
		w.write("app.log", "")
		w.start()
		w.settle(time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 5)
		w.settle(5 * time.Second)
		w.rename("app.log", "app.log.2")
		line := w.line()
		w.want = append(w.want, line)
		w.reuse("app.log.1", "app.log", line[:10])
		w.settle(5 * time.Second)
		w.write("app.log", line[10:])
		w.settle(5 * time.Second)
		w.verify(0)
		w.stopped()
	})
}

// While the agent does not run, a copy of a file gets the inode of one that was
// empty. It is known by what it holds.
func TestInodeOfAnEmptyFileInACopy(t *testing.T) {
	bubble(t, agent.FlowConfig{RotateWait: time.Second}, func(w *world) {
		w.write("app.log.other", "")
		w.lines("app.log", 50)
		w.start()
		w.settle(5 * time.Second)
		w.stopped()
		b, err := os.ReadFile(w.path("app.log"))
		w.check(err)
		w.reuse("app.log.other", "app.log.1", string(b))
		w.truncate("app.log")
		w.lines("app.log", 5)
		w.start()
		w.settle(30 * time.Second)
		w.verify(0)
		w.stopped()
	})
}
