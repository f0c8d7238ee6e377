package producer_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/streamkit/streamkit/producer"
)

// TestPutAllocations holds all of the producer, requests included, to 0.05
// allocations a record of 100 bytes, a record's own callback or not.
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
		put     func(p *producer.Producer) error
	}{
		{"Put", 1, func(p *producer.Producer) error { return p.Put(ctx, next(), nil) }},
		{"Put with callback", 1, func(p *producer.Producer) error { return p.Put(ctx, next(), done) }},
		{"Put without key", 1, func(p *producer.Producer) error {
			return p.Put(ctx, producer.UserRecord{Data: data}, done)
		}},
		{"PutBatch", 100, func(p *producer.Producer) error {
			for i := range batch {
				batch[i] = next()
			}
			return p.PutBatch(ctx, batch, batchDone)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startStub(t, 4)
			run := func() {
				for range int(2000 / tt.records) {
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
			n := testing.AllocsPerRun(30, run) / 2000
			t.Logf("%.4f allocations a record", n)
			if n > 0.05 {
				t.Errorf("%.4f allocations a record", n)
			}
		})
	}
}
