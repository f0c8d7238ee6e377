package nullserver_test

import (
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/integration/load/nullserver"
)

func TestAnswersDecode(t *testing.T) {
	srv := httptest.NewServer(nullserver.New(nullserver.Config{Records: 3, RecordBytes: 200}))
	defer srv.Close()
	c := kinesis.New(kinesis.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(srv.URL), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	for _, n := range []int{1, 500} {
		in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
		for range n {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: []byte("d")})
		}
		out, err := c.PutRecords(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Records) != n || len(aws.ToString(out.Records[n-1].SequenceNumber)) != 56 {
			t.Errorf("PutRecords of %d: %d entries", n, len(out.Records))
		}
	}
	put, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("d")})
	if err != nil || aws.ToString(put.ShardId) != "shardId-000000000000" {
		t.Errorf("PutRecord: %v, %v", put, err)
	}
	got, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: aws.String("i")})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Records) != 3 || len(got.Records[0].Data) != 200 || aws.ToString(got.NextShardIterator) == "" {
		t.Errorf("GetRecords: %d records", len(got.Records))
	}
	if _, err := c.DescribeLimits(t.Context(), &kinesis.DescribeLimitsInput{}); err == nil {
		t.Error("DescribeLimits: answered")
	}
}
