package logappender_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
)

func TestFlushOnLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(storeLater)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{Linger: time.Hour})
		fatal := slog.LevelError + 8
		l := slog.New(p.FlushOnLevel(p.Handler(nil), fatal)).With("a", 1).WithGroup("g")
		start := time.Now()
		l.Error("goes on", "b", 2)
		if took := time.Since(start); took > 0 || len(s.lines()) > 0 {
			t.Errorf("an error took %v", took)
		}
		l.Log(t.Context(), fatal, "last word", "c", 3)
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("the last word took %v, want the time of its delivery", took)
		}
		got := s.lines()
		if len(got) != 2 || !strings.Contains(got[1], `"msg":"last word","a":1,"g":{"c":3}`) {
			t.Errorf("stored %q", got)
		}
		s.set(hang)
		l.Log(t.Context(), fatal, "not delivered")
		if st := p.Stats(); st.Saved != 1 {
			t.Errorf("not on disk: %+v", st)
		}
		p.end(time.Second)
	})
}
