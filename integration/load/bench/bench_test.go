package bench_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/integration/load/bench"
	"github.com/streamkit/streamkit/integration/load/gen"
)

// rates are results with these rates.
func rates(each ...int64) []gen.Result {
	var out []gen.Result
	for _, n := range each {
		out = append(out, gen.Result{Count: n, Elapsed: time.Second, CPU: time.Second, P50: time.Millisecond, P99: 2 * time.Millisecond, RSS: 10 << 20})
	}
	return out
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name    string
		target  bench.Target
		ours    []gen.Result
		caps    []gen.Result
		yard    []gen.Result
		verdict string
		wanted  string
	}{
		{"no target", bench.Target{}, rates(1), rates(2), nil, "-", "-"},
		{"share met exactly", bench.Target{Share: 0.5}, rates(500), rates(1000), nil, "met", ">= 50% of cap"},
		// By pairs 50, 20 and 90 %: the ratio of the medians would be 45 %.
		{"share of pairs", bench.Target{Share: 0.5}, rates(500, 200, 450), rates(1000, 1000, 500), nil, "met", ">= 50% of cap"},
		{"share missed", bench.Target{Share: 0.5}, rates(499), rates(1000), nil, "missed: 49.9% of cap", ">= 50% of cap"},
		{"several", bench.Target{Rate: 2000, P99: time.Millisecond, CPU: 2 * time.Millisecond}, rates(1000), nil, nil, "missed: 1 k/s, p99 2 ms", ">= 2 k/s, CPU <= 2 ms, p99 <= 1 ms"},
		{"memory", bench.Target{RSS: 9 << 20}, rates(0), nil, nil, "missed: RSS 10 MB", "RSS <= 9 MB"},
		{"idle", bench.Target{Busy: 0.5}, rates(0), nil, nil, "missed: CPU 100%", "CPU <= 50%"},
		{"no CPU time while idle", bench.Target{Busy: 0.5, RSS: 1}, []gen.Result{{RSS: 1, Elapsed: time.Second}}, nil, nil, "met", "RSS <= 0 MB, CPU <= 50%"},
		{"no cap", bench.Target{Share: 0.5}, rates(500), nil, nil, "-", ">= 50% of cap"},
		{"process of others", bench.Target{CPU: 1, Busy: 1, RSS: 1}, []gen.Result{{Count: 1, Elapsed: 1}}, nil, nil, "-", "CPU <= 0.001 us, RSS <= 0 MB, CPU <= 100%"},
		// A machine that is half as fast as the one where the target was set: what
		// counts is CPU in its null calls, and by pairs, as the machine drifts.
		{
			"yardstick met",
			bench.Target{Rate: 2000, CPU: time.Millisecond / 2, At: &bench.Yardstick{CPU: time.Millisecond / 8, Rate: 8000}},
			rates(1000, 500), nil, rates(4000, 2000), "met", ">= 25% of null PutRecords/s (2 k/s where set), CPU <= 4 null PutRecords (500 us where set)",
		},
		{
			"yardstick missed",
			bench.Target{Rate: 2000, CPU: time.Millisecond / 2, At: &bench.Yardstick{CPU: time.Millisecond / 8, Rate: 8000}},
			rates(1000), nil, rates(5000), "missed: 20% of null PutRecords/s, CPU 5 null PutRecords", ">= 25% of null PutRecords/s (2 k/s where set), CPU <= 4 null PutRecords (500 us where set)",
		},
		{"no yardstick", bench.Target{CPU: 1, At: &bench.Yardstick{CPU: 1, Rate: 1}}, rates(1000), nil, nil, "-", "CPU <= 1 null PutRecords (0.001 us where set)"},
		{"start", bench.Target{Start: time.Second}, []gen.Result{{StartTime: 30 * time.Millisecond}}, nil, nil, "met", "start <= 1 s"},
	} {
		o := bench.Outcome{Row: bench.Row{Target: tt.target}, Ours: tt.ours, Caps: tt.caps, Yard: tt.yard}
		if got := o.Verdict(); got != tt.verdict {
			t.Errorf("%s: verdict %q, want %q", tt.name, got, tt.verdict)
		}
		if got := o.Wanted(); got != tt.wanted {
			t.Errorf("%s: target %q, want %q", tt.name, got, tt.wanted)
		}
	}
	o := bench.Outcome{Row: bench.Row{Target: bench.Target{Share: 1}}, NotServed: true}
	if got := o.Verdict(); got != "not served" {
		t.Errorf("verdict %q of a row that is not served", got)
	}
	o.Err = errors.New("broken")
	if got := o.Verdict(); got != "failed: broken" {
		t.Errorf("verdict %q of a row that failed", got)
	}
}

func TestShare(t *testing.T) {
	o := bench.Outcome{Ours: rates(100, 400), Caps: rates(1000, 1000)}
	if got := o.Share(); got != (bench.Spread{Median: 0.25, Min: 0.1, Max: 0.4}) {
		t.Errorf("%+v", got)
	}
}

// A limit is compared by records if it has any, else by bytes.
func TestShareOfALimit(t *testing.T) {
	ours := []gen.Result{{Count: 100, Bytes: 5000, Elapsed: time.Second}, {Count: 200, Bytes: 10000, Elapsed: time.Second}}
	o := bench.Outcome{
		Row: bench.Row{Limits: []bench.Limit{{Name: "records", Share: 0.5}, {Name: "bytes", Share: 0.1}}}, Ours: ours,
		Beside: [][]gen.Result{
			{{Count: 400, Bytes: 1, Elapsed: time.Second}, {Count: 400, Bytes: 1, Elapsed: time.Second}},
			{{Bytes: 20000, Elapsed: time.Second}, {Bytes: 10000, Elapsed: time.Second / 2}},
		},
	}
	for i, want := range []bench.Spread{{Median: 0.375, Min: 0.25, Max: 0.5}, {Median: 0.375, Min: 0.25, Max: 0.5}} {
		if got := o.ShareOf(i); got != want {
			t.Errorf("%s: %+v, want %+v", o.Limits[i].Name, got, want)
		}
	}
	if got, want := o.Verdict(), "missed: 37.5% of records"; got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
	if got, want := o.Wanted(), ">= 50% of records, >= 10% of bytes"; got != want {
		t.Errorf("target %q, want %q", got, want)
	}
}

func TestParseUsage(t *testing.T) {
	stat := "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 12345 1000 200"
	status := "Name:\ta\nVmHWM:\t  20480 kB\nVmRSS:\t  10240 kB\nThreads:\t8\n"
	got, err := bench.ParseUsage([]byte(stat), []byte(status))
	if want := (gen.Usage{CPU: 3 * time.Second, RSS: 10 << 20, Peak: 20 << 20}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "42 (a) S 1 2", "42 (a) S 1 42 42 0 -1 4194560 100 0 0 0 x 50 0"} {
		if _, err := bench.ParseUsage([]byte(bad), nil); err == nil {
			t.Errorf("stat %q: no error", bad)
		}
	}
}

func TestFileSystem(t *testing.T) {
	const mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n"
	for dir, want := range map[string]string{"/home/u": "ext4", "/": "ext4", "/tmp": "tmpfs", "/tmpfile": "ext4", "/tmp/x/y": "xfs"} {
		if got := bench.FileSystem(mounts, dir); got != want {
			t.Errorf("%s is on %q, want %q", dir, got, want)
		}
	}
}

// TestRows checks the table itself.
func TestRows(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range bench.Rows {
		switch {
		case row.Name == "" || row.Title == "" || row.Load == nil || seen[row.Name]:
			t.Errorf("row %q has no name, title or load, or the name of another", row.Name)
		case row.Target.Share > 0 && row.Cap == nil:
			t.Errorf("row %s wants a share of nothing", row.Name)
		case row.Server.Shards == 0 || row.Cap != nil && row.Cap.Shards == 0:
			t.Errorf("row %s has a server without shards", row.Name)
		case row.Target.At != nil && (row.Target.At.CPU <= 0 || row.Target.At.Rate <= 0):
			t.Errorf("row %s is in units of nothing", row.Name)
		case row.Cap != nil && row.Starts():
			t.Errorf("row %s compares a process with one that does nothing", row.Name)
		}
		names := make(map[string]bool)
		for _, l := range row.Limits {
			if l.Name == "" || l.Load == nil || names[l.Name] {
				t.Errorf("row %s has a limit %q without name or load, or with the name of another", row.Name, l.Name)
			}
			names[l.Name] = true
		}
		seen[row.Name] = true
	}
}

// TestRun measures real processes for moments: it is about the way, not about
// the figures.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped by -short: starts real processes")
	}
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	bin := t.TempDir()
	if err := bench.Build(t.Context(), root, bin); err != nil {
		t.Fatal(err)
	}
	memory, null := bench.Server{Shards: 2}, &bench.Server{Null: true, Shards: 2}
	durable := bench.Server{Durable: true, Shards: 2}
	rows := []bench.Row{
		{Name: "put", Load: gen.Puts{Client: gen.Raw, Callers: 2, Batch: 10, Size: 20}, Server: memory, Cap: null, Target: bench.Target{Share: 1e-9, CPU: time.Hour, At: &bench.Yardstick{CPU: 1, Rate: 1}}},
		{Name: "get", Load: gen.Gets{Client: gen.SDK, Records: 1000}, Server: durable, Target: bench.Target{Rate: 1e12}},
		{Name: "leases", Load: gen.Leases{Callers: 1}, Server: durable},
		{Name: "start", Load: gen.Start{Records: 500, Kill: true}, Server: durable},
		{Name: "idle", Load: gen.Idle{Shards: 7}, Server: memory},
		{
			Name: "limits", Load: gen.Puts{Client: gen.Raw, Callers: 2, Batch: 10, Size: 20}, Server: durable,
			Limits: []bench.Limit{
				{Name: "journal", Load: gen.BareJournal{Callers: 2, Batch: 10, Size: 20}},
				{Name: "overwrite", Load: gen.Overwrite{Size: 5000, Records: 20}},
				{Name: "twice", Load: gen.Overwrite{Size: 3 << 20, Records: 20, Twice: true}},
				{Name: "write", Load: gen.WriteFiles{Bytes: 3 << 20}},
				{Name: "read", Load: gen.ReadFile{Bytes: 3<<20 + 1}},
			},
		},
		{Name: "recovery", Load: gen.Recovery{Records: 500}, Server: durable},
		{Name: "checkpoint", Load: gen.Checkpoints{Bytes: 100_000, Size: 20}, Server: durable},
		{Name: "agent", Load: gen.Agent{Files: 3, Bytes: 30_000, Format: "combined"}, Server: memory},
		{Name: "badlimit", Load: gen.Idle{}, Server: memory, Limits: []bench.Limit{{Name: "x", Load: failing{errors.New("broken")}}}},
		{Name: "none", Load: failing{gen.ErrNotServed}, Server: memory, Cap: null},
		{Name: "bad", Load: failing{errors.New("broken")}, Server: memory},
		{Name: "producer", Title: "producer", Load: gen.Producer{Callers: 1, Size: 100, Keys: 10}, Server: *null},
	}
	var steps []string
	cfg := bench.Config{
		Rounds: 2, Duration: 40 * time.Millisecond, Bin: bin, Dir: t.TempDir(), StreamdArgs: []string{"--tls", "off"},
		Progress: func(row bench.Row, _ int, what string) { steps = append(steps, row.Name+" "+what) },
	}
	out := bench.Run(t.Context(), cfg, rows)
	for i, want := range []string{"met", "missed: ", "-", "-", "-", "-", "-", "-", "-", "failed: x: broken", "not served", "failed: broken", "-"} {
		if got := out[i].Verdict(); got != want && !(strings.HasSuffix(want, " ") && strings.HasPrefix(got, want)) {
			t.Errorf("%s: %s, want %s", rows[i].Name, got, want)
		}
	}
	for _, o := range out[:3] {
		for _, r := range append(o.Ours, o.Caps...) {
			if r.Count == 0 || runtime.GOOS == "linux" && r.RSS == 0 {
				t.Errorf("%s: %+v", o.Name, r)
			}
		}
	}
	for i := range out[5].Limits {
		for _, r := range out[5].Beside[i] {
			if records := i < 3; r.Bytes == 0 || r.Elapsed == 0 || r.P99 == 0 || (r.Count > 0) != records {
				t.Errorf("%s: %+v", out[5].Limits[i].Name, r)
			}
		}
		if s := out[5].ShareOf(i); s.Min <= 0 {
			t.Errorf("%s: share %+v", out[5].Limits[i].Name, s)
		}
	}
	if r := out[6].Ours[0]; r.Count != 500 || r.Bytes == 0 || r.Elapsed != r.StartTime || r.StartTime == 0 {
		t.Errorf("recovery: %+v", r)
	}
	if r := out[7].Ours[1]; r.Count == 0 || r.Bytes != r.Count*(20+gen.KeySize) {
		t.Errorf("checkpoint: %+v", r)
	}
	if r := out[8].Ours[1]; r.Count == 0 || r.Bytes == 0 || runtime.GOOS == "linux" && r.RSS == 0 {
		t.Errorf("agent: %+v", r)
	}
	if got, want := strings.Join(steps[:6], ","), "put cap,put yardstick,put ours,put cap,put yardstick,put ours"; got != want {
		t.Errorf("measured %s, want %s", got, want)
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var table, doc strings.Builder
	machine, err := bench.Look(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bench.Print(&table, cfg, machine, out), bench.WriteJSON(&doc, cfg, machine, out)); err != nil {
		t.Fatal(err)
	}
	if text := table.String(); strings.Count(text, "\n") != 4+len(rows)+2+6+3 || !regexp.MustCompile(`(?m)^producer  .* B .*  6 B$`).MatchString(text) || !strings.Contains(text, "streamd --tls off") {
		t.Errorf("printed\n%s", text)
	}
	var read struct {
		Rows []struct {
			Ours   []gen.Result
			Limits []struct {
				Name    string
				Share   bench.Spread
				Results []gen.Result
			}
		}
	}
	if err := json.Unmarshal([]byte(doc.String()), &read); err != nil || len(read.Rows) != len(rows) || read.Rows[0].Ours[1].Count != out[0].Ours[1].Count {
		t.Errorf("%v, wrote\n%s", err, &doc)
	} else if l := read.Rows[5].Limits; len(l) != 5 || l[4].Name != "read" || l[4].Share != out[5].ShareOf(4) || len(l[4].Results) != 2 {
		t.Errorf("wrote limits\n%+v", l)
	}
}

// TestRunEndsWithContext: nothing is measured any more.
func TestRunEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := bench.Run(ctx, bench.Config{}, bench.Rows); len(out) != 0 {
		t.Errorf("%d outcomes", len(out))
	}
}

// failing is a load that fails, on a server that it has started.
type failing struct{ err error }

func (f failing) Run(ctx context.Context, env *gen.Env) (gen.Result, error) {
	if _, err := env.Start(ctx); err != nil {
		return gen.Result{}, err
	}
	return gen.Result{}, f.err
}
