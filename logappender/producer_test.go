package logappender_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// failingAPI fails PutRecords while it is down.
type failingAPI struct {
	*kinesis.Client
	down atomic.Bool
}

func (f *failingAPI) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	if f.down.Load() {
		return nil, errRefused
	}
	return f.Client.PutRecords(ctx, in, opts...)
}

// TestOutageBehindAProducer has the producer give records up, which come to the
// stream by way of the disk.
func TestOutageBehindAProducer(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		synctest.Test(t, func(t *testing.T) {
			srv := streamdtest.New(t)
			srv.CreateStream(t, "logs", 2)
			api := &failingAPI{Client: srv.Kinesis()}
			pr, err := producer.New(api, "logs", producer.Config{
				DisableAggregation: true, RecordTTL: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			a, err := logappender.NewOn(vfstest.NewDisk(), pr, quiet(logappender.Config{SpillDir: "spill", SpillMode: mode, PartitionKey: logappender.FixedKey("k")}))
			if err != nil {
				t.Fatal(err)
			}
			w := a.Writer(0)
			want := make(map[string]int)
			for i := range 600 {
				api.down.Store(i >= 100 && i < 500)
				line := fmt.Sprintf("line %d", i)
				want[line] = 1
				if _, err := fmt.Fprintln(w, line); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Millisecond)
			}
			time.Sleep(time.Minute)
			st := a.Stats()
			if st.CircuitOpened == 0 || st.Delivered.Total() != 600 || !a.Healthy() {
				t.Errorf("mode %d: %+v", mode, st)
			}
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := pr.Close(t.Context()); err != nil {
				t.Error(err)
			}
			got := make(map[string]int)
			for _, r := range srv.Records(t, "logs") {
				got[string(r.Data)]++
			}
			for line := range want {
				if got[line] != 1 {
					t.Errorf("mode %d: %q is stored %d times", mode, line, got[line])
				}
			}
		})
	}
}
