package firehose_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/producer/firehose"
)

// fakeDelivery is a model of a delivery stream behind the API: its limits, its
// quota in fake time, latency, and faults that a test scripts or draws.
type fakeDelivery struct {
	latency time.Duration
	// hold, if not nil, keeps requests from being served until it is closed.
	hold chan struct{}
	// quota is the bytes a second that the stream takes; 0 means any. What is
	// beyond is refused record by record, and the whole request if nothing fits.
	quota float64
	// onRequest may fail a request before it is served.
	onRequest func(in *awsfirehose.PutRecordBatchInput) error
	// onRecord may refuse a record with a code.
	onRecord func(data []byte) string
	// afterStore may withhold the answer of a request that was served.
	afterStore func() fate

	mu        sync.Mutex // guards all below
	records   [][]byte   // stored, in order
	entries   []int      // records of each request
	offered   int        // bytes of all requests
	throttled int        // records refused for the quota
	level     float64    // of the quota's bucket
	filled    time.Time
}

type fate int

const (
	answer  fate = iota
	timeout      // no answer comes
	reset        // the connection breaks
	short        // an answer with an entry too few
)

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func apiError(code string) error {
	return &smithy.GenericAPIError{Code: code, Message: "scripted"}
}

func (f *fakeDelivery) PutRecordBatch(ctx context.Context, in *awsfirehose.PutRecordBatchInput, opts ...func(*awsfirehose.Options)) (*awsfirehose.PutRecordBatchOutput, error) {
	var o awsfirehose.Options
	for _, opt := range opts {
		opt(&o)
	}
	if o.Retryer == nil || o.Retryer.MaxAttempts() != 1 {
		panic("the SDK's own retries are on")
	}
	if err := pause(ctx, f.latency/2); err != nil {
		return nil, err
	}
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	out, fate, err := f.store(in)
	if err != nil {
		return nil, err
	}
	switch fate {
	case timeout:
		<-ctx.Done()
		return nil, ctx.Err()
	case reset:
		return nil, fmt.Errorf("connection reset")
	case short:
		out.RequestResponses = out.RequestResponses[1:]
	case answer:
	}
	if err := pause(ctx, f.latency/2); err != nil {
		return nil, err
	}
	return out, nil
}

// validate is the API's: what it refuses fails the whole request.
func validate(in *awsfirehose.PutRecordBatchInput) error {
	bad := func(format string, args ...any) error {
		return &types.InvalidArgumentException{Message: aws.String(fmt.Sprintf(format, args...))}
	}
	total := 0
	for i := range in.Records {
		n := len(in.Records[i].Data)
		if n > 1_024_000 {
			return bad("record %d has %d bytes", i, n)
		}
		total += n
	}
	switch {
	case aws.ToString(in.DeliveryStreamName) == "":
		return bad("no name")
	case len(in.Records) < 1 || len(in.Records) > 500:
		return bad("%d records", len(in.Records))
	case total > 4<<20:
		return bad("%d bytes", total)
	}
	return nil
}

func (f *fakeDelivery) store(in *awsfirehose.PutRecordBatchInput) (*awsfirehose.PutRecordBatchOutput, fate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, len(in.Records))
	if err := validate(in); err != nil {
		return nil, answer, err
	}
	if f.onRequest != nil {
		if err := f.onRequest(in); err != nil {
			return nil, answer, err
		}
	}
	f.fillLocked()
	out := &awsfirehose.PutRecordBatchOutput{FailedPutCount: aws.Int32(0), Encrypted: aws.Bool(false)}
	taken := 0
	for i := range in.Records {
		data := in.Records[i].Data
		f.offered += len(data)
		code := ""
		if f.onRecord != nil {
			code = f.onRecord(data)
		}
		if code == "" && f.quota > 0 {
			if f.level <= 0 {
				code = "ServiceUnavailableException"
				f.throttled++
			} else {
				// A bucket may go below zero once: so does a large record.
				f.level -= float64(len(data))
			}
		}
		if code != "" {
			*out.FailedPutCount++
			out.RequestResponses = append(out.RequestResponses, types.PutRecordBatchResponseEntry{ErrorCode: &code, ErrorMessage: aws.String("Slow down.")})
			continue
		}
		taken++
		f.records = append(f.records, bytes.Clone(data))
		out.RequestResponses = append(out.RequestResponses, types.PutRecordBatchResponseEntry{RecordId: aws.String(fmt.Sprintf("id-%d", len(f.records)-1))})
	}
	if taken == 0 && f.quota > 0 {
		return nil, answer, &types.ServiceUnavailableException{Message: aws.String("Slow down.")}
	}
	if f.afterStore != nil {
		return out, f.afterStore(), nil
	}
	return out, answer, nil
}

// fillLocked lets the quota of the time since the last call in, a second's at most.
func (f *fakeDelivery) fillLocked() {
	now := time.Now()
	if f.filled.IsZero() {
		f.level = f.quota
	} else {
		f.level = min(f.quota, f.level+f.quota*now.Sub(f.filled).Seconds())
	}
	f.filled = now
}

// stored returns the Firehose records.
func (f *fakeDelivery) stored() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]string, len(f.records))
	for i, r := range f.records {
		all[i] = string(r)
	}
	return all
}

func (f *fakeDelivery) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)
}

var (
	_ firehose.API = (*awsfirehose.Client)(nil)
	_ firehose.API = (*fakeDelivery)(nil)
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t testing.TB, f firehose.API, cfg firehose.Config) *firehose.Producer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	p, err := firehose.New(f, "delivery", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closeNow(t *testing.T, p *firehose.Producer) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}
