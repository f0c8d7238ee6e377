package logappender_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// printer stands for a producer in the examples; a *producer.Producer goes in
// its place.
type printer struct{}

func (printer) PutBatch(_ context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	for _, r := range rs {
		fmt.Printf("%s key=%q\n", r.Data, r.PartitionKey)
	}
	done(producer.BatchResult{Records: len(rs)})
	return nil
}

func (printer) Flush(context.Context) error { return nil }

func Example_zap() {
	ctx := context.Background()
	// With a real stream:
	//   p, err := producer.New(client, "logs", producer.Config{Logger: slog.New(slog.DiscardHandler)})
	a, err := logappender.New(printer{}, logappender.Config{PartitionKey: logappender.FieldKey("tenant", "")})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey = "" // for a constant output
	log := zap.New(a.Core(zap.InfoLevel, zapcore.NewJSONEncoder(cfg)))

	log.With(zap.String("tenant", "t1")).Info("started", zap.Int("port", 80))
	log.Debug("not enabled")

	if err := a.Close(ctx); err != nil { // before the producer's Close
		fmt.Println(err)
	}
	s := a.Stats()
	fmt.Println(s.Accepted.Total(), "accepted,", s.Delivered.Total(), "delivered")
	// Output:
	// {"level":"info","msg":"started","tenant":"t1","port":80} key="t1"
	// 1 accepted, 1 delivered
}

func Example_slog() {
	a, err := logappender.New(printer{}, logappender.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	log := slog.New(a.Handler(&slog.HandlerOptions{
		ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
			if at.Key == slog.TimeKey {
				return slog.Attr{} // for a constant output
			}
			return at
		},
	}))
	log.With("request", 7).Warn("slow", slog.Int("ms", 1200))
	if err := a.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"level":"WARN","msg":"slow","request":7,"ms":1200} key=""
}

// One appender takes the entries of zap and of slog, and what writes to an
// io.Writer: one buffer, one producer, one order.
func Example_both() {
	a, err := logappender.New(printer{}, logappender.Config{PartitionKey: logappender.FixedKey("app")})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey = "" // for a constant output
	zaplog := zap.New(a.Core(zap.InfoLevel, zapcore.NewJSONEncoder(cfg)))
	sloglog := slog.New(a.Handler(&slog.HandlerOptions{
		ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
			if at.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return at
		},
	}))
	old := log.New(a.Writer(zapcore.WarnLevel), "", 0)

	zaplog.Info("from zap", zap.Int("n", 1))
	sloglog.Info("from slog", slog.Int("n", 2))
	old.Print("from package log")

	if err := a.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"level":"info","msg":"from zap","n":1} key="app"
	// {"level":"INFO","msg":"from slog","n":2} key="app"
	// from package log key="app"
}

// A service ends in four steps: the signal, at which the log so far is saved; no
// more requests; the rest of the log; the producer. What the stream does not take
// until the deadline stays on disk for the next start.
func Example_httpService() {
	a, err := logappender.New(printer{}, logappender.Config{ /* SpillDir: "/var/spool/app/log" */ })
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey = "" // for a constant output
	log := zap.New(a.Core(zap.InfoLevel, zapcore.NewJSONEncoder(cfg)))

	parent, sigterm := context.WithCancel(context.Background()) // a program has no need of this
	defer sigterm()
	ctx, stop := a.HandleSignals(parent)
	defer stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // an example
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			log.Info("request", zap.String("path", r.URL.Path))
		}),
	}
	served := make(chan error, 1) // for the case that nobody looks
	go func() { served <- srv.Serve(ln) }()

	resp, err := http.Get("http://" + ln.Addr().String() + "/orders") //nolint:noctx // an example
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
	sigterm()

	select {
	case <-ctx.Done():
	case err := <-served:
		log.Error("the server has ended", zap.Error(err))
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(closing); err != nil {
		log.Error("requests are cut off", zap.Error(err))
	}
	if err := a.Close(closing); err != nil {
		fmt.Println(err)
	}
	// p.Close(closing), if p is the producer.
	fmt.Println(a.Stats().Delivered.Total(), "delivered")
	// Output:
	// {"level":"info","msg":"request","path":"/orders"} key=""
	// 1 delivered
}

func TestThroughProducerAndServer(t *testing.T) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "logs", 2)
	p, err := producer.New(srv.Kinesis(), "logs", producer.Config{DisableAggregation: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, p, logappender.Config{PartitionKey: logappender.FieldKey("i", "")})
	l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
	const n = 500
	for i := range n {
		l.Info("m", zap.Int("i", i))
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	s := a.Stats()
	if s.Delivered.Total() != n {
		t.Errorf("delivered %d, want %d", s.Delivered.Total(), n)
	}
	seen := make(map[string]bool)
	for _, r := range srv.Records(t, "logs") {
		seen[string(r.Data)] = true
	}
	if len(seen) != n {
		t.Errorf("the stream has %d different records, want %d", len(seen), n)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
