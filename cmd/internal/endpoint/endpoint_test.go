package endpoint_test

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
)

const profiles = `
[profile plain]
region = eu-west-1

[profile local]
endpoint_url = http://127.0.0.1:1111

[profile local-off]
endpoint_url = http://127.0.0.1:1111
ignore_configured_endpoint_urls = true
region = eu-west-1

[profile services]
region = eu-central-1
services = ours
endpoint_url = http://127.0.0.1:1111

[profile keys]
endpoint_url = http://localhost:1111
aws_access_key_id = AKIDPROFILE
aws_secret_access_key = secret

[services ours]
kinesis =
  endpoint_url = http://127.0.0.1:2222
dynamodb =
  endpoint_url = http://127.0.0.1:3333
`

// isolate hides the AWS settings of the machine from the test.
func isolate(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // restores it afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(profiles), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
}

// metadata stands for the machine's metadata service, and counts what it is
// asked: a machine that has none makes who asks wait.
func metadata(t *testing.T) (asked func() int64) {
	t.Helper()
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", srv.URL)
	return n.Load
}

func TestResolve(t *testing.T) {
	type want struct {
		kinesis, dynamodb string // endpoints; empty for AWS
		region            string
		key               string // access key of the Kinesis client
	}
	const dummy = "local"
	for _, tt := range []struct {
		name string
		env  map[string]string
		opts endpoint.Options
		want want
	}{
		{
			name: "the flag wins over everything",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:6", "AWS_PROFILE": "local"},
			opts: endpoint.Options{Endpoint: "http://127.0.0.1:9"},
			want: want{"http://127.0.0.1:9", "http://127.0.0.1:9", "us-east-1", dummy},
		},
		{
			name: "the flag works although configured endpoints are ignored",
			env:  map[string]string{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
			opts: endpoint.Options{Endpoint: "http://[::1]:9"},
			want: want{"http://[::1]:9", "http://[::1]:9", "us-east-1", dummy},
		},
		{
			name: "one variable for all services",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://localhost:5"},
			want: want{"http://localhost:5", "http://localhost:5", "us-east-1", dummy},
		},
		{
			name: "the service's variable wins over the common one",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://localhost:5", "AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:6"},
			want: want{"http://localhost:5", "http://localhost:6", "us-east-1", dummy},
		},
		{
			name: "both service variables",
			env:  map[string]string{"AWS_ENDPOINT_URL_KINESIS": "http://localhost:5", "AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:6"},
			want: want{"http://localhost:5", "http://localhost:6", "us-east-1", dummy},
		},
		{
			name: "profile by flag",
			opts: endpoint.Options{Profile: "local"},
			want: want{"http://127.0.0.1:1111", "http://127.0.0.1:1111", "us-east-1", dummy},
		},
		{
			name: "profile by environment",
			env:  map[string]string{"AWS_PROFILE": "local"},
			want: want{"http://127.0.0.1:1111", "http://127.0.0.1:1111", "us-east-1", dummy},
		},
		{
			name: "services section of a profile",
			opts: endpoint.Options{Profile: "services"},
			want: want{"http://127.0.0.1:2222", "http://127.0.0.1:3333", "eu-central-1", dummy},
		},
		{
			name: "the environment wins over the profile",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:5"},
			opts: endpoint.Options{Profile: "services"},
			want: want{"http://127.0.0.1:5", "http://127.0.0.1:5", "eu-central-1", dummy},
		},
		{
			name: "ignored by environment",
			env:  map[string]string{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s"},
			want: want{"", "", "eu-west-1", "AKIDENV"},
		},
		{
			name: "ignored by profile",
			env:  map[string]string{"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s"},
			opts: endpoint.Options{Profile: "local-off", Region: "sa-east-1"},
			want: want{kinesis: "", dynamodb: "", region: "sa-east-1"},
		},
		{
			name: "AWS whatever is configured",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:6", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s"},
			opts: endpoint.Options{AWS: true},
			want: want{"", "", "eu-west-1", "AKIDENV"},
		},
		{
			name: "keys of the profile are kept for a loopback endpoint",
			opts: endpoint.Options{Profile: "keys"},
			want: want{"http://localhost:1111", "http://localhost:1111", "us-east-1", "AKIDPROFILE"},
		},
		{
			name: "a configured region is kept for a loopback endpoint",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_REGION": "eu-west-1"},
			want: want{"http://127.0.0.1:5", "http://127.0.0.1:5", "eu-west-1", dummy},
		},
		{
			name: "region by flag",
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_REGION": "eu-west-1"},
			opts: endpoint.Options{Region: "ap-south-1"},
			want: want{"http://127.0.0.1:5", "http://127.0.0.1:5", "ap-south-1", dummy},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			asked := metadata(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			cfg, err := endpoint.Load(t.Context(), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			k, kw, err := cfg.Kinesis()
			if err != nil {
				t.Fatal(err)
			}
			d, dw, err := cfg.DynamoDB()
			if err != nil {
				t.Fatal(err)
			}
			got := want{kinesis: kw.URL, dynamodb: dw.URL, region: kw.Region}
			if o := k.Options(); tt.opts.AWS && o.BaseEndpoint != nil {
				t.Errorf("the client has endpoint %v", *o.BaseEndpoint)
			}
			if o := d.Options(); tt.opts.AWS && o.BaseEndpoint != nil {
				t.Errorf("the client of DynamoDB has endpoint %v", *o.BaseEndpoint)
			}
			if o := k.Options(); o.Region != kw.Region || (o.BaseEndpoint != nil && *o.BaseEndpoint != kw.URL) {
				t.Errorf("client has endpoint %v, region %q; want %+v", o.BaseEndpoint, o.Region, kw)
			}
			if o := d.Options(); o.Region != dw.Region || (o.BaseEndpoint != nil && *o.BaseEndpoint != dw.URL) {
				t.Errorf("client has endpoint %v, region %q; want %+v", o.BaseEndpoint, o.Region, dw)
			}
			if tt.want.key != "" {
				creds, err := k.Options().Credentials.Retrieve(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if n := asked(); n > 0 {
					t.Errorf("the machine's metadata service was asked %d times", n)
				}
				got.key = creds.AccessKeyID
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		opts endpoint.Options
		want string // part of the message
		is   error
	}{
		{name: "no region for AWS", want: "--region", is: endpoint.ErrNoRegion},
		{
			name: "no region for a host that is not this one", opts: endpoint.Options{Endpoint: "http://streams.example:4567"},
			want: "--region", is: endpoint.ErrNoRegion,
		},
		{name: "host and port only", opts: endpoint.Options{Endpoint: "127.0.0.1:4567"}, want: "write http://127.0.0.1:4567"},
		{name: "host only", opts: endpoint.Options{Endpoint: "localhost"}, want: "is not a URL"},
		{name: "another scheme", opts: endpoint.Options{Endpoint: "ftp://localhost"}, want: "is not a URL"},
		{name: "bad URL in the environment", env: map[string]string{"AWS_ENDPOINT_URL": "localhost:4567"}, want: "it comes from the environment or the profile"},
		{name: "unknown profile", opts: endpoint.Options{Profile: "nobody"}, want: "nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			cfg, err := endpoint.Load(t.Context(), tt.opts)
			if err == nil {
				_, _, err = cfg.Kinesis()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error = %v, want one with %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	for url, want := range map[string]bool{
		"http://localhost:4567":         true,
		"http://LOCALHOST":              true,
		"https://streams.localhost":     true,
		"http://127.0.0.1:4567":         true,
		"http://127.9.9.9":              true,
		"http://[::1]:4567":             true,
		"http://[::ffff:127.0.0.1]:1":   true,
		"http://10.0.0.1:4567":          false,
		"http://localhost.example.com":  false,
		"https://kinesis.amazonaws.com": false,
		"":                              false,
		"://":                           false,
	} {
		if got := endpoint.Loopback(url); got != want {
			t.Errorf("Loopback(%q) = %v, want %v", url, got, want)
		}
	}
}

// TestCABundle checks that a client made with AWS_CA_BUNDLE trusts the bundle,
// and is still the one for bulk transfer.
func TestCABundle(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = w.Write([]byte(`{"HasMoreStreams":false,"StreamNames":["seen"]}`))
	}))
	defer srv.Close()
	for _, tt := range []struct {
		name   string
		bundle bool
	}{{"with the bundle", true}, {"without", false}} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			if tt.bundle {
				file := filepath.Join(t.TempDir(), "ca.pem")
				data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv("AWS_CA_BUNDLE", file)
			}
			cfg, err := endpoint.Load(t.Context(), endpoint.Options{Endpoint: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			k, _, err := cfg.Kinesis()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := k.Options().HTTPClient.(*http.Client); !ok {
				t.Errorf("HTTP client is a %T", k.Options().HTTPClient)
			}
			out, err := k.ListStreams(t.Context(), &kinesis.ListStreamsInput{}, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
			if (err == nil) != tt.bundle {
				t.Fatalf("ListStreams: %v, %v", out, err)
			}
		})
	}
}
