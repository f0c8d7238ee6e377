package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/multilang"
	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

func (a *app) newMultilang() *cobra.Command {
	var (
		file, metrics string
		kcl1, check   bool
	)
	cmd := &cobra.Command{
		Use:   "multilang --properties FILE",
		Short: "Run record processors written for the KCL in Python, Ruby, Node or .NET",
		Long: `Multilang runs a record processor that was written for the Kinesis Client
Library in another language, from its properties file, in the place of the
MultiLangDaemon and without Java. It starts the program of executableName once
for each shard that it reads, and speaks to it over its standard input and
output. Leases and checkpoints are in the table that the MultiLangDaemon uses,
so that one can take over from the other.

The program is looked for in PATH, then beside the properties file. A child
that fails is replaced by another one, which goes on at the last checkpoint.
At SIGTERM the children are asked for a last checkpoint. What they write
besides the protocol goes to this command's log, on standard error.`,
		Example: `  streamctl multilang --properties sample.properties
  streamctl multilang --properties sample.properties --check
  streamctl multilang --properties sample.properties --endpoint http://127.0.0.1:4567`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errors.New("--properties is missing: name the properties file of the application")
			}
			s, err := a.readProperties(file)
			if err != nil || check {
				return err
			}
			if s.KCL1 = kcl1; kcl1 {
				s.Consumer.RetrievalMode = consumer.RetrievalPolling // there was no other
				s.Consumer.ConsumerName, s.Consumer.ConsumerARN = "", ""
			}
			return a.multilang(cmd.Context(), s, metrics)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "properties", "", "properties file of the application")
	f.StringVar(&metrics, "metrics", "", "serve metrics for Prometheus at this address, such as 127.0.0.1:9101")
	f.BoolVar(&kcl1, "kcl1", false, `end children with "shutdown", as the KCL 1.x does`)
	f.BoolVar(&check, "check", false, "read the properties file, say what is wrong or has no effect, and stop")
	return cmd
}

// readProperties reads a properties file, says what has no effect, and finds
// the program.
func (a *app) readProperties(file string) (*multilang.Settings, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("properties file: %w", err)
	}
	s, warnings, err := multilang.ReadSettings(f)
	_ = f.Close() // it was only read
	for _, w := range warnings {
		fmt.Fprintf(a.err, "streamctl: %s: %v\n", file, w)
	}
	if err != nil {
		return nil, fmt.Errorf("properties file %s: %s", file, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if s.Command[0], err = findProgram(s.Command[0], filepath.Dir(file)); err != nil {
		return nil, err
	}
	return s, nil
}

// findProgram returns the path of a program: found in PATH, as by the
// MultiLangDaemon, or else in dir.
func findProgram(name, dir string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if !filepath.IsAbs(name) {
		if abs, absErr := filepath.Abs(filepath.Join(dir, name)); absErr == nil {
			if path, pathErr := exec.LookPath(abs); pathErr == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("program of executableName: %w; it must be executable, and in PATH or beside the properties file", err)
}

func (a *app) multilang(ctx context.Context, s *multilang.Settings, metrics string) error {
	k, db, err := a.multilangClients(ctx, s)
	if err != nil {
		return err
	}
	store, err := dynamolease.New(db, s.Table, dynamolease.Config{
		LeaseTableDeletionProtectionEnabled: s.TableDeletionProtection,
		CoordinatorStateTable:               s.CoordinatorStateTable,
		WorkerMetricStatsTable:              s.WorkerMetricsTable,
	})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.err, nil))
	s.Consumer.Logger = log
	bridge, err := multilang.New(k, store, s.Application, s.Stream, s.Config)
	if err != nil {
		return err
	}
	if metrics != "" {
		stop, err := serveMetrics(ctx, metrics, multilang.NewCollector(s.Application, s.Stream, bridge), log)
		if err != nil {
			return err
		}
		defer stop()
	}
	log.Info("multilang starts", slog.String("app", s.Application), slog.String("stream", s.Stream),
		slog.String("command", strings.Join(s.Command, " ")), slog.String("where", a.about.Where.String()))
	err = bridge.Run(ctx)
	st := bridge.Stats()
	log.Info("multilang ends", slog.Int64("records", st.Records), slog.Int64("checkpoints", st.Checkpoints),
		slog.Int64("children", st.Children), slog.Int64("restarts", st.Consumer.ProcessorRestarts))
	return err
}

// multilangClients returns the clients that the properties file asks for; what
// the command line says comes first.
func (a *app) multilangClients(ctx context.Context, s *multilang.Settings) (*kinesis.Client, *dynamodb.Client, error) {
	options := func(url, region string, c multilang.Credentials) endpoint.Options {
		o := a.opts
		o.Endpoint = cmp.Or(o.Endpoint, url)
		o.Region = cmp.Or(o.Region, region)
		if o.Profile == "" {
			o.Profile, o.AccessKeyID, o.SecretAccessKey = c.Profile, c.AccessKeyID, c.SecretAccessKey
		}
		return o
	}
	a.about.Stream, a.about.Table = s.Stream, s.Table
	region := s.StreamRegion()
	cfg, err := endpoint.Load(ctx, options(s.KinesisEndpoint, region, s.Kinesis))
	if err != nil {
		return nil, nil, err
	}
	k, where, err := cfg.Kinesis()
	a.about.Where = where
	if err != nil {
		return nil, nil, err
	}
	cfg, err = endpoint.Load(ctx, options(s.DynamoDBEndpoint, cmp.Or(s.DynamoDBRegion, region), s.DynamoDB))
	if err != nil {
		return nil, nil, err
	}
	db, _, err := cfg.DynamoDB()
	return k, db, err
}

// serveMetrics serves what c collects until stop is called.
func serveMetrics(ctx context.Context, address string, c prometheus.Collector, log *slog.Logger) (stop func(), err error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w; name another address with --metrics", err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends with Close
	}()
	log.Info("metrics are served", slog.String("url", "http://"+l.Addr().String()+"/metrics"))
	return func() {
		_ = srv.Close()
		<-done
	}, nil
}
