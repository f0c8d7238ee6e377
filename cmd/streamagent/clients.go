package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	fhtypes "github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/firehose"
)

// errNoCredentials means that nothing says who the agent is.
var errNoCredentials = errors.New("no AWS credentials are found")

// getCredentials is what to do about errNoCredentials.
const getCredentials = "set awsAccessKeyId and awsSecretAccessKey in the configuration, or AWS_ACCESS_KEY_ID and " +
	"AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"

// describeTimeout bounds the look at each stream before the start.
const describeTimeout = 5 * time.Second

// services are the clients that a configuration asks for.
type services struct {
	cfg      agent.Service
	kinesis  *kinesis.Client
	firehose *awsfirehose.Client // nil if no flow needs it
	where    string              // of Kinesis; of Firehose if no flow needs Kinesis
	delivery string              // where Firehose is
	online   bool                // an answer about each stream is what is asked for
	log      *slog.Logger
}

// connect returns the clients for the flows of cfg. What the configuration leaves
// open is found as the AWS tools find it. It makes no request.
func connect(ctx context.Context, cfg *agent.Config, log *slog.Logger) (*services, error) {
	c := cfg.Service
	opts := endpoint.Options{
		Endpoint:        endpointURL(c.KinesisEndpoint),
		Region:          cmp.Or(c.KinesisRegion, regionOf(c.KinesisEndpoint), regionOf(c.FirehoseEndpoint)),
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: c.SecretAccessKey,
		Transport:       transport(c),
		ConnectTimeout:  c.ConnectionTimeout,
	}
	if c.AssumeRoleARN != "" {
		opts.Role = &endpoint.Role{
			ARN: c.AssumeRoleARN, ExternalID: c.AssumeRoleExternalID, SessionName: "AWSKinesisAgent", Endpoint: endpointURL(c.STSEndpoint),
		}
	}
	ec, err := endpoint.Load(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("cannot find the service: %w; correct kinesis.endpoint, ~/.aws/config or the AWS_ variables", err)
	}
	s := &services{cfg: c, log: log}
	for _, f := range cfg.Flows {
		var w endpoint.Where
		switch {
		case f.Firehose() && s.firehose == nil:
			s.firehose, w, err = ec.Firehose(endpointURL(c.FirehoseEndpoint))
			s.delivery = w.String()
		case !f.Firehose() && s.kinesis == nil:
			s.kinesis, w, err = ec.Kinesis()
			s.where = w.String()
		}
		if errors.Is(err, endpoint.ErrNoRegion) {
			return nil, errors.New("no AWS region is configured; set kinesis.region in the configuration, or AWS_REGION; " +
				"for a local server set kinesis.endpoint or AWS_ENDPOINT_URL, as in " + endpoint.Local)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.where == "" {
		s.where = s.delivery
	}
	return s, nil
}

// endpointURL completes an endpoint, where the official agent allows a bare host.
func endpointURL(raw string) string {
	if raw == "" || strings.Contains(raw, "://") {
		return raw
	}
	return "https://" + raw
}

// regionName is one of the labels of the host of a service of AWS.
var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)

// regionOf returns the region that an endpoint of AWS names, as the official agent finds
// it; empty if it is none. The environment says nothing against it: requests that are
// signed for another region are refused there.
func regionOf(raw string) string {
	u, err := url.Parse(endpointURL(raw))
	if err != nil {
		return ""
	}
	host := strings.TrimSuffix(u.Hostname(), ".cn")
	if !strings.HasSuffix(host, ".amazonaws.com") {
		return ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if regionName.MatchString(label) {
			return label
		}
	}
	return ""
}

// open makes the sink of a flow.
func (s *services) open(f agent.FlowConfig, memory int64) (agent.Sink, error) {
	if f.Firehose() {
		return firehose.New(s.firehose, f.DeliveryStream, firehoseConfig(f, s.cfg, memory, s.log))
	}
	return producer.New(s.kinesis, f.KinesisStream, producerConfig(f, s.cfg, memory, s.log))
}

// producerConfig carries a flow's settings over to its producer.
func producerConfig(f agent.FlowConfig, s agent.Service, memory int64, log *slog.Logger) producer.Config {
	const (
		leastRequest = 52224   // the producer's own bound
		leastRecord  = 1 << 20 // what every stream takes
	)
	onFailure := producer.SkipOne // what the stream refuses takes no other line with it
	if f.Ordering == agent.OrderingFile {
		onFailure = producer.StopKeyed
	}
	record := max(f.MaxRecordBytes, leastRecord)
	return producer.Config{
		DisableAggregation:    !f.Aggregation,
		RecordMaxBufferedTime: f.MaxBufferAge,
		CollectionMaxCount:    f.MaxBufferSizeRecords,
		CollectionMaxSize:     max(f.MaxBufferSizeBytes, leastRequest),
		MaxBufferedBytes:      max(memory, 2*int64(record)),
		MaxUserRecordSize:     record,
		Encoding:              producer.EncodingAuto, // the official agent's SDK writes CBOR, too
		RequestTimeout:        s.SocketTimeout,
		RecordTTL:             cmp.Or(f.RecordTTL, -1), // a record waits in the file for as long as it takes
		OnFailure:             onFailure,
		Logger:                log,
	}
}

// firehoseConfig carries a flow's settings over to its Firehose producer. Lines
// bring their newline along; nothing else ends a record there.
func firehoseConfig(f agent.FlowConfig, s agent.Service, memory int64, log *slog.Logger) firehose.Config {
	const (
		leastRequest = 1024000
		leastMemory  = 2 * leastRequest
		leastPacked  = 64
	)
	packed := f.AggregatedRecordSizeBytes
	if f.MultiLineStart != nil {
		packed = 0
	}
	cfg := firehose.Config{
		DisableDelimiter:      true,
		DisableAggregation:    packed == 0,
		RecordMaxBufferedTime: f.MaxBufferAge,
		CollectionMaxCount:    f.MaxBufferSizeRecords,
		CollectionMaxSize:     max(f.MaxBufferSizeBytes, leastRequest),
		MaxBufferedBytes:      max(memory, leastMemory),
		RequestTimeout:        s.SocketTimeout,
		RecordTTL:             cmp.Or(f.RecordTTL, -1),
		Logger:                log,
	}
	if packed > 0 {
		cfg.AggregationMaxSize = max(packed, leastPacked)
	}
	return cfg
}

// checkStreams looks whether the streams exist. A service that cannot be reached
// is no reason not to start: the files wait. Nor is a policy that does not allow
// the look.
func (s *services) checkStreams(ctx context.Context, flows []agent.FlowConfig) error {
	var errs []error
	seen := make(map[string]bool)
	unreachable := make(map[bool]bool) // by Firehose: the others would only take as long
	for _, f := range flows {
		if seen[f.Destination()] || unreachable[f.Firehose()] {
			continue
		}
		seen[f.Destination()] = true
		err := s.describe(ctx, f)
		_, missing := errors.AsType[*types.ResourceNotFoundException](err)
		_, missingDelivery := errors.AsType[*fhtypes.ResourceNotFoundException](err)
		api, answered := errors.AsType[smithy.APIError](err)
		switch {
		case err == nil || ctx.Err() != nil:
		case missing:
			errs = append(errs, fmt.Errorf("stream %q does not exist at %s; create it with \"streamctl stream create %s\", "+
				"or correct kinesisStream in the configuration", f.KinesisStream, s.where, f.KinesisStream))
		case missingDelivery:
			errs = append(errs, fmt.Errorf("delivery stream %q does not exist at %s; create it, "+
				"or correct deliveryStream in the configuration", f.DeliveryStream, s.delivery))
		case answered && !s.online && strings.Contains(api.ErrorCode(), "AccessDenied"):
			s.log.Debug("not allowed to look at the stream", slog.String("stream", f.Stream()))
		case errors.Is(err, errNoCredentials) && s.online:
			errs = append(errs, fmt.Errorf("%w; %s", err, getCredentials))
			unreachable[f.Firehose()] = true
		case errors.Is(err, errNoCredentials):
			s.log.Warn("no AWS credentials are found, and the files wait until there are some; "+getCredentials, slog.Any("err", err))
			unreachable[f.Firehose()] = true
		case s.online:
			errs = append(errs, fmt.Errorf("cannot look at stream %q: %w; correct the endpoint, or try without --online", f.Stream(), err))
			unreachable[f.Firehose()] = true
		default:
			s.log.Warn("cannot look at the stream; the files wait until it can be reached",
				slog.String("stream", f.Stream()), slog.Any("err", err))
			unreachable[f.Firehose()] = true
		}
	}
	return errors.Join(errs...)
}

func (s *services) describe(ctx context.Context, f agent.FlowConfig) error {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	creds := s.credentials(f)
	if creds == nil {
		return errNoCredentials
	}
	if _, err := creds.Retrieve(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	if f.Firehose() {
		_, err := s.firehose.DescribeDeliveryStream(ctx, &awsfirehose.DescribeDeliveryStreamInput{DeliveryStreamName: aws.String(f.DeliveryStream)})
		return err
	}
	_, err := s.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(f.KinesisStream)})
	return err
}

// credentials is where the client of a flow has its credentials from.
func (s *services) credentials(f agent.FlowConfig) aws.CredentialsProvider {
	if f.Firehose() {
		return s.firehose.Options().Credentials
	}
	return s.kinesis.Options().Credentials
}

// transport returns what wraps the transport of all clients; nil for nothing.
func transport(s agent.Service) func(http.RoundTripper) http.RoundTripper {
	calls := s.MaxSendingThreads
	if calls == 0 {
		calls = s.MaxSendingThreadsPerCore * runtime.NumCPU()
	}
	if s.MaxConnections > 0 && (calls == 0 || s.MaxConnections < calls) {
		calls = s.MaxConnections
	}
	if calls == 0 && s.UserAgent == "" && s.UserAgentOverride == "" {
		return nil
	}
	return func(next http.RoundTripper) http.RoundTripper {
		t := &bounded{next: next, prefix: s.UserAgent, whole: s.UserAgentOverride}
		if calls > 0 {
			t.slots = make(chan struct{}, calls) // a place for each call in flight
		}
		return t
	}
}

// bounded is a transport with a bound on the calls at once and a user agent.
type bounded struct {
	next          http.RoundTripper
	slots         chan struct{} // nil: no bound
	prefix, whole string
}

// RoundTrip implements [http.RoundTripper].
func (t *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.slots != nil {
		select {
		case t.slots <- struct{}{}:
			defer func() { <-t.slots }()
		case <-req.Context().Done():
			if req.Body != nil {
				_ = req.Body.Close() // as every transport must
			}
			return nil, req.Context().Err()
		}
	}
	agentName := t.whole
	if agentName == "" && t.prefix != "" {
		agentName = strings.TrimSpace(t.prefix + " " + req.Header.Get("User-Agent"))
	}
	if agentName != "" {
		// The user agent is not among what is signed.
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", agentName)
	}
	return t.next.RoundTrip(req)
}
