package bench

import (
	"fmt"
	"time"

	"github.com/streamkit/streamkit/integration/load/gen"
)

// agentRows are those of the agent: what it reads, from one file and from many, raw and
// changed, by where it goes; and what it takes while little or nothing is written.
func agentRows() []Row {
	var rows []Row
	for _, to := range []struct {
		name, title string
		load        gen.Agent // Bytes of raw lines
		server      Server
		cap         *Server
	}{
		{"null", "acknowledged at once", gen.Agent{Bytes: 256 * mb, Sink: true}, *null, nil},
		{"nullserver", "null server", gen.Agent{Bytes: 128 * mb}, *null, nil},
		{"streamd", "streamd, fsynced", gen.Agent{Bytes: 64 * mb}, durable, null},
	} {
		for _, format := range []struct{ suffix, format, title string }{
			{"", "raw", "lines of 200 B"},
			{"-multiline", "multiline", "records of 10 lines joined"},
			{"-combined", "combined", "combined log to JSON"},
		} {
			for _, files := range []struct {
				suffix, title string
				n             int
			}{{"", "1 file", 1}, {"-100", "100 files", 100}, {"-5000", "5,000 files", 5000}} {
				load := to.load
				load.Files, load.Format = files.n, format.format
				if format.format != "raw" {
					load.Bytes = min(load.Bytes, 128*mb)
				}
				rows = append(rows, Row{
					Name:  "agent-" + to.name + format.suffix + files.suffix,
					Title: fmt.Sprintf("agent, %s, %s, %s", files.title, format.title, to.title),
					Load:  load, Server: to.server, Cap: to.cap,
				})
			}
		}
	}
	for i := range rows {
		r := &rows[i]
		load, _ := r.Load.(gen.Agent)
		instead := func(name string, by gen.Reader) Limit {
			load.By = by
			return Limit{Name: name, Load: load}
		}
		switch r.Name {
		case "agent-null":
			r.Limits = []Limit{instead("cat", gen.ByCat), instead("nxadm/tail, lines counted", gen.ByTail)}
			r.Target = Target{Rate: 7_500_000}
		case "agent-nullserver":
			r.Limits = []Limit{instead("reading, cutting, aggregation, MD5, CBOR and hash by hand, plain connections", gen.ByHand)}
			r.Target = Target{Rate: 1_250_000, CPU: 700 * time.Nanosecond, RSS: 40 * mb}
		}
	}
	return append(rows,
		Row{
			Name: "agent-paced", Title: "agent, 30 MB/s written while it reads, null server",
			Load: gen.Agent{Files: 1, Format: "raw", Pace: 30_000_000}, Server: *null,
			Target: Target{Busy: 0.4, RSS: 100 * mb},
		},
		Row{
			Name: "agent-outage", Title: "agent, null server, catching up with 30 MB/s written without it (-seconds 600: for ten minutes)",
			Load: gen.Agent{Files: 1, Format: "raw", Pace: 30_000_000, Outage: true}, Server: *null,
			Target: Target{RSS: 64 * mb},
		},
		Row{
			Name: "agent-idle", Title: "agent, 1,000 files of which none grows",
			Load: gen.Agent{Files: 1000, Bytes: 1000 * 200, Format: "raw", Sink: true, Idle: true}, Server: *null,
			Target: Target{Busy: 0.01, RSS: 40 * mb}, Least: 20 * time.Second,
		},
		Row{
			Name: "agent-restart", Title: "agent, 10,000 files known, from its start to a line written meanwhile",
			Load: gen.Agent{Files: 10_000, Bytes: 10_000 * 200, Format: "raw", Sink: true, Restart: true}, Server: *null,
			Target: Target{Start: time.Second},
		},
	)
}
