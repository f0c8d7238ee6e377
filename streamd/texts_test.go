package streamd_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestTextsOfReads pins what iterators, reads and listings refuse. In a bubble
// all numbers and times are the same in every run.
func TestTextsOfReads(t *testing.T) {
	synctest.Test(t, textsOfReads)
}

func textsOfReads(t *testing.T) {
	r := newRig(t, 2)
	// By no client that is watched: the stream is made anew under its name.
	old := fmt.Sprint(r.call("PutRecord", `{"StreamName":"stream","PartitionKey":"k","Data":"","ExplicitHashKey":"`+upperHalf+`"}`)["SequenceNumber"])
	gone := r.iterator(1, types.ShardIteratorTypeTrimHorizon)
	succeed(t, r.Server, "DeleteStream", `{"StreamName":"stream"}`)
	time.Sleep(time.Minute)
	r.CreateStream(t, "stream", 2)
	golden(t, r.Server, "gone.golden", []request{
		{name: "iterator of a stream that was deleted", target: "GetRecords", body: `{"ShardIterator":"` + gone + `"}`},
	})
	number := r.put(1, "x")
	r.split(0)
	end := *r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})[0].SequenceNumberRange.EndingSequenceNumber
	expired := r.iterator(1, types.ShardIteratorTypeTrimHorizon)
	page := func(target, body string) string { return fmt.Sprint(r.call(target, body)["NextToken"]) }
	const arn = `"arn:aws:kinesis:us-east-1:000000000000:stream/stream"`
	r.register("a")
	r.register("b")
	r.CreateStream(t, "t", 1)
	r.CreateStream(t, "s", 1)
	shards := page("ListShards", `{"StreamName":"stream","MaxResults":1}`)
	consumers := page("ListStreamConsumers", `{"StreamARN":`+arn+`,"MaxResults":1}`)
	streams := page("ListStreams", `{"Limit":1}`)
	time.Sleep(5*time.Minute + time.Millisecond)
	fresh := r.iterator(1, types.ShardIteratorTypeTrimHorizon)
	token := page("ListShards", `{"StreamName":"stream","MaxResults":1}`)

	iterator := func(shard, kind, rest string) request {
		return request{target: "GetShardIterator", body: `{"StreamName":"stream","ShardId":"` + shard + `","ShardIteratorType":"` + kind + `"` + rest + `}`}
	}
	from := func(n string) string { return `,"StartingSequenceNumber":"` + n + `"` }
	named := func(name string, q request) request { q.name = name; return q }
	list := func(rest string) request { return request{target: "ListShards", body: `{` + rest + `}`} }
	golden(t, r.Server, "reads.golden", []request{
		named("text that is no shard", iterator("shard-x", "LATEST", "")),
		named("shard beyond all", iterator("shardId-99999999999", "LATEST", "")),
		named("shard that is not there", iterator("shard-7", "LATEST", "")),
		{name: "shard of no stream", target: "GetShardIterator", body: `{"StreamName":"nope","ShardId":"0","ShardIteratorType":"LATEST"}`},
		named("LATEST with a number", iterator("1", "LATEST", from(number))),
		named("TRIM_HORIZON with a number", iterator("1", "TRIM_HORIZON", from(number))),
		named("AT_SEQUENCE_NUMBER without one", iterator("1", "AT_SEQUENCE_NUMBER", "")),
		named("AFTER_SEQUENCE_NUMBER without one", iterator("1", "AFTER_SEQUENCE_NUMBER", "")),
		named("number that is none", iterator("1", "AT_SEQUENCE_NUMBER", from("0"))),
		named("number of another shard", iterator("2", "AT_SEQUENCE_NUMBER", from(number))),
		named("number of another stream", iterator("1", "AFTER_SEQUENCE_NUMBER", from(old))),
		named("number of the end", iterator("0", "AFTER_SEQUENCE_NUMBER", from(end))),
		named("at the number of the end", iterator("0", "AT_SEQUENCE_NUMBER", from(end))),
		named("AT_TIMESTAMP without one", iterator("1", "AT_TIMESTAMP", "")),
		named("AT_TIMESTAMP in the future", iterator("1", "AT_TIMESTAMP", `,"Timestamp":4000000000.5`)),
		// From a client for Java, whose times are milliseconds with the tag of
		// seconds.
		{name: "AT_TIMESTAMP in the future, in CBOR", target: "GetShardIterator", ctype: inCBOR, body: string(must[[]byte](t)(hex.DecodeString("bf6a53747265616d4e616d656173675368617264496474736861726449642d303030303030303030303030715368" +
			"6172644974657261746f72547970656c41545f54494d455354414d506954696d657374616d70c11b000001754329664aff")))},
		named("dry run of an iterator", iterator("1", "LATEST", `,"DryRun":true`)),
		{name: "no iterator", target: "GetRecords", body: `{"ShardIterator":"AAAA"}`},
		{name: "iterator that expired, of a stream that was deleted", target: "GetRecords", body: `{"ShardIterator":"` + gone + `"}`},
		{name: "iterator that expired", target: "GetRecords", body: `{"ShardIterator":"` + expired + `"}`},
		{name: "iterator of another stream", target: "GetRecords", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/t","ShardIterator":"` + fresh + `"}`},
		{name: "dry run of a read", target: "GetRecords", body: `{"DryRun":true,"ShardIterator":"` + fresh + `"}`},
		named("neither token nor stream", list(``)),
		named("token and name", list(`"StreamName":"stream","NextToken":"`+token+`"`)),
		named("token and ARN", list(`"StreamARN":`+arn+`,"NextToken":"`+token+`"`)),
		named("token and first shard", list(`"ExclusiveStartShardId":"0","NextToken":"`+token+`"`)),
		named("token and creation", list(`"StreamCreationTimestamp":1,"NextToken":"`+token+`"`)),
		named("token and filter", list(`"ShardFilter":{"Type":"AT_LATEST"},"NextToken":"`+token+`"`)),
		named("token that is none", list(`"NextToken":"x"`)),
		named("token of streams", list(`"NextToken":"`+streams+`"`)),
		named("expired token of shards", list(`"NextToken":"`+shards+`"`)),
		{name: "expired token of consumers", target: "ListStreamConsumers", body: `{"StreamARN":` + arn + `,"NextToken":"` + consumers + `"}`},
		{name: "expired token of streams", target: "ListStreams", body: `{"NextToken":"` + streams + `"}`},
		{name: "streams by no token", target: "ListStreams", body: `{"NextToken":"x"}`},
		named("older stream", list(`"StreamName":"stream","StreamCreationTimestamp":1`)),
		named("first shard that is none", list(`"StreamName":"stream","ExclusiveStartShardId":"x"`)),
		named("filter without its shard", list(`"StreamName":"stream","ShardFilter":{"Type":"AFTER_SHARD_ID"}`)),
		named("filter with a stray shard", list(`"StreamName":"stream","ShardFilter":{"Type":"AT_LATEST","ShardId":"0"}`)),
		named("filter without its time", list(`"StreamName":"stream","ShardFilter":{"Type":"FROM_TIMESTAMP"}`)),
		named("filter with a stray time", list(`"StreamName":"stream","ShardFilter":{"Type":"AT_TRIM_HORIZON","Timestamp":1}`)),
		named("filter of the future", list(`"StreamName":"stream","ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":4000000000}`)),
		{name: "description of no stream", target: "DescribeStream", body: `{"StreamName":"nope"}`},
		{name: "description from what is no shard", target: "DescribeStream", body: `{"StreamName":"stream","ExclusiveStartShardId":"x"}`},
		{name: "ARN with more behind the name", target: "DescribeStreamSummary", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s/t"}`},
	})

	// A closed shard goes when all that it holds has expired.
	r.Advance(24*time.Hour + time.Second)
	golden(t, r.Server, "expired.golden", []request{
		named("shard that expired", iterator("0", "TRIM_HORIZON", "")),
		named("its children", iterator("2", "LATEST", `,"DryRun":true`)),
	})
}

// call sends a request and returns its answer.
func (r *rig) call(target, body string) map[string]any {
	r.t.Helper()
	return callJSON(r.t, r.Server, target, body)
}

// TestTextsOfReshards pins what is refused about shards and their number.
func TestTextsOfReshards(t *testing.T) {
	r := newRig(t, 3)
	r.split(0)
	succeed(t, r.Server, "CreateStream", `{"StreamName":"d","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`)
	split := func(stream, shard, hash string) string {
		return `{"StreamName":"` + stream + `","ShardToSplit":"` + shard + `","NewStartingHashKey":"` + hash + `"}`
	}
	merge := func(stream, shard, adjacent string) string {
		return `{"StreamName":"` + stream + `","ShardToMerge":"` + shard + `","AdjacentShardToMerge":"` + adjacent + `"}`
	}
	scale := func(stream, to string) string {
		return `{"StreamName":"` + stream + `","TargetShardCount":` + to + `,"ScalingType":"UNIFORM_SCALING"}`
	}
	const start, end = "113427455640312821154458202477256070485", "226854911280625642308916404954512140969" // of shard 1
	golden(t, r.Server, "reshards.golden", []request{
		{name: "split of no stream", target: "SplitShard", body: split("nope", "0", "1")},
		{name: "split of what is no shard", target: "SplitShard", body: split("stream", "x", "1")},
		{name: "split of a shard that is not there", target: "SplitShard", body: split("stream", "9", "1")},
		{name: "split of a closed shard", target: "SplitShard", body: split("stream", "0", "1000")},
		{name: "split before the shard", target: "SplitShard", body: split("stream", "1", "7")},
		{name: "split at the start", target: "SplitShard", body: split("stream", "1", start)},
		{name: "split at one past the start", target: "SplitShard", body: split("stream", "1", start[:len(start)-1]+"6")},
		{name: "split at the end", target: "SplitShard", body: split("stream", "1", end)},
		{name: "split beyond all keys", target: "SplitShard", body: split("stream", "1", strings.Repeat("9", 39))},
		{name: "split on demand", target: "SplitShard", body: split("d", "0", "1000")},
		{name: "merge of no stream", target: "MergeShards", body: merge("nope", "0", "1")},
		{name: "merge of what is no shard", target: "MergeShards", body: merge("stream", "1", "x")},
		{name: "merge with a shard that is not there", target: "MergeShards", body: merge("stream", "1", "9")},
		{name: "merge of a closed shard", target: "MergeShards", body: merge("stream", "0", "1")},
		{name: "merge in the wrong order", target: "MergeShards", body: merge("stream", "2", "1")},
		{name: "merge with itself", target: "MergeShards", body: merge("stream", "1", "1")},
		{name: "merge of shards apart", target: "MergeShards", body: merge("stream", "3", "2")},
		{name: "merge on demand", target: "MergeShards", body: merge("d", "0", "1")},
		{name: "number of no stream's shards", target: "UpdateShardCount", body: scale("nope", "1")},
		{name: "number beyond all", target: "UpdateShardCount", body: scale("stream", "10001")},
		{name: "number on demand", target: "UpdateShardCount", body: scale("d", "5")},
		{name: "stream of too many shards", target: "CreateStream", body: `{"StreamName":"t","ShardCount":100001}`},
	})
	srv := streamdtest.New(t, streamdtest.Limits("off,shards=200000"))
	golden(t, srv, "manyshards.golden", []request{
		{name: "stream of more shards than there can be", target: "CreateStream", body: `{"StreamName":"t","ShardCount":100001}`},
	})
}

// TestTextsOfStates pins what is refused for the state that a stream, a consumer
// or a channel is in.
func TestTextsOfStates(t *testing.T) {
	synctest.Test(t, textsOfStates)
}

func textsOfStates(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.TransitionDelay(time.Minute))
	const arn = "arn:aws:kinesis:us-east-1:000000000000:stream/"
	put := func(stream string) string { return `{"StreamName":"` + stream + `","Data":"","PartitionKey":"k"}` }
	iterator := func(stream string) string {
		return `{"StreamName":"` + stream + `","ShardId":"0","ShardIteratorType":"LATEST"}`
	}
	register := func(stream, name string) string {
		return `{"StreamARN":"` + arn + stream + `","ConsumerName":"` + name + `"}`
	}
	channel := func(stream, name string) string {
		return `{"ChannelName":"` + name + `","ServiceExecutionRoleARN":"arn:aws:iam::000000000000:role/r",` +
			`"StreamConfigurationList":[{"StreamARN":"` + arn + stream + `","RecordConfiguration":{"RecordFormatType":"JSON"}}],` +
			`"S3DestinationConfiguration":{"StorageConfiguration":{"BucketARN":"arn:aws:s3:::bucket","ExpectedBucketOwner":"000000000000","CompressionType":"NONE"}}}`
	}
	mode := func(stream, mode, rest string) string {
		return `{"StreamARN":"` + arn + stream + `","StreamModeDetails":{"StreamMode":"` + mode + `"}` + rest + `}`
	}
	const split = `{"StreamName":"s","ShardToSplit":"0","NewStartingHashKey":"1000"}`
	for _, body := range []string{
		`{"StreamName":"s","ShardCount":2}`,
		`{"StreamName":"gone","ShardCount":1}`,
		`{"StreamName":"d","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`,
	} {
		succeed(t, srv, "CreateStream", body)
	}
	creating := []request{
		{name: "CREATING: same name", target: "CreateStream", body: `{"StreamName":"s","ShardCount":1}`},
		{name: "CREATING: PutRecord", target: "PutRecord", body: put("s")},
		{name: "CREATING: PutRecords", target: "PutRecords", body: `{"StreamName":"s","Records":[{"Data":"","PartitionKey":"k"}]}`},
		{name: "CREATING: GetShardIterator", target: "GetShardIterator", body: iterator("s")},
		{name: "CREATING: ListShards", target: "ListShards", body: `{"StreamName":"s"}`},
		{name: "CREATING: SplitShard", target: "SplitShard", body: split},
		{name: "CREATING: MergeShards", target: "MergeShards", body: `{"StreamName":"s","ShardToMerge":"0","AdjacentShardToMerge":"1"}`},
		{name: "CREATING: UpdateShardCount", target: "UpdateShardCount", body: `{"StreamName":"s","TargetShardCount":1,"ScalingType":"UNIFORM_SCALING"}`},
		{name: "CREATING: retention", target: "IncreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":48}`},
		{name: "CREATING: monitoring", target: "EnableEnhancedMonitoring", body: `{"StreamName":"s","ShardLevelMetrics":["ALL"]}`},
		{name: "CREATING: encryption", target: "StartStreamEncryption", body: `{"StreamName":"s","EncryptionType":"KMS","KeyId":"k"}`},
		{name: "CREATING: record size", target: "UpdateMaxRecordSize", body: `{"StreamARN":"` + arn + `s","MaxRecordSizeInKiB":2048}`},
		{name: "CREATING: mode", target: "UpdateStreamMode", body: mode("s", "ON_DEMAND", "")},
		{name: "CREATING: distribution", target: "UpdateStreamRecordDistributionStrategy", body: `{"StreamARN":"` + arn + `d","RecordDistributionStrategy":"AUTO"}`},
		{name: "CREATING: tags", target: "AddTagsToStream", body: `{"StreamName":"s","Tags":{"a":"b"}}`},
		{name: "CREATING: consumer", target: "RegisterStreamConsumer", body: register("s", "c")},
		{name: "CREATING: channel", target: "CreateChannel", body: channel("d", "c")},
	}
	golden(t, srv, "states-creating.golden", creating)
	srv.Advance(time.Minute)

	succeed(t, srv, "DeleteStream", `{"StreamName":"gone"}`)
	succeed(t, srv, "SplitShard", split)
	succeed(t, srv, "RegisterStreamConsumer", register("s", "c"))
	made := callJSON(t, srv, "CreateChannel", channel("d", "c"))["ChannelDescription"].(map[string]any)
	id, _ := made["ChannelARN"].(string)
	subscribe := `{"ConsumerARN":"` + consumerARN(t, srv, arn+"s", "c") + `","ShardId":"0","StartingPosition":{"Type":"LATEST"}}`
	golden(t, srv, "states-updating.golden", []request{
		{name: "UPDATING: SplitShard", target: "SplitShard", body: split},
		{name: "UPDATING: UpdateShardCount", target: "UpdateShardCount", body: `{"StreamName":"s","TargetShardCount":1,"ScalingType":"UNIFORM_SCALING"}`},
		{name: "UPDATING: mode", target: "UpdateStreamMode", body: mode("s", "ON_DEMAND", "")},
		{name: "UPDATING: the same mode", target: "UpdateStreamMode", body: mode("s", "PROVISIONED", "")},
		{name: "UPDATING: retention", target: "IncreaseStreamRetentionPeriod", body: `{"StreamName":"s","RetentionPeriodHours":48}`},
		{name: "UPDATING: encryption", target: "StopStreamEncryption", body: `{"StreamName":"s","EncryptionType":"KMS","KeyId":"k"}`},
		{name: "DELETING: PutRecord", target: "PutRecord", body: put("gone")},
		{name: "DELETING: GetShardIterator", target: "GetShardIterator", body: iterator("gone")},
		{name: "DELETING: ListShards", target: "ListShards", body: `{"StreamName":"gone"}`},
		{name: "DELETING: same name", target: "CreateStream", body: `{"StreamName":"gone","ShardCount":1}`},
		{name: "DELETING: SplitShard", target: "SplitShard", body: strings.ReplaceAll(split, `"s"`, `"gone"`)},
		{name: "DELETING: consumer", target: "RegisterStreamConsumer", body: register("gone", "c")},
		{name: "CREATING consumer: subscription", target: "SubscribeToShard", body: subscribe},
		{name: "CREATING consumer: same name", target: "RegisterStreamConsumer", body: register("s", "c")},
		{name: "CREATING consumer: policy", target: "PutResourcePolicy", body: `{"ResourceARN":"` + consumerARN(t, srv, arn+"s", "c") + `","Policy":"{}"}`},
		{name: "CREATING consumer: deletion of a policy", target: "DeleteResourcePolicy", body: `{"ResourceARN":"` + consumerARN(t, srv, arn+"s", "c") + `"}`},
		{name: "CREATING channel: update", target: "UpdateChannel", body: `{"ChannelARN":"` + id + `","S3DestinationConfiguration":{"DataFreshnessInSeconds":300}}`},
	})
	srv.Advance(time.Minute)

	succeed(t, srv, "UpdateAccountSettings", `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}`)
	golden(t, srv, "states-active.golden", []request{
		{name: "deletion with consumers", target: "DeleteStream", body: `{"StreamName":"s"}`},
		{name: "deletion with channels", target: "DeleteStream", body: `{"StreamName":"d","EnforceConsumerDeletion":true}`},
		{name: "channel that exists", target: "CreateChannel", body: channel("d", "c")},
		{name: "second channel to a bucket", target: "CreateChannel", body: channel("d", "c2")},
		{name: "channel with another destination", target: "UpdateChannel", body: `{"ChannelARN":"` + id + `","S3TablesDestinationConfiguration":{"DataFreshnessInSeconds":300}}`},
		{name: "tags of a consumer", target: "TagResource", body: `{"ResourceARN":"` + consumerARN(t, srv, arn+"s", "c") + `","Tags":` + manyTags("k", 51) + `}`},
		{name: "tags of a new consumer", target: "RegisterStreamConsumer", body: register("s", `c2","Tags":`+manyTags("k", 51)+`,"x":"`)},
		{name: "too much warm throughput", target: "UpdateStreamWarmThroughput", body: `{"StreamName":"d","WarmThroughputMiBps":10241}`},
		{name: "warm throughput in the other mode", target: "UpdateStreamMode", body: mode("d", "PROVISIONED", `,"WarmThroughputMiBps":1`)},
	})
}

func consumerARN(t *testing.T, srv *streamdtest.Server, stream, name string) string {
	t.Helper()
	out := must[*kinesis.DescribeStreamConsumerOutput](t)(srv.Kinesis().DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{StreamARN: &stream, ConsumerName: &name}))
	return *out.ConsumerDescription.ConsumerARN
}

// TestTextsOfFanOut pins what subscriptions refuse once they have a consumer.
func TestTextsOfFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		number := r.put(1, "x")
		c := *r.register("c").ConsumerARN
		subscribe := func(shard, position, rest string) string {
			return `{"ConsumerARN":"` + c + `","ShardId":"` + shard + `","StartingPosition":{` + position + `}` + rest + `}`
		}
		const latest = `"Type":"LATEST"`
		r.subscribe(&c, 0, startAt(types.ShardIteratorTypeLatest))
		golden(t, r.Server, "fanout.golden", []request{
			{name: "second within five seconds", target: "SubscribeToShard", body: subscribe("0", latest, "")},
			{name: "ARN that the pattern allows", target: "SubscribeToShard", body: `{"ConsumerARN":"arn:aws:kinesis:us-east-1:000000000000:x/stream/s/consumer/c:1","ShardId":"0","StartingPosition":{` + latest + `}}`},
			{name: "what is no shard", target: "SubscribeToShard", body: subscribe("x", latest, "")},
			{name: "shard that is not there", target: "SubscribeToShard", body: subscribe("7", latest, "")},
			{name: "number of another shard", target: "SubscribeToShard", body: subscribe("0", `"Type":"AT_SEQUENCE_NUMBER","SequenceNumber":"`+number+`"`, "")},
			{name: "number that is none", target: "SubscribeToShard", body: subscribe("1", `"Type":"AT_SEQUENCE_NUMBER","SequenceNumber":"7"`, "")},
			{name: "no number", target: "SubscribeToShard", body: subscribe("1", `"Type":"AFTER_SEQUENCE_NUMBER"`, "")},
			{name: "no time", target: "SubscribeToShard", body: subscribe("1", `"Type":"AT_TIMESTAMP"`, "")},
			{name: "time to come", target: "SubscribeToShard", body: subscribe("1", `"Type":"AT_TIMESTAMP","Timestamp":4000000000`, "")},
			{name: "dry run", target: "SubscribeToShard", body: subscribe("1", latest, `,"DryRun":true`)},
		})
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, streamdtest.Limits("off,subscribe=0.001,quotas=true"))
		c := r.register("c").ConsumerARN
		for i := range 19 {
			r.register(fmt.Sprint("c", i))
		}
		must[*kinesis.SubscribeToShardOutput](t)(r.trySubscribe(c, 0, startAt(types.ShardIteratorTypeLatest))).GetStream().Close()
		golden(t, r.Server, "fanoutlimits.golden", []request{
			{name: "rate of a consumer and shard", target: "SubscribeToShard", body: `{"ConsumerARN":"` + *c + `","ShardId":"0","StartingPosition":{"Type":"LATEST"}}`},
			{name: "consumers of a stream", target: "RegisterStreamConsumer", body: `{"StreamARN":"` + *r.summary().StreamARN + `","ConsumerName":"d"}`},
		})
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, streamdtest.Limits("off,quotas=true"), streamdtest.TransitionDelay(time.Minute))
		r.Advance(time.Minute)
		for i := range 5 {
			r.register(fmt.Sprint("c", i))
		}
		golden(t, r.Server, "fanoutcreating.golden", []request{
			{name: "consumers at once", target: "RegisterStreamConsumer", body: `{"StreamARN":"` + *r.summary().StreamARN + `","ConsumerName":"d"}`},
		})
	})
}

// TestTextsOfPuts pins what writes refuse, and that the size of a record comes
// before its hash key, and both before its number.
func TestTextsOfPuts(t *testing.T) {
	srv := streamdtest.New(t)
	srv.CreateStream(t, "s", 1)
	srv.CreateStream(t, "large", 1)
	succeed(t, srv, "UpdateMaxRecordSize", `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/large","MaxRecordSizeInKiB":10240}`)
	put := func(stream string, bytes int, rest string) string {
		return `{"StreamName":"` + stream + `","PartitionKey":"key","Data":"` + strings.Repeat("AAAA", bytes/3) + `"` + rest + `}`
	}
	const noKey, noNumber = `,"ExplicitHashKey":"999999999999999999999999999999999999999"`, `,"SequenceNumberForOrdering":"7"`
	half := put("", 5<<20+1, "")
	golden(t, srv, "puts.golden", []request{
		{name: "more than 10 MiB", target: "PutRecords", body: `{"StreamName":"large","Records":[` + half + `,` + half + `]}`},
		{name: "constraint before the stream", target: "PutRecord", body: put("nope", 10<<20+2, noKey)},
		{name: "stream before the size", target: "PutRecord", body: put("nope", 1<<20+2, noKey)},
		{name: "size before the hash key", target: "PutRecord", body: put("s", 1<<20+2, noKey)},
		{name: "record that its key makes too large", target: "PutRecord", body: put("s", 1<<20-1, noKey)},
		{name: "hash key before the number", target: "PutRecord", body: put("s", 0, noKey+noNumber)},
		{name: "number before the dry run", target: "PutRecord", body: put("s", 0, noNumber+`,"DryRun":true`)},
		{name: "dry run of records", target: "PutRecords", body: `{"StreamName":"s","DryRun":true,"Records":[` + put("", 0, "") + `]}`},
		{name: "hash key of one record", target: "PutRecords", body: `{"StreamName":"s","Records":[` + put("", 0, "") + `,` + put("", 0, noKey) + `]}`},
	})
}

// TestTextsOfSignatures pins what is refused where signatures are verified.
func TestTextsOfSignatures(t *testing.T) {
	synctest.Test(t, textsOfSignatures)
}

func textsOfSignatures(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Keys(
		streamd.Key{ID: "ADMIN", Secret: "admins"},
		streamd.Key{ID: "READER", Secret: "r", Allow: []streamd.Rule{{Operations: []string{"kinesis:Get*"}}}},
	))
	now := time.Now().UTC()
	signed := func(name, credential, headers string, at time.Time, more ...[2]string) request {
		return request{name: name, target: "ListStreams", body: "{}", header: append([][2]string{
			{"Authorization", "AWS4-HMAC-SHA256 Credential=" + credential + ", SignedHeaders=" + headers + ", Signature=00"},
			{"X-Amz-Date", at.Format("20060102T150405Z")},
		}, more...)}
	}
	const all = "host;x-amz-date;x-amz-target"
	scope := now.Format("20060102") + "/us-east-1/kinesis/aws4_request"
	query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ADMIN%2F" + strings.ReplaceAll(scope, "/", "%2F") +
		"&X-Amz-Date=" + now.Format("20060102T150405Z") + "&X-Amz-SignedHeaders=" + strings.ReplaceAll(all, ";", "%3B") + "&X-Amz-Signature=00"
	other := aws.Credentials{AccessKeyID: "READER", SecretAccessKey: "r"}
	golden(t, srv, "signatures.golden", []request{
		signed("unknown key", "NOBODY/"+scope, all, now),
		signed("token of a key without one", "ADMIN/"+scope, all+";x-amz-security-token", now, [2]string{"X-Amz-Security-Token", "t"}),
		signed("wrong signature", "ADMIN/"+scope, all, now),
		signed("region in capitals", "ADMIN/"+strings.ReplaceAll(scope, "us-east-1", "US"), all, now),
		signed("another service", "ADMIN/"+strings.ReplaceAll(scope, "kinesis", "s3"), all, now),
		signed("another end of the scope", "ADMIN/"+strings.ReplaceAll(scope, "aws4", "aws5"), all, now),
		signed("another day", "ADMIN/"+scope, all, now.AddDate(0, 0, 1)),
		signed("too old", "ADMIN/"+now.Add(-16*time.Minute).Format("20060102")+scope[8:], all, now.Add(-16*time.Minute)),
		signed("too early", "ADMIN/"+scope, all, now.Add(16*time.Minute)),
		signed("host not signed", "ADMIN/"+scope, "x-amz-date;x-amz-target", now),
		signed("date not signed", "ADMIN/"+scope, "host;x-amz-target", now),
		signed("date twice", "ADMIN/"+scope, all, now, [2]string{"X-Amz-Date", "x"}),
		{name: "another algorithm", target: "ListStreams", body: "{}", query: "?" + strings.ReplaceAll(query, "SHA256", "SHA512")},
		{name: "query that is valid for too long", target: "ListStreams", body: "{}", query: "?" + query + "&X-Amz-Expires=604801"},
		{name: "query with a date that is none", target: "ListStreams", body: "{}", query: "?" + strings.ReplaceAll(query, now.Format("20060102T150405Z"), "yesterday")},
		{name: "not allowed", target: "DescribeStream", body: `{"StreamName":"s"}`, as: &other},
		{name: "not allowed by the other account", target: "GetShardIterator", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","ShardId":"0","ShardIteratorType":"LATEST"}`, as: &other},
		{name: "not allowed without a stream", target: "ListStreams", body: `{}`, as: &other},
	})
}

// TestTextsOfFaults pins what is answered when faults are asked for, which is
// what AWS answers when it has them.
func TestTextsOfFaults(t *testing.T) {
	synctest.Test(t, textsOfFaults)
}

func textsOfFaults(t *testing.T) {
	r := newRig(t, 1)
	iterator := r.iterator(0, types.ShardIteratorTypeLatest)
	const put = `{"StreamName":"stream","Data":"","PartitionKey":"k"}`
	read := `{"ShardIterator":"` + iterator + `"}`
	for _, f := range []streamdtest.Fault{
		{Kind: streamd.FaultInternal, Operation: "PutRecord"},
		{Kind: streamd.FaultThrottle, Operation: "GetRecords"},
		{Kind: streamd.FaultThrottle, Operation: "DescribeStream"},
		{Kind: streamd.FaultThrottle, Operation: "ListStreams"},
		{Kind: streamd.FaultThrottle, Operation: "GetShardIterator"},
		{Kind: streamd.FaultUnavailable, Operation: "ListShards"},
		{Kind: streamd.FaultPartial, Operation: "PutRecords", Share: 1},
		{Kind: streamd.FaultError, Operation: "MergeShards", Code: "KMSDisabledException", Message: "no key"},
		{Kind: streamd.FaultError, Operation: "SplitShard", Code: "Teapot", Status: 418},
		{Kind: streamd.FaultThrottle, Service: "dynamodb", Operation: "GetItem"},
		{Kind: streamd.FaultThrottle, Service: "dynamodb", Operation: "CreateTable"},
		{Kind: streamd.FaultInternal, Service: "dynamodb", Operation: "PutItem"},
	} {
		r.Fault(t, f)
	}
	table := func(op string) request {
		return request{name: op, target: "DynamoDB_20120810." + op, ctype: "application/x-amz-json-1.0", body: `{"TableName":"t"}`}
	}
	golden(t, r.Server, "faults.golden", []request{
		{name: "internal", target: "PutRecord", body: put},
		{name: "read throttled", target: "GetRecords", body: read},
		{name: "operation throttled", target: "DescribeStream", body: `{"StreamName":"stream"}`},
		{name: "account throttled", target: "ListStreams", body: `{}`},
		{name: "iterator throttled", target: "GetShardIterator", body: `{"StreamName":"stream","ShardId":"0","ShardIteratorType":"LATEST"}`},
		{name: "unavailable", target: "ListShards", body: `{"StreamName":"stream"}`},
		{name: "records refused", target: "PutRecords", body: `{"StreamName":"stream","Records":[{"Data":"","PartitionKey":"k"}]}`},
		{name: "error of one's own", target: "MergeShards", body: `{"StreamName":"stream","ShardToMerge":"0","AdjacentShardToMerge":"1"}`},
		{name: "one without words", target: "SplitShard", body: `{"StreamName":"stream","ShardToSplit":"0","NewStartingHashKey":"1"}`},
		table("GetItem"), table("CreateTable"), table("PutItem"),
	})
}

// failingEngine is a store that takes nothing more, for a reason.
type failingEngine struct {
	*store.Store
	err error
}

func (e *failingEngine) Command(context.Context, state.Command) (*state.Stream, error) {
	return nil, e.err
}

func (e *failingEngine) PutInto(context.Context, uint64, []store.Record, []store.Stored) ([]store.Stored, error) {
	return nil, e.err
}

// TestTextsOfTheStore pins what is answered when the store takes nothing.
func TestTextsOfTheStore(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	st := must[*store.Store](t)(store.Open(store.Options{Clock: new(clock.Clock), Logger: log}))
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	key := state.StreamKey{Scope: arn.Scope{Account: "000000000000", Region: "us-east-1"}, Name: "s"}
	must[*state.Stream](t)(st.Command(t.Context(), state.CreateStream{Key: key, ShardCount: 1, Mode: state.Provisioned, MaxRecordBytes: 1 << 20}))
	engine := &failingEngine{Store: st}
	h := awsproto.NewHandler(awsproto.Config{
		Operations: api.New(engine, api.Config{}).Operations(),
		Observe:    func(awsproto.Exchange) {}, Logger: log,
	})
	var got strings.Builder
	for _, why := range []struct {
		name string
		err  error
	}{
		{"full", store.ErrFull}, {"closed", store.ErrClosed}, {"broken", errors.New("secret of the disk")},
	} {
		engine.err = why.err
		for _, q := range []request{
			{target: "PutRecord", ctype: inJSON, body: `{"StreamName":"s","Data":"","PartitionKey":"k"}`},
			{target: "PutRecord", ctype: inCBOR, body: "\xa3jStreamNameasdData@lPartitionKeyak"},
			{target: "DeleteStream", ctype: inJSON, body: `{"StreamName":"s"}`},
			{target: "DeleteStream", ctype: inCBOR, body: "\xa1jStreamNameas"},
		} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(q.body))
			req.Header.Set("Content-Type", q.ctype)
			req.Header.Set("X-Amz-Target", "Kinesis_20131202."+q.target)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			resp := w.Result()
			fmt.Fprintf(&got, "== %s: %s\n%s\n", why.name, q.target, show(t, resp))
			_ = resp.Body.Close() // show has read it
		}
	}
	goldenText(t, "store.golden", got.String())
}
