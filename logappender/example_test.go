package logappender_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

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
