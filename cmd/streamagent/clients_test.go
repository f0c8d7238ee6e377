package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// What a flow's keys make of its producer.
func TestProducerConfig(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	plain := producerConfig(agent.FlowConfig{MaxRecordBytes: 2048}, agent.Service{}, 1, log)
	if plain.OnFailure != producer.SkipOne || plain.RecordTTL >= 0 || plain.MaxUserRecordSize != 1<<20 || plain.MaxBufferedBytes != 2<<20 {
		t.Errorf("a plain flow: %+v", plain)
	}
	f := agent.FlowConfig{
		Ordering: agent.OrderingFile, RecordTTL: time.Minute, MaxRecordBytes: 10 << 20, MaxBufferSizeBytes: 10 << 20,
		MaxBufferAge: time.Second, MaxBufferSizeRecords: 7,
	}
	c := producerConfig(f, agent.Service{SocketTimeout: 3 * time.Second}, 64<<20, log)
	if c.OnFailure != producer.StopKeyed || c.RecordTTL != time.Minute || c.MaxUserRecordSize != 10<<20 || c.MaxBufferedBytes != 64<<20 ||
		c.CollectionMaxSize != 10<<20 || c.CollectionMaxCount != 7 || c.RecordMaxBufferedTime != time.Second || c.RequestTimeout != 3*time.Second {
		t.Errorf("a flow with all keys: %+v", c)
	}
	fh := firehoseConfig(f, agent.Service{SocketTimeout: 3 * time.Second}, 64<<20, log)
	if fh.RecordTTL != time.Minute || fh.MaxBufferedBytes != 64<<20 || fh.CollectionMaxSize != 10<<20 || fh.CollectionMaxCount != 7 ||
		fh.RecordMaxBufferedTime != time.Second || fh.RequestTimeout != 3*time.Second || !fh.DisableAggregation {
		t.Errorf("a delivery stream with all keys: %+v", fh)
	}
	if got := firehoseConfig(agent.FlowConfig{}, agent.Service{}, 1, log).RecordTTL; got >= 0 {
		t.Errorf("a delivery stream keeps records for %v, want for ever", got)
	}
}

// The least of the keys that bound them is how many calls are made at once.
func TestCallsAtOnce(t *testing.T) {
	cores := runtime.NumCPU()
	for _, tt := range []struct {
		service agent.Service
		want    int // 0: no bound
	}{
		{agent.Service{}, 0},
		{agent.Service{UserAgent: "x"}, 0},
		{agent.Service{MaxSendingThreads: 3}, 3},
		{agent.Service{MaxSendingThreadsPerCore: 3}, 3 * cores},
		{agent.Service{MaxSendingThreads: 2, MaxSendingThreadsPerCore: 3}, 2},
		{agent.Service{MaxConnections: 4}, 4},
		{agent.Service{MaxConnections: 4, MaxSendingThreads: 3}, 3},
		{agent.Service{MaxConnections: 4, MaxSendingThreads: 5}, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			var (
				mu            sync.Mutex // guards what follows
				running, most int
			)
			count := func(n int) {
				mu.Lock()
				defer mu.Unlock()
				running += n
				most = max(most, running)
			}
			next := roundTripper(func(*http.Request) (*http.Response, error) {
				count(1)
				time.Sleep(time.Second)
				count(-1)
				return &http.Response{Body: http.NoBody}, nil
			})
			client := http.RoundTripper(next)
			if wrap := transport(tt.service); wrap != nil {
				client = wrap(next)
			}
			calls := 4*cores + 6 // more than any bound
			want := cmp.Or(tt.want, calls)
			var wait sync.WaitGroup
			start := time.Now()
			for range calls {
				wait.Go(func() {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x", http.NoBody)
					if err != nil {
						t.Error(err)
						return
					}
					resp, err := client.RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					_ = resp.Body.Close() // there is none
				})
			}
			wait.Wait()
			if took := time.Duration((calls+want-1)/want) * time.Second; time.Since(start) != took || most != want {
				t.Errorf("%+v: %d calls at once took %v, want %d and %v", tt.service, most, time.Since(start), want, took)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The log has what log.level lets through, and the flag wins over it.
func TestLogLevel(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	for _, tt := range []struct {
		key   string
		flags []string
		info  bool
	}{
		{``, nil, true},
		{`"log.level": "DEBUG",`, nil, true},
		{`"log.level": "WARN",`, nil, false},
		{`"log.level": "ERROR",`, nil, false},
		{`"log.level": "ERROR",`, []string{"--log-level", "info"}, true},
		{`"log.level": "INFO",`, []string{"--log-level", "error"}, false},
	} {
		config, _ := setUp(t, srv.Endpoint(), tt.key)
		var errOut buffer
		if code := run(t.Context(), append([]string{"run", "--once", "-c", config}, tt.flags...), io.Discard, &errOut); code != exitOK {
			t.Fatalf("exit code %d:\n%s", code, errOut.String())
		}
		if got := strings.Contains(errOut.String(), "level=INFO msg=started"); got != tt.info {
			t.Errorf("%s %q: log %q", tt.key, tt.flags, errOut.String())
		}
	}
}

// The metrics for CloudWatch are in the namespace of the configuration, and have the
// instance's id or the host's name as a dimension.
func TestCloudWatchSettings(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		}
		_, _ = io.WriteString(w, map[string]string{http.MethodPut: "token", http.MethodGet: "i-123"}[r.Method])
	}))
	t.Cleanup(metadata.Close)
	for _, tt := range []struct{ name, tag, disabled, dimensions, instance string }{
		{"without", "false", "true", `"Dimensions":[["Destination"]]`, `"Destination":"KinesisStream:s","BytesSent"`},
		{"the host", "true", "true", `"Dimensions":[["Destination","Instance"]]`, `"Instance":"` + host + `"`},
		{"an instance of EC2", "true", "false", `"Dimensions":[["Destination","Instance"]]`, `"Instance":"i-123"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config, _ := setUp(t, srv.Endpoint(), `"cloudwatch.emitMetrics": true, "cloudwatch.namespace": "Mine", "cloudwatch.tagInstance": `+tt.tag+`,`)
			t.Setenv("AWS_EC2_METADATA_DISABLED", tt.disabled)
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
			var out buffer
			if code := run(t.Context(), []string{"run", "--once", "-c", config}, &out, io.Discard); code != exitOK {
				t.Fatalf("exit code %d", code)
			}
			for _, want := range []string{`"Namespace":"Mine"`, tt.dimensions, tt.instance} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("metrics %s, want %s", out.String(), want)
				}
			}
		})
	}
}

// A report for CloudWatch comes once in a cloudwatch.metricsBufferTimeMillis, and at the
// end.
func TestCloudWatchPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := &agent.Config{
			Flows:     []agent.FlowConfig{{FilePattern: filepath.Join(t.TempDir(), "*"), KinesisStream: "s"}},
			Ephemeral: true, Logger: slog.New(slog.DiscardHandler), CloudWatch: agent.CloudWatch{Period: 3 * time.Second},
			NewWatcher: func() (agent.Watcher, error) { return nil, errors.New("none") },
		}
		ag, err := agent.New(cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return &printer{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- ag.Run(ctx) }()
		var out buffer
		w, err := (&app{out: &out}).newEMF(ctx, cfg.CloudWatch)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			w.run(ctx, ag, cfg.Logger)
		}()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 3 {
			t.Errorf("%d lines in 10 s, want 3", n)
		}
		cancel()
		<-over
		if n := strings.Count(out.String(), "\n"); n != 4 {
			t.Errorf("%d lines at the end, want 4", n)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An endpoint of AWS says the region if nothing else does, as with the official agent.
func TestRegionOfEndpoint(t *testing.T) {
	for _, tt := range []struct {
		name              string
		kinesis, firehose string
		region            string // kinesis.region
		want              string
	}{
		{"bare host", "kinesis.us-west-2.amazonaws.com", "", "", "us-west-2"},
		{"URL", "https://kinesis.eu-central-1.amazonaws.com:443/", "", "", "eu-central-1"},
		{"China", "kinesis.cn-north-1.amazonaws.com.cn", "", "", "cn-north-1"},
		{"government", "kinesis-fips.us-gov-west-1.amazonaws.com", "", "", "us-gov-west-1"},
		{"in a VPC", "vpce-0a1b-2c3d.kinesis.ap-southeast-2.vpce.amazonaws.com", "", "", "ap-southeast-2"},
		{"Firehose", "", "firehose.sa-east-1.amazonaws.com", "", "sa-east-1"},
		{"the key wins", "kinesis.us-west-2.amazonaws.com", "", "eu-west-3", "eu-west-3"},
		{"another's host", "http://kinesis.us-west-2.example.com", "", "", "eu-north-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("AWS_REGION", "eu-north-1")
			cfg := &agent.Config{
				Service: agent.Service{KinesisEndpoint: tt.kinesis, FirehoseEndpoint: tt.firehose, KinesisRegion: tt.region},
				Flows:   []agent.FlowConfig{{FilePattern: "/l/*", KinesisStream: "s"}, {FilePattern: "/l/*", DeliveryStream: "d"}},
			}
			svc, err := connect(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if k, f := svc.kinesis.Options().Region, svc.firehose.Options().Region; k != tt.want || f != tt.want {
				t.Errorf("regions %q and %q, want %q", k, f, tt.want)
			}
		})
	}
}
