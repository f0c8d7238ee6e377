// Package endpoint finds out which service the commands speak to, from the
// places where the AWS tools look: the command line, the environment, and the
// shared config files.
//
// The order for the endpoint of one service: --endpoint, then
// AWS_ENDPOINT_URL_KINESIS or AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL, the
// service's endpoint_url in the profile's services section, the profile's own
// endpoint_url, and last AWS itself. AWS_IGNORE_CONFIGURED_ENDPOINT_URLS and
// the profile's ignore_configured_endpoint_urls turn all but --endpoint off.
//
// Source: AWS SDKs and Tools Reference Guide, "Service-specific endpoints".
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/streamkit/streamkit/internal/sdkhttp"
)

// DefaultRegion is the region of a loopback endpoint when none is configured.
const DefaultRegion = "us-east-1"

// Local is the endpoint of a streamd that runs with its defaults.
const Local = "http://127.0.0.1:4567"

// ErrNoRegion means that AWS is to be called and no region is configured.
var ErrNoRegion = errors.New("no region is configured")

// Options are what the command line, or the program's own configuration, says.
// An empty field leaves the choice to the environment and the config files.
type Options struct {
	Endpoint string
	Region   string
	Profile  string

	// AWS leads to AWS whatever endpoint the environment and the config files
	// name. It excludes Endpoint.
	AWS bool

	AccessKeyID     string
	SecretAccessKey string // with AccessKeyID

	// Role is assumed on top of the other credentials; nil: none.
	Role *Role

	// ConnectTimeout bounds the making of a connection, and then its TLS handshake;
	// 0: 6s.
	ConnectTimeout time.Duration

	// Transport wraps what carries the requests of all clients; nil leaves it.
	Transport func(http.RoundTripper) http.RoundTripper
}

// A Role is assumed with the Security Token Service.
type Role struct {
	ARN         string
	ExternalID  string // empty: none
	SessionName string
	Endpoint    string // of the service; empty: the SDK's choice
}

// Where names the service that a client speaks to.
type Where struct {
	URL    string // empty: AWS's own endpoint for Region
	Region string
}

// String names the service for a person.
func (w Where) String() string {
	if w.URL == "" {
		return "AWS, region " + w.Region
	}
	return w.URL
}

// Loopback reports whether the service runs on this machine.
func (w Where) Loopback() bool { return Loopback(w.URL) }

// Loopback reports whether the host of rawURL is this machine, by name or by
// address. No name is looked up.
func Loopback(rawURL string) bool {
	u, err := url.Parse(rawURL)
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

// A Config is loaded once and makes the clients.
type Config struct {
	opts Options
	aws  aws.Config
	http *http.Client // shared by the clients
}

// Load reads the environment and the shared config files. It makes no request.
func Load(ctx context.Context, opts Options) (*Config, error) {
	if opts.Endpoint != "" {
		if err := check(opts.Endpoint); err != nil {
			return nil, err
		}
	}
	// The SDK would write its own remarks between ours; what matters comes back
	// as an error.
	load := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})}
	if opts.Region != "" {
		load = append(load, config.WithRegion(opts.Region))
	}
	if opts.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(opts.Profile))
	}
	if opts.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKeyID, opts.SecretAccessKey, "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, err
	}
	if r := opts.Role; r != nil {
		client := sts.NewFromConfig(cfg, func(o *sts.Options) {
			if r.Endpoint != "" {
				o.BaseEndpoint = aws.String(r.Endpoint)
			}
			if o.Region == "" {
				o.Region = DefaultRegion
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, r.ARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName, o.Duration = r.SessionName, time.Hour
			if r.ExternalID != "" {
				o.ExternalID = aws.String(r.ExternalID)
			}
		}))
	}
	c := &Config{opts: opts, aws: cfg}
	c.http = c.httpClient()
	if opts.Transport != nil {
		c.http = &http.Client{Transport: opts.Transport(c.http.Transport)}
	}
	return c, nil
}

// check returns an error that says what to write instead, unless raw is a URL
// with a host.
func check(raw string) error {
	if _, _, err := net.SplitHostPort(raw); err == nil && !strings.Contains(raw, "/") {
		return fmt.Errorf("endpoint %q has no scheme: write http://%s", raw, raw)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("endpoint %q is not a URL: write it like %s", raw, Local)
	}
	return nil
}

// Kinesis returns a client for Kinesis, and where it leads.
func (c *Config) Kinesis() (*kinesis.Client, Where, error) {
	probe := kinesis.NewFromConfig(c.aws).Options()
	w, creds, err := c.resolve(probe.BaseEndpoint)
	if err != nil {
		return nil, w, err
	}
	set := func(o *kinesis.Options) {
		o.Region, o.Credentials, o.HTTPClient = w.Region, creds, c.http
		if c.opts.AWS {
			o.BaseEndpoint = nil
		}
		if w.URL != "" {
			o.BaseEndpoint = aws.String(w.URL)
		}
	}
	return kinesis.NewFromConfig(c.aws, set), w, nil
}

// Firehose returns a client for Amazon Data Firehose, and where it leads. Its
// endpoint is not that of Options: a server of Kinesis does not speak Firehose.
// Empty, it is looked for as the others are, under AWS_ENDPOINT_URL_FIREHOSE and
// so on.
func (c *Config) Firehose(url string) (*firehose.Client, Where, error) {
	if url != "" {
		if err := check(url); err != nil {
			return nil, Where{}, err
		}
	}
	other := *c
	other.opts.Endpoint = url
	w, creds, err := other.resolve(firehose.NewFromConfig(c.aws).Options().BaseEndpoint)
	if err != nil {
		return nil, w, err
	}
	set := func(o *firehose.Options) {
		o.Region, o.Credentials, o.HTTPClient = w.Region, creds, c.http
		if w.URL != "" {
			o.BaseEndpoint = aws.String(w.URL)
		}
	}
	return firehose.NewFromConfig(c.aws, set), w, nil
}

// DynamoDB returns a client for DynamoDB, and where it leads.
func (c *Config) DynamoDB() (*dynamodb.Client, Where, error) {
	probe := dynamodb.NewFromConfig(c.aws).Options()
	w, creds, err := c.resolve(probe.BaseEndpoint)
	if err != nil {
		return nil, w, err
	}
	set := func(o *dynamodb.Options) {
		o.Region, o.Credentials, o.HTTPClient = w.Region, creds, c.http
		if c.opts.AWS {
			o.BaseEndpoint = nil
		}
		if w.URL != "" {
			o.BaseEndpoint = aws.String(w.URL)
		}
	}
	return dynamodb.NewFromConfig(c.aws, set), w, nil
}

// httpClient returns the HTTP client for bulk transfer, see [sdkhttp.Client].
// With a CA bundle configured, which the SDK has built into its own transport,
// it is made of that.
func (c *Config) httpClient() *http.Client {
	b, ok := c.aws.HTTPClient.(*awshttp.BuildableClient)
	if ok && c.customCA() {
		if d := c.opts.ConnectTimeout; d > 0 {
			b = b.WithDialerOptions(func(dialer *net.Dialer) { dialer.Timeout = d }).
				WithTransportOptions(func(t *http.Transport) { t.TLSHandshakeTimeout = d })
		}
		return &http.Client{Transport: sdkhttp.Wrap(b.GetTransport())}
	}
	if d := c.opts.ConnectTimeout; d > 0 {
		return sdkhttp.ClientWithin(d)
	}
	return sdkhttp.Client()
}

func (c *Config) customCA() bool {
	for _, s := range c.aws.ConfigSources {
		if env, ok := s.(config.EnvConfig); ok && env.CustomCABundle != "" {
			return true
		}
		if shared, ok := s.(config.SharedConfig); ok && shared.CustomCABundle != "" {
			return true
		}
	}
	return false
}

// resolve completes what the SDK found with what this package adds: --endpoint
// over all, and a region and credentials for a loopback endpoint.
func (c *Config) resolve(configured *string) (Where, aws.CredentialsProvider, error) {
	w := Where{URL: c.opts.Endpoint, Region: c.aws.Region}
	if w.URL == "" && aws.ToString(configured) != "" && !c.opts.AWS {
		w.URL = *configured
		if err := check(w.URL); err != nil {
			return w, nil, fmt.Errorf("%w (it comes from the environment or the profile)", err)
		}
	}
	creds := c.aws.Credentials
	if w.Loopback() {
		if w.Region == "" {
			w.Region = DefaultRegion
		}
		// The chain of the SDK ends with the instance's role, whose lookup waits
		// for an address that answers only on EC2. A chain that came down to it
		// has nothing configured.
		if creds == nil || aws.IsCredentialsProvider(creds, (*ec2rolecreds.Provider)(nil)) {
			creds = credentials.NewStaticCredentialsProvider("local", "local", "")
		}
	}
	if w.Region == "" {
		return w, nil, fmt.Errorf("%w: name one with --region or AWS_REGION, or use a local server with --endpoint %s or AWS_ENDPOINT_URL", ErrNoRegion, Local)
	}
	return w, creds, nil
}
