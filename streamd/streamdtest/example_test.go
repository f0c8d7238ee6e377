package streamdtest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// inTest stands for the test function around an example: func TestX(t
// *testing.T) { … }. TestExamples runs them.
func inTest(f func(t *testing.T)) { exampleTest = f }

var exampleTest func(t *testing.T)

func TestExamples(t *testing.T) {
	for name, example := range map[string]func(){
		"New":               ExampleNew,
		"retention":         ExampleServer_Advance_retention,
		"expiry":            ExampleServer_Advance_iteratorExpiry,
		"WaitForStream":     ExampleServer_WaitForStream,
		"WaitForRecords":    ExampleServer_WaitForRecords,
		"limits":            ExampleLimits,
		"bubble and clocks": ExampleServer_Advance_bubble,
	} {
		t.Run(name, func(t *testing.T) {
			example()
			exampleTest(t)
		})
	}
}

func ExampleNew() {
	inTest(func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 2)
		_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("customer-1"), Data: []byte("one book"),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range srv.Records(t, "orders") {
			t.Logf("%s", r.Data)
		}
	})
	// Output:
}

// Records are trimmed when they are older than the stream keeps them.
func ExampleServer_Advance_retention() {
	inTest(func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 1)
		_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("customer-1"), Data: []byte("one book"),
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Advance(25 * time.Hour) // a stream keeps a day if nobody says otherwise
		if n := len(srv.Records(t, "orders")); n != 0 {
			t.Errorf("%d records have outlived the retention", n)
		}
	})
	// Output:
}

// An iterator that nobody uses for five minutes expires.
func ExampleServer_Advance_iteratorExpiry() {
	inTest(func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 1)
		client := srv.Kinesis()
		it, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("orders"), ShardId: aws.String("shardId-000000000000"),
			ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Advance(6 * time.Minute)
		_, err = client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
		if _, expired := errors.AsType[*types.ExpiredIteratorException](err); !expired {
			t.Errorf("error %v, want an expired iterator", err)
		}
	})
	// Output:
}

// In a bubble a sleep moves the time of the code under test and that of the
// server together, at once.
func ExampleServer_Advance_bubble() {
	inTest(func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := streamdtest.New(t)
			srv.CreateStream(t, "orders", 1)
			_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
				StreamName: aws.String("orders"), PartitionKey: aws.String("customer-1"), Data: []byte("one book"),
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(25 * time.Hour)
			if n := len(srv.Records(t, "orders")); n != 0 {
				t.Errorf("%d records have outlived the retention", n)
			}
		})
	})
	// Output:
}

// A stream takes its time to change, as streams of AWS do.
func ExampleServer_WaitForStream() {
	inTest(func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := streamdtest.New(t, streamdtest.TransitionDelay(30*time.Second))
			srv.CreateStream(t, "orders", 1)
			srv.WaitForStream(t.Context(), t, "orders", types.StreamStatusCreating)
			srv.Advance(30 * time.Second)
			srv.WaitForStream(t.Context(), t, "orders", types.StreamStatusActive)

			_, err := srv.Kinesis().UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{
				StreamName: aws.String("orders"), TargetShardCount: aws.Int32(2), ScalingType: types.ScalingTypeUniformScaling,
			})
			if err != nil {
				t.Fatal(err)
			}
			srv.WaitForStream(t.Context(), t, "orders", types.StreamStatusUpdating)
			srv.Advance(30 * time.Second)
			srv.WaitForStream(t.Context(), t, "orders", types.StreamStatusActive)
		})
	})
	// Output:
}

// The program under test writes in the background.
func ExampleServer_WaitForRecords() {
	inTest(func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 2)
		go func() {
			for _, key := range []string{"customer-1", "customer-2", "customer-3"} {
				_, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
					StreamName: aws.String("orders"), PartitionKey: aws.String(key), Data: []byte("one book"),
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
		for _, r := range srv.WaitForRecords(t.Context(), t, "orders", 3) {
			t.Logf("%s of %s", r.Data, *r.PartitionKey)
		}
	})
	// Output:
}

// A server with the limits of AWS refuses what a shard would not take.
func ExampleLimits() {
	inTest(func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Limits("aws"))
		srv.CreateStream(t, "orders", 1)
		client := srv.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
		in := &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("customer-1"), Data: make([]byte, 1<<20-10),
		}
		if _, err := client.PutRecord(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		_, err := client.PutRecord(t.Context(), in)
		if _, slow := errors.AsType[*types.ProvisionedThroughputExceededException](err); !slow {
			t.Errorf("error %v, want a refusal", err)
		}
	})
	// Output:
}
