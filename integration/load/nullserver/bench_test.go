package nullserver_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/integration/load/nullserver"
	"github.com/streamkit/streamkit/internal/sdkhttp"
)

// BenchmarkPutRecords puts 500 records of 200 bytes a call from one caller.
// LOAD_ENDPOINT names a running server; without it the null server answers,
// in this process.
func BenchmarkPutRecords(b *testing.B) {
	endpoint := os.Getenv("LOAD_ENDPOINT")
	if endpoint == "" {
		srv := httptest.NewServer(nullserver.New(nullserver.Config{}))
		defer srv.Close()
		endpoint = srv.URL
	}
	c := kinesis.New(kinesis.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(endpoint), Retryer: aws.NopRetryer{},
		HTTPClient:  sdkhttp.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	_, err := c.CreateStream(b.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("load"), ShardCount: aws.Int32(4)})
	if inUse := (*types.ResourceInUseException)(nil); err != nil && !errors.As(err, &inUse) {
		b.Fatal(err)
	}
	in := &kinesis.PutRecordsInput{StreamName: aws.String("load")}
	for i := range 500 {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{
			PartitionKey: aws.String("key-" + string(rune('a'+i%26))), Data: make([]byte, 200),
		})
	}
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
	defer cancel()
	for { // until the stream is active
		if _, err = c.PutRecords(ctx, in); err == nil {
			break
		}
		if ctx.Err() != nil {
			b.Fatal(err)
		}
	}
	var acked int
	for b.Loop() {
		out, err := c.PutRecords(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		acked += len(out.Records) - int(aws.ToInt32(out.FailedRecordCount))
	}
	if acked != b.N*500 {
		b.Errorf("acknowledged %d of %d", acked, b.N*500)
	}
	b.ReportMetric(float64(acked)/b.Elapsed().Seconds(), "records/s")
}
