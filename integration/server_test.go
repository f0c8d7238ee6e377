package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/producer"
)

// A server is a streamd process that can be killed and started again on the
// same addresses and the same data.
type server struct {
	*process
	t       *testing.T
	addr    string // of the AWS APIs
	admin   string
	dataDir string
	client  *http.Client
	front   []string        // command in front of streamd
	starts  []time.Duration // how long each start took until it was ready
}

// startServer runs streamd on a fresh data directory, with a command in front if
// one is given.
func startServer(t *testing.T, front ...string) *server {
	t.Helper()
	s := &server{t: t, front: front, addr: freeAddr(t), admin: freeAddr(t), dataDir: t.TempDir(), client: producer.HTTPClient()}
	t.Cleanup(s.client.CloseIdleConnections)
	s.start()
	return s
}

// start runs the process and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.process = startUnder(s.t, s.front, "streamd", nil, "--listen", s.addr, "--admin", s.admin, "--data", s.dataDir)
	began := time.Now()
	eventually(s.t, time.Minute, "streamd ready", func() error {
		if s.ended() {
			return fmt.Errorf("%w: streamd ended: %w", errGiveUp, s.err)
		}
		return httpOK(s.t.Context(), "http://"+s.admin+"/readyz")
	})
	s.starts = append(s.starts, time.Since(began).Round(time.Millisecond))
	s.t.Logf("streamd ready after %v", s.starts[len(s.starts)-1])
}

// url is the endpoint for clients.
func (s *server) url() string { return "http://" + s.addr }

// env points a process that speaks to AWS here.
func (s *server) env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.url(),
		"AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
	}
}

func (s *server) config() aws.Config {
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(s.url()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   s.client,
	}
}

func (s *server) kinesis() *kinesis.Client { return kinesis.NewFromConfig(s.config()) }

func (s *server) dynamodb() *dynamodb.Client { return dynamodb.NewFromConfig(s.config()) }

// noRetry makes one call one request, so that what is answered is what was
// done.
func noRetry(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

// createStream makes a stream and waits until it is active.
func (s *server) createStream(name string, shards int32) {
	s.t.Helper()
	_, err := s.kinesis().CreateStream(s.t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.awaitActive(s.t.Context(), name); err != nil {
		s.t.Fatal(err)
	}
}

// readShard reads a shard from its oldest record: to its end if it is closed,
// else until the server says that nothing is behind the last record.
func (s *server) readShard(ctx context.Context, stream, shard string) ([]types.Record, error) {
	c := s.kinesis()
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return nil, err
	}
	var all []types.Record
	next := it.ShardIterator
	for next != nil {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return all, err
		}
		all = append(all, out.Records...)
		next = out.NextShardIterator
		if len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) == 0 {
			if next == nil {
				break
			}
			return all, nil
		}
	}
	return all, nil
}
