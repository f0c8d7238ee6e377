package streamd_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newRig(t, 1, streamdtest.TransitionDelay(time.Second), streamdtest.Dir(dir))
		r.Advance(time.Second)
		ctx := t.Context()
		c := r.register("c")
		describe := func() types.ConsumerStatus {
			t.Helper()
			d := must[*kinesis.DescribeStreamConsumerOutput](t)(r.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: c.ConsumerARN, ConsumerName: c.ConsumerName, StreamARN: r.summary().StreamARN})).ConsumerDescription
			if *d.StreamARN != *r.summary().StreamARN || *d.ConsumerARN != fmt.Sprintf("%s/consumer/c:%d", *d.StreamARN, d.ConsumerCreationTimestamp.Unix()) {
				t.Errorf("described %+v", d)
			}
			return d.ConsumerStatus
		}
		_, err := r.trySubscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeLatest))
		wantError(t, err, "ResourceInUseException", fmt.Sprintf("Consumer c with creation timestamp %d under stream: stream , account 000000000000 is not in ACTIVE status.", c.ConsumerCreationTimestamp.Unix()))
		if c.ConsumerStatus != types.ConsumerStatusCreating || describe() != types.ConsumerStatusCreating {
			t.Errorf("registered as %s, then %s", c.ConsumerStatus, describe())
		}
		if err := r.Close(); err != nil { // in the middle
			t.Fatal(err)
		}
		r.goOn(streamdtest.New(t, streamdtest.TransitionDelay(time.Second), streamdtest.Dir(dir)))
		r.Advance(2 * time.Second) // the clock was set back by one
		if got := describe(); got != types.ConsumerStatusActive {
			t.Errorf("afterwards %s", got)
		}
		must[*kinesis.TagResourceOutput](t)(r.client.TagResource(ctx, &kinesis.TagResourceInput{ResourceARN: c.ConsumerARN, Tags: map[string]string{"a": "1", "b": "2"}}))
		must[*kinesis.UntagResourceOutput](t)(r.client.UntagResource(ctx, &kinesis.UntagResourceInput{ResourceARN: c.ConsumerARN, TagKeys: []string{"a"}}))
		if tags := must[*kinesis.ListTagsForResourceOutput](t)(r.client.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: c.ConsumerARN})).Tags; len(tags) != 1 || *tags[0].Key != "b" {
			t.Errorf("tags %+v", tags)
		}
		r.register("b")
		var names []string
		for p := kinesis.NewListStreamConsumersPaginator(r.client, &kinesis.ListStreamConsumersInput{StreamARN: r.summary().StreamARN, MaxResults: aws.Int32(1)}); p.HasMorePages(); {
			for _, c := range must[*kinesis.ListStreamConsumersOutput](t)(p.NextPage(ctx)).Consumers {
				names = append(names, *c.ConsumerName)
			}
		}
		if !slices.Equal(names, []string{"b", "c"}) || *r.summary().ConsumerCount != 2 {
			t.Errorf("listed %v, counted %d", names, *r.summary().ConsumerCount)
		}
		must[*kinesis.PutResourcePolicyOutput](t)(r.client.PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: c.ConsumerARN, Policy: aws.String("{}")}))
		must[*kinesis.DeregisterStreamConsumerOutput](t)(r.client.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: c.ConsumerARN}))
		if got := describe(); got != types.ConsumerStatusDeleting {
			t.Errorf("deregistered, and %s", got)
		}
		r.Advance(time.Second)
		_, err = r.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: c.ConsumerARN})
		wantError(t, err, "ResourceNotFoundException", "Consumer c, account 000000000000 not found.")
		if again := r.register("c"); *again.ConsumerARN == *c.ConsumerARN {
			t.Errorf("registered again as %s", *again.ConsumerARN)
		}
	})
}

// TestSubscriptionsDeliverAll subscribes, drops and goes on from the
// continuation number at random while records are put, shards split and the
// server restarts: each record must come once, in order, a parent's before its
// children's.
func TestSubscriptionsDeliverAll(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				dir := t.TempDir()
				r := newRig(t, 1, streamdtest.Dir(dir))
				c := r.register("c")
				var put, got []string
				shard := 0
				position := startAt(types.ShardIteratorTypeTrimHorizon)
				var s *subscribed
				drop := func() {
					if s != nil {
						_ = s.stream.Close()
						s = nil
						r.Advance(5 * time.Second)
					}
				}
				for step := 0; step < 60 || len(got) < len(put); step++ {
					switch n := rnd.IntN(10); {
					case step < 60 && n < 5:
						shards := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
						text := fmt.Sprint(len(put))
						r.put(len(shards)-1, text) // the one that is read in the end
						put = append(put, text)
					case step < 60 && n == 5 && shard < 6:
						shards := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
						r.split(len(shards) - 1)
					case n == 6:
						drop()
					case n == 7 && step < 60:
						drop()
						if err := r.Close(); err != nil {
							t.Fatal(err)
						}
						r.goOn(streamdtest.New(t, streamdtest.Dir(dir)))
					case len(got) < len(put) || n == 8:
						if s == nil {
							s = r.subscribe(c.ConsumerARN, shard, position)
						}
						e := s.next()
						if e == nil {
							t.Fatalf("ended: %v", s.stream.Err())
						}
						for _, rec := range e.Records {
							got = append(got, string(rec.Data))
						}
						if e.ContinuationSequenceNumber == nil {
							for _, child := range e.ChildShards {
								var id int
								if _, err := fmt.Sscanf(*child.ShardId, "shardId-%d", &id); err != nil {
									t.Fatal(err)
								}
								shard = max(shard, id)
							}
							drop()
							position = startAt(types.ShardIteratorTypeTrimHorizon)
							break
						}
						kind := []types.ShardIteratorType{types.ShardIteratorTypeAtSequenceNumber, types.ShardIteratorTypeAfterSequenceNumber}[rnd.IntN(2)]
						position = startAt(kind, fromNumber(*e.ContinuationSequenceNumber))
					}
				}
				if !slices.Equal(got, put) {
					t.Errorf("got  %s\nwant %s", strings.Join(got, ","), strings.Join(put, ","))
				}
				drop()
			})
		})
	}
}

// TestSubscribeOverHTTP2 subscribes over TLS, as the SDKs for Java do.
func TestSubscribeOverHTTP2(t *testing.T) {
	r := newRig(t, 1, streamdtest.Listen())
	c := r.register("c")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.CertPool()}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r.client = r.Kinesis(func(o *kinesis.Options) {
		o.BaseEndpoint = aws.String(r.HTTPSEndpoint())
		o.HTTPClient = &http.Client{Transport: transport}
	})
	s := r.subscribe(c.ConsumerARN, 0, startAt(types.ShardIteratorTypeLatest))
	r.put(0, "a")
	s.expect("over HTTP/2", "a")
	r.split(0)
	if e := s.next(); e == nil || len(e.ChildShards) != 2 {
		t.Errorf("last event %+v", e)
	}
	s.expectEnd("over HTTP/2", "", "")
}

// TestConsumerErrors pins the wording of what is refused about consumers.
func TestConsumerErrors(t *testing.T) {
	r := newRig(t, 1)
	const (
		stream = `"arn:aws:kinesis:us-east-1:000000000000:stream/stream"`
		none   = `"arn:aws:kinesis:us-east-1:000000000000:stream/stream/consumer/none:1"`
		latest = `"StartingPosition":{"Type":"LATEST"}`
	)
	taken := r.register("taken")
	golden(t, r.Server, "consumers.golden", []request{
		{name: "no members", target: "RegisterStreamConsumer", body: `{}`},
		{name: "taken", target: "RegisterStreamConsumer", body: `{"StreamARN":` + stream + `,"ConsumerName":"taken"}`},
		{name: "no stream", target: "RegisterStreamConsumer", body: `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/none","ConsumerName":"c"}`},
		{name: "no name", target: "DescribeStreamConsumer", body: `{"StreamARN":` + stream + `}`},
		{name: "unknown name", target: "DescribeStreamConsumer", body: `{"StreamARN":` + stream + `,"ConsumerName":"none"}`},
		{name: "unknown ARN", target: "DescribeStreamConsumer", body: `{"ConsumerARN":` + none + `}`},
		{name: "name of another", target: "DescribeStreamConsumer", body: `{"ConsumerARN":` + none + `,"ConsumerName":"c"}`},
		{name: "stream of another", target: "DescribeStreamConsumer", body: `{"ConsumerARN":` + none + `,"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s"}`},
		{name: "not an ARN", target: "DeregisterStreamConsumer", body: `{"ConsumerARN":"x"}`},
		{name: "deregister none", target: "DeregisterStreamConsumer", body: `{"ConsumerARN":` + none + `}`},
		{name: "bad token", target: "ListStreamConsumers", body: `{"StreamARN":` + stream + `,"NextToken":"x"}`},
		{name: "token and creation", target: "ListStreamConsumers", body: `{"StreamARN":` + stream + `,"NextToken":"x","StreamCreationTimestamp":1}`},
		{name: "older stream", target: "ListStreamConsumers", body: `{"StreamARN":` + stream + `,"StreamCreationTimestamp":1}`},
		{name: "subscribe, no members", target: "SubscribeToShard", body: `{"StartingPosition":{}}`},
		{name: "subscribe, no consumer", target: "SubscribeToShard", body: `{"ConsumerARN":` + none + `,"ShardId":"0",` + latest + `}`},
		{name: "subscribe, CBOR, no members", target: "SubscribeToShard", ctype: "application/x-amz-cbor-1.1", body: "\xa0"},
	})
	for _, tt := range []struct {
		name, code, message string
		shard               int
		from                *types.StartingPosition
		dry                 bool
	}{
		{"no shard", "ResourceNotFoundException", "Shard shardId-000000000007 in stream stream under account 000000000000 does not exist", 7, startAt(types.ShardIteratorTypeLatest), false},
		{"no number", "InvalidArgumentException", "Must either specify (1)…", 0, startAt(types.ShardIteratorTypeAtSequenceNumber), false},
		{"bad number", "InvalidArgumentException", "StartingSequenceNumber 7 used in SubscribeToShard on shard shardId-000000000000 in stream stream under account 000000000000 is invalid.", 0, startAt(types.ShardIteratorTypeAtSequenceNumber, fromNumber("7")), false},
		{"no time", "InvalidArgumentException", "Must specify timestampInMillis…", 0, startAt(types.ShardIteratorTypeAtTimestamp), false},
		{"dry run", "DryRunOperationException", "…", 0, startAt(types.ShardIteratorTypeLatest), true},
	} {
		_, err := r.client.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
			ConsumerARN: taken.ConsumerARN, ShardId: aws.String(shardID(tt.shard)), StartingPosition: tt.from, DryRun: aws.Bool(tt.dry),
		})
		t.Run(tt.name, func(t *testing.T) { wantError(t, err, tt.code, tt.message) })
	}
	r.subscribe(taken.ConsumerARN, 0, startAt(types.ShardIteratorTypeLatest)) // what was refused, and the dry run, take no place
}
