package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/cmd/internal/endpoint"
)

// kinesisClient returns the client that the configuration asks for, and a name for
// the place that it speaks to. What the configuration leaves open is found as the
// AWS tools find it.
func kinesisClient(ctx context.Context, cfg *agent.Config) (*kinesis.Client, string, error) {
	ec, err := endpoint.Load(ctx, endpoint.Options{
		Endpoint:        endpointURL(cfg.KinesisEndpoint),
		Region:          cfg.KinesisRegion,
		AccessKeyID:     cfg.AWSAccessKeyID,
		SecretAccessKey: cfg.AWSSecretAccessKey,
	})
	if err != nil {
		return nil, "", fmt.Errorf("cannot find the service: %w; correct kinesis.endpoint, ~/.aws/config or the AWS_ variables", err)
	}
	client, where, err := ec.Kinesis()
	if errors.Is(err, endpoint.ErrNoRegion) {
		return nil, "", errors.New("no AWS region is configured; set kinesis.region in the configuration, or AWS_REGION; " +
			"for a local server set kinesis.endpoint or AWS_ENDPOINT_URL, as in " + endpoint.Local)
	}
	return client, where.String(), err
}

// endpointURL completes kinesis.endpoint, where the official agent allows a bare
// host.
func endpointURL(raw string) string {
	if raw == "" || strings.Contains(raw, "://") {
		return raw
	}
	return "https://" + raw
}
