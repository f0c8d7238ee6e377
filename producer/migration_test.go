package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// What follows is the code of docs/migration.md.

func Example_fromKPL() {
	var t exampleT
	defer t.end()
	srv := streamdtest.New(&t)
	srv.CreateStream(&t, "orders", 2)
	client := srv.Kinesis() // in a program: kinesis.NewFromConfig(…)

	p, err := producer.New(client, "orders", producer.Config{
		RecordMaxBufferedTime: 100 * time.Millisecond, // the KPL's default
		RecordTTL:             30 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	// addUserRecord: Put. What the future's listener did, the callback does.
	var failed sync.Map
	for i := range 100 {
		r := producer.UserRecord{
			PartitionKey: fmt.Sprint("customer-", i%10),
			Data:         fmt.Appendf(nil, `{"order": %d}`, i),
			Tag:          i, // comes back in the result
		}
		err := p.Put(ctx, r, func(res producer.Result) {
			if res.Err != nil {
				failed.Store(res.Tag, res.Err)
			}
		})
		if err != nil { // a record that no stream takes, or ctx ended while the buffer was full
			fmt.Println(err)
			return
		}
	}

	// addUserRecord(…).get(): PutSync.
	res, err := p.PutSync(ctx, producer.UserRecord{PartitionKey: "customer-1", Data: []byte("last")})
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := p.Flush(ctx); err != nil { // flushSync
		fmt.Println(err)
		return
	}
	if err := p.Close(ctx); err != nil { // flushSync and destroy
		fmt.Println(err)
		return
	}
	s := p.Stats()
	n := 0
	failed.Range(func(_, _ any) bool { n++; return true })
	fmt.Println(s.UserRecordsPut, "records put,", n, "failed, the last in", res.ShardID)
	// Output: 101 records put, 0 failed, the last in shardId-000000000001
}

func ExampleConfigFromProperties() {
	file := strings.NewReader("RecordTtl = 60000\nMetricsLevel = detailed\nThreadingModel = POOLED\n")
	cfg, warnings, err := producer.ConfigFromProperties(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range warnings {
		if !w.Default { // more than the KPL's default was asked for
			fmt.Println(w)
		}
	}
	fmt.Println(cfg.RecordTTL)
	// Output:
	// line 3: ThreadingModel: requests need no threads here; MaxConnections bounds those in flight
	// 1m0s
}

func Example_fromA8M() {
	var t exampleT
	defer t.end()
	srv := streamdtest.New(&t)
	srv.CreateStream(&t, "orders", 2)
	client := srv.Kinesis()

	// New and Start are one, and report a wrong setting instead of a panic.
	p, err := producer.New(client, "orders", producer.Config{
		MaxConnections:   24,      // MaxConnections
		MaxBufferedBytes: 8 << 20, // BacklogCount, in bytes
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// One func for all records takes the place of NotifyFailures. It is called
	// for those that were stored, too.
	stored := 0
	var mu sync.Mutex
	done := func(r producer.Result) {
		mu.Lock()
		defer mu.Unlock()
		if r.Err == nil {
			stored++
			return
		}
		fmt.Println("give up:", r.Tag, r.Err)
	}
	ctx := context.Background()
	for i := range 100 {
		err := p.Put(ctx, producer.UserRecord{
			PartitionKey: fmt.Sprint("customer-", i), // each record keeps its own
			Data:         fmt.Appendf(nil, "order %d", i),
			Tag:          i,
		}, done)
		switch {
		case errors.Is(err, producer.ErrClosed): // ErrStoppedProducer
		case errors.Is(err, producer.ErrInvalidKey): // ErrIllegalPartitionKey
		case errors.Is(err, producer.ErrTooLarge): // ErrRecordSizeExceeded
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}

	// Stop, but no longer than this.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		if unsent, ok := errors.AsType[*producer.UnsentError](err); ok {
			fmt.Println(unsent.Records, "records were given up")
		}
		return
	}
	fmt.Println(stored, "stored")
	// Output: 100 stored
}

// putRecords is a loop as programs have it that call PutRecords themselves. It
// keeps no order: a record that is refused is sent behind those that were not.
func putRecords(ctx context.Context, client *kinesis.Client, stream string, entries []types.PutRecordsRequestEntry) error {
	for try := 0; len(entries) > 0; try++ {
		if try == 5 {
			return fmt.Errorf("%d records left", len(entries))
		}
		n := min(len(entries), 500)
		out, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries[:n]})
		if err != nil {
			return err // of some, nobody knows whether they are stored
		}
		var again []types.PutRecordsRequestEntry
		for i, r := range out.Records {
			if r.ErrorCode != nil {
				again = append(again, entries[i])
			}
		}
		if len(again) == 0 {
			try = -1
		}
		entries = append(again, entries[n:]...)
	}
	return nil
}

func Example_fromPutRecords() {
	var t exampleT
	defer t.end()
	srv := streamdtest.New(&t)
	srv.CreateStream(&t, "orders", 2)
	client := srv.Kinesis()
	ctx := context.Background()

	// Before.
	var entries []types.PutRecordsRequestEntry
	for i := range 100 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("customer-", i%10)), Data: fmt.Appendf(nil, "order %d", i)})
	}
	if err := putRecords(ctx, client, "orders", entries); err != nil {
		fmt.Println(err)
		return
	}

	// After.
	p, err := producer.New(client, "orders", producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var records []producer.UserRecord
	for i := range 100 {
		records = append(records, producer.UserRecord{PartitionKey: fmt.Sprint("customer-", i%10), Data: fmt.Appendf(nil, "order %d", i)})
	}
	result := make(chan producer.BatchResult, 1) // one is sent
	if err := p.PutBatch(ctx, records, func(r producer.BatchResult) { result <- r }); err != nil {
		fmt.Println(err)
		return
	}
	r := <-result
	for _, f := range r.Failed {
		fmt.Println("record", f.Index, f.Err)
	}
	fmt.Println(r.Records-len(r.Failed), "of", r.Records, "stored")
	if err := p.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: 100 of 100 stored
}
