package streamd_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestLimitsOfFanOut counts consumers, and the time that events take.
func TestLimitsOfFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, streamdtest.Limits("aws"))
		arn := "arn:aws:kinesis:us-east-1:000000000000:stream/stream"
		for i := range 20 {
			r.register(fmt.Sprint("c", i))
			time.Sleep(time.Second) // the rate of the operation
		}
		_, err := r.client.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("one-more")}, func(o *kinesis.Options) {
			o.Retryer = aws.NopRetryer{}
		})
		wantError(t, err, "LimitExceededException", "This request would exceed the limit on the number of consumers of stream stream under account 000000000000. Current count: 20. Limit: 20.")

		const n = 8
		for range n {
			time.Sleep(2 * time.Second)
			r.put(0, strings.Repeat("x", 1<<20-3))
		}
		time.Sleep(time.Minute)
		consumer := must[*kinesis.DescribeStreamConsumerOutput](t)(r.client.DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("c0")}))
		sub := r.subscribe(consumer.ConsumerDescription.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
		began := time.Now()
		for got := 0; got < n; {
			got += len(sub.next().Records)
		}
		// 8 MiB at 2 MiB a second, of which the first 2 come at once.
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("8 MiB came within %v", took)
		}
	})
}

// TestNoLimitOfConsumers shows that the number of consumers is a limit like the
// others: off unless asked for.
func TestNoLimitOfConsumers(t *testing.T) {
	r := newRig(t, 1)
	for i := range 60 {
		r.register(fmt.Sprint("c", i))
	}
}
