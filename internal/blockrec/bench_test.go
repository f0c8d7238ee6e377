package blockrec_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
)

// logs returns the message of n log records in JSON, of about 330 bytes each,
// with what does not repeat in real ones: times, identifiers, addresses,
// durations.
func logs(n int) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	var b aggregation.Builder
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for range n {
		at = at.Add(time.Duration(r.IntN(5_000_000)))
		host := fmt.Sprint("web-", r.IntN(20))
		data := fmt.Appendf(nil, `{"ts":%q,"level":%q,"logger":"http.access","host":%q,"msg":%q,"method":%q,"path":"/api/v1/%s/%d","status":%d,"bytes":%d,"duration_ms":%.3f,"remote":"10.%d.%d.%d:%d","trace_id":"%016x%016x","span_id":"%016x","user_agent":%q}`,
			at.Format(time.RFC3339Nano), pick("info", "info", "info", "warn", "error"), host,
			pick("request served", "request served", "request served", "upstream slow", "client went away"),
			pick("GET", "GET", "POST", "PUT"), pick("orders", "users", "carts", "items"), r.IntN(1_000_000),
			[]int{200, 200, 200, 201, 304, 404, 500}[r.IntN(7)], r.IntN(50_000), r.ExpFloat64()*20,
			r.IntN(256), r.IntN(256), r.IntN(256), 1024+r.IntN(60000), r.Uint64(), r.Uint64(), r.Uint64(),
			pick("Mozilla/5.0 (X11; Linux x86_64)", "okhttp/4.12.0", "curl/8.5.0", "Go-http-client/1.1"))
		b.Add(aggregation.Record{PartitionKey: host, Data: data})
	}
	return b.AppendBody(nil)
}

// BenchmarkLogs compresses and opens JSON logs. The metric ratio is raw bytes
// to a byte stored.
func BenchmarkLogs(b *testing.B) {
	for _, n := range []int{150, 1500, 15000} {
		raw := logs(n)
		for _, c := range codecs {
			e, d := encoder(b, c), decoder(b)
			block := e.Append(nil, n, raw)
			name := fmt.Sprintf("%v/records=%d", c, n)
			b.Run("append/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					block = e.Append(block[:0], n, raw)
				}
				b.ReportMetric(float64(len(raw))/float64(len(block)), "ratio")
			})
			b.Run("open/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				var out []byte
				for b.Loop() {
					var err error
					if out, _, _, err = d.Open(out[:0], block, blockrec.MaxRaw); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
