package streamd_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// succeed sends requests that are answered with success.
func succeed(t *testing.T, srv *streamdtest.Server, target string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		resp := request{target: target, body: body}.send(t, srv)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s", target, body, show(t, resp))
		}
		_ = resp.Body.Close()
	}
}

// TestTextsOfRates pins what is refused for coming too fast.
func TestTextsOfRates(t *testing.T) {
	synctest.Test(t, textsOfRates) // where no rate passes time by itself
}

func textsOfRates(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Limits("write-records=0.001,read-calls=0.001,iterators=0.001,operations=0.001"))
	srv.CreateStream(t, "s", 1)
	const record = `{"Data":"eA==","PartitionKey":"k"}`
	const put = `{"StreamName":"s","Data":"eA==","PartitionKey":"k"}`
	const iterator = `{"StreamName":"s","ShardId":"0","ShardIteratorType":"LATEST"}`
	succeed(t, srv, "PutRecord", put)
	succeed(t, srv, "GetShardIterator", iterator)
	succeed(t, srv, "ListShards", `{"StreamName":"s"}`)
	succeed(t, srv, "ListStreams", `{}`)
	succeed(t, srv, "ListTagsForStream", `{"StreamName":"s"}`)
	golden(t, srv, "rates.golden", []request{
		{name: "PutRecord", target: "PutRecord", body: put},
		{name: "PutRecords", target: "PutRecords", body: `{"StreamName":"s","Records":[` + record + "," + record + `]}`},
		{name: "GetShardIterator", target: "GetShardIterator", body: iterator},
		{name: "operation of a stream", target: "ListShards", body: `{"StreamName":"s"}`},
		{name: "operation on a stream", target: "ListTagsForStream", body: `{"StreamName":"s"}`},
		{name: "operation on another stream", target: "ListTagsForStream", body: `{"StreamName":"t"}`},
		{name: "operation without a stream", target: "ListStreams", body: `{}`},
		{name: "constraint before the rate", target: "ListStreams", body: `{"Limit":0}`},
	})
}

// TestTextsOfQuotas pins what is refused for being too much.
func TestTextsOfQuotas(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Limits("off,quotas=true,shards=9,on-demand-streams=1"))
	srv.CreateStream(t, "s", 4)
	succeed(t, srv, "CreateStream", `{"StreamName":"d","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`)
	scale := func(to string) string {
		return `{"StreamName":"s","ScalingType":"UNIFORM_SCALING","TargetShardCount":` + to + `}`
	}
	mode := func(stream, mode string) string {
		return `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/` + stream + `","StreamModeDetails":{"StreamMode":"` + mode + `"}}`
	}
	const key = `{"StreamName":"s","EncryptionType":"KMS","KeyId":"k"}`
	for range 5 {
		succeed(t, srv, "UpdateShardCount", scale("2"), scale("4"))
	}
	for range 12 {
		succeed(t, srv, "StartStreamEncryption", key)
		succeed(t, srv, "StopStreamEncryption", key)
	}
	succeed(t, srv, "StartStreamEncryption", key)
	succeed(t, srv, "UpdateStreamMode", mode("d", "PROVISIONED"), mode("d", "ON_DEMAND"))
	golden(t, srv, "quotas.golden", []request{
		{name: "UpdateShardCount by the day", target: "UpdateShardCount", body: scale("3")},
		{name: "more than double", target: "UpdateShardCount", body: scale("9")},
		{name: "less than half", target: "UpdateShardCount", body: scale("1")},
		{name: "encryption by the day", target: "StopStreamEncryption", body: key},
		{name: "mode by the day", target: "UpdateStreamMode", body: mode("d", "PROVISIONED")},
		{name: "shards, new stream", target: "CreateStream", body: `{"StreamName":"t","ShardCount":2}`},
		{name: "shards, scaling", target: "UpdateShardCount", body: scale("6")},
		{name: "new stream ON_DEMAND", target: "CreateStream", body: `{"StreamName":"t","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`},
		{name: "stream becomes ON_DEMAND", target: "UpdateStreamMode", body: mode("s", "ON_DEMAND")},
	})
}

// TestTextOfCreating pins what is refused for being too much at once.
func TestTextOfCreating(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Limits("creating=1"), streamdtest.TransitionDelay(time.Hour))
	succeed(t, srv, "CreateStream", `{"StreamName":"s","ShardCount":1}`)
	golden(t, srv, "creating.golden", []request{
		{name: "second stream at once", target: "CreateStream", body: `{"StreamName":"t","ShardCount":1}`},
		{name: "name that exists", target: "CreateStream", body: `{"StreamName":"s","ShardCount":1}`},
	})
}
