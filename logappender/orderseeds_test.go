package logappender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/consumer/deaggregate"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// moody is a stream that has bad times: then it refuses requests or entries, stores
// and does not answer, and stores when the client has given up.
type moody struct {
	*kinesis.Client
	late sync.WaitGroup // requests that are stored after their time

	mu  sync.Mutex // guards what follows
	rng *rand.Rand
	bad bool
}

var errReset = errors.New("connection reset by the test")

func (m *moody) turn(bad bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bad = bad
}

func (m *moody) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	m.mu.Lock()
	mood, wait := 0, time.Duration(0)
	refused := make([]bool, len(in.Records))
	if m.bad {
		mood, wait = m.rng.IntN(6), time.Duration(m.rng.IntN(3000))*time.Millisecond
		for i := range refused {
			refused[i] = m.rng.IntN(2) == 0
		}
	}
	m.mu.Unlock()
	switch mood {
	case 1:
		return nil, errReset
	case 2: // stored, and nobody knows
		if _, err := m.Client.PutRecords(ctx, in, opts...); err != nil {
			return nil, err
		}
		return nil, errReset
	case 3: // no answer in time, and stored later
		records := make([]types.PutRecordsRequestEntry, len(in.Records))
		for i, r := range in.Records {
			// The producer uses its memory again.
			records[i] = types.PutRecordsRequestEntry{Data: bytes.Clone(r.Data), PartitionKey: aws.String(*r.PartitionKey)}
			if r.ExplicitHashKey != nil {
				records[i].ExplicitHashKey = aws.String(*r.ExplicitHashKey)
			}
		}
		again := &kinesis.PutRecordsInput{StreamName: in.StreamName, StreamARN: in.StreamARN, Records: records}
		m.late.Go(func() {
			time.Sleep(time.Second + wait)
			_, _ = m.Client.PutRecords(context.WithoutCancel(ctx), again) // nobody waits for it
		})
		<-ctx.Done()
		return nil, ctx.Err()
	case 4: // some entries are refused
		out := &kinesis.PutRecordsOutput{Records: make([]types.PutRecordsResultEntry, len(in.Records))}
		part := &kinesis.PutRecordsInput{StreamName: in.StreamName, StreamARN: in.StreamARN}
		var place []int
		for i, r := range in.Records {
			if refused[i] {
				out.Records[i] = types.PutRecordsResultEntry{ErrorCode: aws.String("ProvisionedThroughputExceededException"), ErrorMessage: aws.String("test")}
				continue
			}
			part.Records, place = append(part.Records, r), append(place, i)
		}
		if len(place) > 0 {
			stored, err := m.Client.PutRecords(ctx, part, opts...)
			if err != nil {
				return nil, err
			}
			for i, at := range place {
				out.Records[at] = stored.Records[i]
			}
		}
		return out, nil
	}
	return m.Client.PutRecords(ctx, in, opts...)
}

// TestWriteAheadKeepsTheOrder has a program that writes ahead go through bad times of
// its stream, in which the producer gives up what it has, in parts, and panic
// meanwhile. What the stream has of a key first comes in the order in which it was
// logged.
func TestWriteAheadKeepsTheOrder(t *testing.T) {
	const keys = 5
	twice, given := 0, uint64(0)
	for seed := range seedRange(10) {
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			srv := streamdtest.New(t)
			srv.CreateStream(t, "logs", 3)
			stream := &moody{Client: srv.Kinesis(), rng: rand.New(rand.NewPCG(seed, 2))}
			pr, err := producer.New(stream, "logs", producer.Config{
				RecordTTL: time.Duration(1000+rng.IntN(4000)) * time.Millisecond, RequestTimeout: time.Second,
				DisableAggregation: seed%4 == 0, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			a, err := logappender.NewOn(vfstest.NewDisk(), pr, quiet(logappender.Config{
				SpillDir: "spill", SpillMode: logappender.SpillAlways, ChunkBytes: 4 << 10, PartitionKey: logappender.FieldKey("k", ""),
			}))
			if err != nil {
				t.Fatal(err)
			}
			p := &process{Appender: a, t: t, log: zap.New(a.Core(zap.DebugLevel, jsonEncoder()), zap.WithPanicHook(zapcore.WriteThenPanic))}
			const n = 600
			for i := range n {
				if i%100 == 20 {
					stream.turn(i < n-100)
				} else if i%100 == 80 {
					stream.turn(false)
				}
				fields := []zap.Field{zap.String("k", strconv.Itoa(i%keys)), zap.String("pad", strings.Repeat("x", rng.IntN(2000)))}
				if rng.IntN(15) == 0 {
					func() {
						defer func() { _ = recover() }()
						p.log.Panic(fmt.Sprint(i), fields...)
					}()
				} else {
					p.log.Info(fmt.Sprint(i), fields...)
				}
				if rng.IntN(12) == 0 { // a few chunks wait
					time.Sleep(time.Duration(rng.IntN(2400)) * time.Millisecond)
				}
			}
			stream.turn(false)
			p.end(10 * time.Minute)
			given += pr.Stats().UserRecordsFailed
			if err := pr.Close(t.Context()); err != nil {
				t.Error(err)
			}
			stream.late.Wait()
			if st := a.Stats(); st.Delivered.Total() != n {
				t.Errorf("%+v", st)
			}
			seen, last := make([]bool, n), make(map[string]int)
			for _, r := range srv.Records(t, "logs") {
				for u := range deaggregate.Records(*r.PartitionKey, r.Data) {
					_, rest, _ := strings.Cut(string(u.Data), `"msg":"`)
					text, _, _ := strings.Cut(rest, `"`)
					i, err := strconv.Atoi(text)
					if err != nil {
						t.Fatalf("%v in %.100q", err, u.Data)
					}
					if seen[i] {
						twice++
						continue
					}
					seen[i] = true
					if before, ok := last[u.PartitionKey]; ok && i < before {
						t.Errorf("key %s: %d comes behind %d", u.PartitionKey, i, before)
					}
					last[u.PartitionKey] = i
				}
			}
			for i, ok := range seen {
				if !ok {
					t.Errorf("%d is missing", i)
				}
			}
		})
	}
	t.Logf("%d entries were stored twice, %d times the producer gave one up", twice, given)
	if *seeds == 0 && (twice == 0 || given == 0) {
		t.Error("the stream was not bad enough")
	}
}
