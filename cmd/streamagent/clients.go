package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

const localRegion = "us-east-1"

// kinesisClient returns the client that the configuration asks for, and a name for
// the place that it speaks to. What the configuration leaves open is found as the
// AWS tools find it: AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL, the profile. For a
// server on this machine, a region and credentials are made up if there are none.
func kinesisClient(ctx context.Context, cfg *agent.Config) (*kinesis.Client, string, error) {
	var load []func(*config.LoadOptions) error
	if cfg.KinesisRegion != "" {
		load = append(load, config.WithRegion(cfg.KinesisRegion))
	}
	if cfg.AWSAccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(cfg.AWSAccessKeyID, cfg.AWSSecretAccessKey, "")))
	}
	ac, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the AWS configuration: %w; correct ~/.aws/config or the AWS_ variables", err)
	}
	endpoint, err := endpointURL(cfg.KinesisEndpoint)
	if err != nil {
		return nil, "", err
	}
	if endpoint == "" {
		endpoint = aws.ToString(kinesis.NewFromConfig(ac).Options().BaseEndpoint)
	}
	if loopback(endpoint) {
		if ac.Region == "" {
			ac.Region = localRegion
		}
		// The SDK's chain ends with the role of the instance, whose lookup waits for
		// an address that answers only on EC2.
		if ac.Credentials == nil || aws.IsCredentialsProvider(ac.Credentials, (*ec2rolecreds.Provider)(nil)) {
			ac.Credentials = credentials.NewStaticCredentialsProvider("streamagent", "streamagent", "")
		}
	}
	if ac.Region == "" {
		return nil, "", errors.New("no AWS region is configured; set kinesis.region in the configuration, or AWS_REGION; " +
			"for a local server set kinesis.endpoint or AWS_ENDPOINT_URL, as in http://127.0.0.1:4567")
	}
	client := kinesis.NewFromConfig(ac, func(o *kinesis.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		if !customCA(ac) {
			o.HTTPClient = producer.HTTPClient()
		}
	})
	where := endpoint
	if where == "" {
		where = "AWS, region " + ac.Region
	}
	return client, where, nil
}

// endpointURL completes kinesis.endpoint, where the official agent allows a bare
// host.
func endpointURL(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("kinesis.endpoint %q is no URL; write it like http://127.0.0.1:4567", raw)
	}
	return raw, nil
}

func loopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// customCA reports whether AWS_CA_BUNDLE is set: the SDK then needs an HTTP client
// of its own making.
func customCA(ac aws.Config) bool {
	for _, s := range ac.ConfigSources {
		if env, ok := s.(config.EnvConfig); ok && env.CustomCABundle != "" {
			return true
		}
		if shared, ok := s.(config.SharedConfig); ok && shared.CustomCABundle != "" {
			return true
		}
	}
	return false
}
