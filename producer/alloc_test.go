package producer_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// TestPutAllocatesNothing looks at Put alone: nothing leaves meanwhile.
func TestPutAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	p, err := producer.New(newStub(1), "stream", producer.Config{Logger: quiet(), RecordMaxBufferedTime: time.Hour, AggregationMaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, p)
	data, ks := bytes.Repeat([]byte("x"), 100), keys(100)
	done := func(producer.Result) {}
	i := 0
	put := func() {
		i++
		if err := p.Put(context.Background(), producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data, Tag: p}, done); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 { // grow what is then used again
		put()
	}
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	put() // begins a batch
	if n := testing.AllocsPerRun(900, put); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// TestPutAllocations holds all of the producer, requests included, to a few
// allocations for a thousand records of 100 bytes, a record's own callback or
// not. A PutBatch of 100 has one of its own.
func TestPutAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	data := bytes.Repeat([]byte("x"), 100)
	ks := keys(1000)
	ctx := context.Background()
	done := func(r producer.Result) {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	batch := make([]producer.UserRecord, 100)
	batchDone := func(r producer.BatchResult) {
		if err := r.Err(); err != nil {
			t.Error(err)
		}
	}
	i := 0
	next := func() producer.UserRecord {
		i++
		return producer.UserRecord{PartitionKey: ks[i%len(ks)], Data: data}
	}
	for _, tt := range []struct {
		name    string
		records float64 // in a call of put
		most    float64 // allocations for a record
		put     func(p *producer.Producer) error
	}{
		{"Put", 1, 0.02, func(p *producer.Producer) error { return p.Put(ctx, next(), nil) }},
		{"Put with callback", 1, 0.02, func(p *producer.Producer) error { return p.Put(ctx, next(), done) }},
		{"Put without key", 1, 0.02, func(p *producer.Producer) error {
			return p.Put(ctx, producer.UserRecord{Data: data}, done)
		}},
		{"PutBatch", 100, 0.03, func(p *producer.Producer) error {
			for i := range batch {
				batch[i] = next()
			}
			return p.PutBatch(ctx, batch, batchDone)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const each = 20_000
			p := startStub(t, 4)
			run := func() {
				for range int(each / tt.records) {
					if err := tt.put(p); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Flush(ctx); err != nil {
					t.Fatal(err)
				}
			}
			run()
			// AllocsPerRun counts the allocations of all goroutines.
			n := testing.AllocsPerRun(5, run) / each
			t.Logf("%.4f allocations a record", n)
			if n > tt.most {
				t.Errorf("%.4f allocations a record", n)
			}
		})
	}
}
