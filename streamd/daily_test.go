package streamd_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// isLimit reports whether err is the SDK's own type of E in an answer with
// status 400.
func isLimit[E error](err error) bool {
	_, typed := errors.AsType[E](err)
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	return typed && ok && answer.HTTPStatusCode() == http.StatusBadRequest
}

// TestQuotasByTheDay has each of the three reach its quota, restarts the server
// in between, and waits until the oldest change is a day old.
func TestQuotasByTheDay(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		open := func() *rig {
			srv := streamdtest.New(t, streamdtest.Dir(dir), streamdtest.Limits("off,quotas=true"))
			r := rigOn(t, srv, "s", nil)
			r.client = r.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
			return r
		}
		r := open()
		ctx := t.Context()
		r.CreateStream(t, "s", 1)
		arn := aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/s")
		scale := func(i int) error {
			_, err := r.client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: &r.stream, TargetShardCount: aws.Int32(int32(1 + (i+1)%2)), ScalingType: types.ScalingTypeUniformScaling})
			return err
		}
		encrypt := func(i int) (err error) {
			if i%2 == 0 {
				_, err = r.client.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{StreamName: &r.stream, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/k")})
			} else {
				_, err = r.client.StopStreamEncryption(ctx, &kinesis.StopStreamEncryptionInput{StreamName: &r.stream, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/k")})
			}
			return err
		}
		mode := func(i int) error {
			_, err := r.client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{
				StreamMode: []types.StreamMode{types.StreamModeOnDemand, types.StreamModeProvisioned}[i%2],
			}})
			return err
		}
		kinds := []struct {
			name string
			most int
			do   func(int) error
		}{{"UpdateShardCount", 10, scale}, {"encryption", 25, encrypt}, {"mode", 2, mode}}
		for _, k := range kinds {
			for i := range k.most {
				if err := k.do(i); err != nil {
					t.Fatalf("%s %d: %v", k.name, i, err)
				}
			}
		}
		refused := func(when string) {
			t.Helper()
			for _, k := range kinds {
				if err := k.do(k.most); !isLimit[*types.LimitExceededException](err) {
					t.Errorf("%s, one more %s: %v", when, k.name, err)
				}
			}
		}
		refused("at once")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = open()
		refused("after a restart")
		r.Advance(23 * time.Hour)
		refused("23 hours later")
		r.Advance(2 * time.Hour)
		for _, k := range kinds {
			if err := k.do(k.most); err != nil {
				t.Errorf("a day later, %s: %v", k.name, err)
			}
		}
	})
}

// TestTypesOfRefusals has the SDK make of each refusal what AWS's documentation
// names, and retry it if it may.
func TestTypesOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLimitedRig(t, 1, "aws:0.001,creating=1")
		ctx := t.Context()
		put := func() error {
			_, err := r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &r.stream, PartitionKey: aws.String("k"), Data: []byte("x")})
			return err
		}
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if err := put(); !isLimit[*types.ProvisionedThroughputExceededException](err) {
			t.Errorf("PutRecord: %v", err)
		}
		it := r.iterator(0, types.ShardIteratorTypeTrimHorizon)
		_, err := r.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: aws.String("0"), ShardIteratorType: types.ShardIteratorTypeLatest})
		if !isLimit[*types.ProvisionedThroughputExceededException](err) {
			t.Errorf("GetShardIterator: %v", err)
		}
		get := func() error {
			_, err := r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: &it})
			return err
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
		if err := get(); !isLimit[*types.ProvisionedThroughputExceededException](err) {
			t.Errorf("GetRecords: %v", err)
		}
		list := func(c *kinesis.Client) error {
			_, err := c.ListStreams(ctx, &kinesis.ListStreamsInput{})
			return err
		}
		if err := list(r.client); err != nil {
			t.Fatal(err)
		}
		if err := list(r.client); !isLimit[*types.LimitExceededException](err) {
			t.Errorf("ListStreams: %v", err)
		}
		// A client as it comes retries, and gives up as it would with AWS.
		if err := list(r.Kinesis()); err == nil || !strings.Contains(err.Error(), "exceeded maximum number of attempts, 3") || !isLimit[*types.LimitExceededException](err) {
			t.Errorf("ListStreams with retries: %v", err)
		}
	})
}

// TestLimitsOfAccounts shows that one account does not use up what another has.
func TestLimitsOfAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Limits("write-records=10,operations=1,shards=2,creating=1"), streamdtest.TransitionDelay(time.Second))
		client := func(account, region string) *rig {
			c := srv.Kinesis(func(o *kinesis.Options) {
				o.Retryer, o.Region = aws.NopRetryer{}, region
				o.Credentials = credentials.NewStaticCredentialsProvider(account, "secret", "")
			})
			return &rig{Server: srv, client: c, t: t, stream: "s", history: newHistorian(srv)}
		}
		rigs := map[string]*rig{
			"one":                    client("111111111111", "us-east-1"),
			"another":                client("222222222222", "us-east-1"),
			"one in another region":  client("111111111111", "eu-west-1"),
			"another in that region": client("222222222222", "eu-west-1"),
		}
		create := func(r *rig, name string) error {
			_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(2)})
			return err
		}
		for name, r := range rigs {
			if err := create(r, "s"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := create(r, "t"); !isLimit[*types.LimitExceededException](err) || !strings.Contains(err.Error(), "CREATING") {
				t.Errorf("%s, a second stream at once: %v", name, err)
			}
		}
		srv.Advance(2 * time.Second)
		for name, r := range rigs {
			if err := create(r, "t"); !isLimit[*types.LimitExceededException](err) || !strings.Contains(err.Error(), "exceed the shard limit") {
				t.Errorf("%s, more shards: %v", name, err)
			}
			r.expectTaken(name, "0", 20, 10)
			for i := range 6 {
				_, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
				if i < 5 && err != nil || i == 5 && !isLimit[*types.LimitExceededException](err) {
					t.Errorf("%s, ListStreams %d: %v", name, i+1, err)
				}
			}
		}
	})
}

// TestLimitsOfStreams gives streams rates of their own.
func TestLimitsOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLimitedRig(t, 1, "write-records=20;orders-1:off;orders-*:write-records=5")
		for name, want := range map[string]int{"stream": 20, "orders-1": 100, "orders-2": 5, "orders-": 5, "my-orders-2": 20} {
			if name != r.stream {
				r.CreateStream(t, name, 1)
			}
			of := *r
			of.stream = name
			of.expectTaken(name, "0", 100, want)
		}
		// Only streams of a pattern are limited.
		r = newLimitedRig(t, 1, "off;slow:write-records=1")
		r.CreateStream(t, "slow", 1)
		r.expectTaken("another stream", "0", 100, 100)
		r.stream = "slow"
		r.expectTaken("the slow stream", "0", 100, 1)
	})
}

// TestShardQuotaCountsWhatIsComing shows that streams count against the quota
// while they are CREATING and UPDATING.
func TestShardQuotaCountsWhatIsComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, streamdtest.Limits("shards=8,on-demand-streams=1"), streamdtest.TransitionDelay(time.Second))
		ctx := t.Context()
		r.client = r.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
		r.Advance(time.Second)
		must[*kinesis.UpdateShardCountOutput](t)(r.client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: &r.stream, TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling}))
		for i, n := range []int32{3, 2} {
			_, err := r.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String([]string{"a", "b"}[i]), ShardCount: &n})
			if want := "Current shard count for the account: 7. Limit: 8. Number of additional shards that would have resulted from this request: 2."; i == 0 && err != nil || i == 1 && (!isLimit[*types.LimitExceededException](err) || !strings.Contains(err.Error(), want)) {
				t.Errorf("%d more: %v", n, err)
			}
		}
		r.Advance(time.Second)
		toDemand := func(name string) error {
			_, err := r.client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{
				StreamARN: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/" + name), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
			})
			return err
		}
		if err := toDemand("a"); err != nil {
			t.Error(err)
		}
		r.Advance(time.Second)
		if err := toDemand(r.stream); !isLimit[*types.LimitExceededException](err) || !strings.Contains(err.Error(), "Current On-Demand streams count: 1. Limit: 1.") {
			t.Errorf("a second stream ON_DEMAND: %v", err)
		}
	})
}
