package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/streamd"
)

// serveFlags are the flags of the server. Each is also a variable STREAMD_…
// and a key of the config file.
type serveFlags struct {
	listen           string
	admin            string
	data             string
	memory           bool
	fsync            string
	journal          string
	maxDisk          string
	auth             string
	authKeys         string
	maxClockSkew     time.Duration
	maxConnections   int
	answerMemory     string
	insecure         bool
	tls              string
	tlsDir           string
	tlsCert          string
	tlsKey           string
	san              []string
	allowHost        []string
	corsOrigin       []string
	create           []string
	limits           string
	transitionDelay  time.Duration
	subscriptionLife time.Duration
	capture          string
	captureLimit     int64
	shutdownTimeout  time.Duration
	enableFaults     bool
	faults           string
	pprof            bool
	logLevel         string
	requestLog       string
	config           string
}

func newRoot(env func(string) (string, bool)) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "streamd",
		Short: "Serve Kinesis streams, and tables for leases",
		Long: `streamd serves the API of Amazon Kinesis streams, and the part of the DynamoDB
API that leases need. What it has acknowledged is on disk.

Each flag is also an environment variable, STREAMD_ and its name in upper case
with underscores (STREAMD_LISTEN), and a key of the YAML file given by --config.
The command line wins over the environment, and that over the file.
INITIALIZE_STREAMS (name:shards:region,…) creates streams like --create; where it
leaves them out, a stream has 4 shards and is in AWS_REGION. LOG_LEVEL,
SHOULD_PERSIST_DATA and PERSIST_PATH are understood as kinesis-mock does.`,
		Example: `  streamd
  streamd --memory --create orders:4,clicks:2
  streamd --data /var/lib/streamd --listen 0.0.0.0:4567 --insecure`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillFlags(cmd, f.config, env); err != nil {
				return err
			}
			fillPeers(cmd, env)
			return serve(cmd, f, env)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", streamd.DefaultListen, "address of the AWS APIs")
	flags.StringVar(&f.admin, "admin", streamd.DefaultAdmin, `address of metrics and health, or "off"`)
	flags.StringVar(&f.data, "data", "", "data directory (default: one of the user, printed at the start)")
	flags.BoolVar(&f.memory, "memory", false, "keep everything in memory, and lose it at the end")
	flags.StringVar(&f.fsync, "fsync", "always", "when to force data to disk: always, interval:100ms or off")
	flags.StringVar(&f.journal, "journal", "3x16MiB", "number and size of the journal's files")
	flags.StringVar(&f.maxDisk, "max-disk", "0", "refuse records once the data directory takes so much, such as 10GB (0: no bound but the disk's)")
	flags.StringVar(&f.auth, "auth", "open", "what requests must prove: open (nothing), shape (a well-formed signature) or verify (a signature by a key)")
	flags.StringVar(&f.authKeys, "auth-keys", "", "YAML file of the keys that --auth=verify takes; read again when it changes, and on SIGHUP")
	flags.DurationVar(&f.maxClockSkew, "max-clock-skew", 15*time.Minute, "how far the time of a signature may be from the server's")
	flags.IntVar(&f.maxConnections, "max-connections", 0, "close connections beyond this many (0: no limit of its own)")
	flags.StringVar(&f.answerMemory, "answer-memory", "256MiB", "refuse reads as throttled while answers that wait for slow clients take so much")
	flags.BoolVar(&f.insecure, "insecure", false, "allow addresses that other machines can reach without signatures")
	flags.StringVar(&f.tls, "tls", "on", "TLS beside plain connections on the same port: on or off")
	flags.StringVar(&f.tlsDir, "tls-dir", "", "directory of the server's own certificate authority (default: tls in the data directory)")
	flags.StringVar(&f.tlsCert, "tls-cert", "", "file with a certificate to use in place of the server's own, in PEM")
	flags.StringVar(&f.tlsKey, "tls-key", "", "file with the key of --tls-cert, in PEM")
	flags.StringSliceVar(&f.san, "san", nil, "more names and addresses that the server's own certificate is for")
	flags.StringSliceVar(&f.allowHost, "allow-host", nil, "more names by which clients may call the server")
	flags.StringSliceVar(&f.corsOrigin, "cors-origin", nil, "origins whose web pages may use the server")
	flags.StringSliceVar(&f.create, "create", nil, "streams to create at the start, as name:shards[:region],…")
	flags.StringVar(&f.limits, "limits", "off", `refuse what comes faster: off, aws, aws:N (times N) or rates a second, as
write-records=100,write-bytes=65536,read-calls=5,read-bytes=131072,iterators=5,operations=1;
numbers of quotas, as shards=100,on-demand-streams=5,creating=5; ";" and more for some streams,
as aws;orders-*:write-records=10;logs:off;
a shard of AWS takes 1 MiB/s and 1,000 records/s in and gives 2 MiB/s and 5 reads/s out`)
	flags.DurationVar(&f.transitionDelay, "transition-delay", 0, "how long streams stay CREATING, UPDATING and DELETING")
	flags.DurationVar(&f.subscriptionLife, "subscription-life", 5*time.Minute, "how long a subscription to a shard lasts before its client subscribes anew")
	flags.StringVar(&f.capture, "capture", "", "file to write requests to, with their data, for streamctl replay")
	flags.Int64Var(&f.captureLimit, "capture-limit", streamd.DefaultCaptureLimit, "size in bytes at which the capture ends")
	flags.DurationVar(&f.shutdownTimeout, "shutdown-timeout", 10*time.Second, "how long to wait for requests under way at the end")
	flags.BoolVar(&f.enableFaults, "enable-faults", false, "let rules have requests fail: those of --faults and of streamctl faults")
	flags.StringVar(&f.faults, "faults", "", "YAML file with a list of fault rules; needs --enable-faults")
	flags.BoolVar(&f.pprof, "pprof", false, "serve runtime profiles on the admin address")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.requestLog, "request-log", "off", "where to write a line of JSON for each request: off, stderr or a file")
	flags.StringVar(&f.config, "config", "", "YAML file with any of these flags")
	cmd.AddCommand(newCA(env), newCheck(env), newDump(env), newHealth(env), newMirror(), newRepair(env), newRestore(env), newSnapshot(env), newVersion())
	return cmd
}

// serve runs the server until the command's context ends.
func serve(cmd *cobra.Command, f serveFlags, env func(string) (string, bool)) error {
	stderr := cmd.ErrOrStderr()
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return fmt.Errorf("--log-level %q is none of debug, info, warn and error", f.logLevel)
	}
	cfg := streamd.Config{
		Listen: f.listen, Admin: f.admin, Fsync: f.fsync, Journal: f.journal, Auth: f.auth, Insecure: f.insecure,
		MaxClockSkew: f.maxClockSkew, MaxConnections: f.maxConnections,
		TLS: f.tls, TLSDir: f.tlsDir, TLSCert: f.tlsCert, TLSKey: f.tlsKey, TLSNames: f.san,
		AllowHosts: f.allowHost, CORSOrigins: f.corsOrigin,
		Capture: f.capture, CaptureLimit: f.captureLimit,
		TransitionDelay: f.transitionDelay, SubscriptionLife: f.subscriptionLife, ShutdownTimeout: f.shutdownTimeout, Pprof: f.pprof,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	}
	var err error
	if cfg.MaxDisk, err = streamd.ParseBytes(f.maxDisk); err != nil {
		return fmt.Errorf("--max-disk: %w", err)
	}
	if cfg.AnswerMemory, err = streamd.ParseBytes(f.answerMemory); err != nil {
		return fmt.Errorf("--answer-memory: %w", err)
	}
	if cfg.Limits, err = streamd.ParseLimits(f.limits); err != nil {
		return err
	}
	keys := keysFile{name: f.authKeys, log: cfg.Logger}
	if cfg.Keys, err = keys.read(); err != nil {
		return err
	}
	cfg.EnableFaults = f.enableFaults
	if cfg.Faults, err = readFaults(f.faults); err != nil {
		return err
	}
	if !f.memory {
		if cfg.DataDir, err = dataDir(f.data, env); err != nil {
			return err
		}
	} else if f.data != "" {
		return fmt.Errorf("--memory and --data %s exclude each other; say one", f.data)
	}
	warnPeers(cfg.Logger, env)
	if cfg.Create, err = streamd.ParseStreams(strings.Join(append(f.create, initialStreams(env)), ",")); err != nil {
		return fmt.Errorf("--create or INITIALIZE_STREAMS: %w", err)
	}
	requests, closeLog, err := requestLog(f.requestLog, stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	cfg.RequestLog, cfg.Version = requests, version
	srv, err := streamd.New(cfg)
	if err != nil {
		return err
	}
	if f.authKeys != "" {
		defer watchKeys(cmd.Context(), &keys, srv)()
	}
	if waitsForDisk(cfg, env) {
		addProcessor()
	}
	if _, said := env("GOGC"); !said && cfg.DataDir != "" {
		// Most of what stays is frames, which have no pointers: to look for garbage
		// costs little, to let it become as much as they are costs memory.
		debug.SetGCPercent(gcPercent)
	}
	greet(cmd.OutOrStdout(), srv, cfg)
	return srv.Run(cmd.Context())
}

// gcPercent is how much garbage there may be, of what stays, where data are on disk.
const gcPercent = 67

// waitsForDisk reports whether a thread does little else than wait for the disk,
// and the user has not said how many threads there are to be.
func waitsForDisk(cfg streamd.Config, env func(string) (string, bool)) bool {
	_, said := env("GOMAXPROCS")
	return !said && cfg.DataDir != "" && cfg.Fsync == "always"
}

// addProcessor lets Go code run on one thread more than there are processors, once
// in a process. The one that waits for the disk would have its place given to
// another at each wait, and Go would look every few microseconds whether to.
var addProcessor = sync.OnceFunc(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) })

// watchKeys has the server take new keys from their file, until stop is called.
func watchKeys(ctx context.Context, keys *keysFile, srv *streamd.Server) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hup := make(chan os.Signal, 1) // one that waits is as good as many
	signal.Notify(hup, syscall.SIGHUP)
	var watching sync.WaitGroup
	watching.Go(func() { keys.watch(ctx, hup, srv.SetKeys) })
	return func() {
		signal.Stop(hup)
		cancel()
		watching.Wait()
	}
}

// greet prints what a user needs to begin, in lines that can be copied.
func greet(w io.Writer, srv *streamd.Server, cfg streamd.Config) {
	kept := "in memory: all is lost at the end"
	if cfg.DataDir != "" {
		kept = "in " + cfg.DataDir
	}
	fmt.Fprintf(w, "streamd %s keeps its data %s\n\n", version, kept)
	beside := ""
	if !strings.HasSuffix(srv.Endpoint(), "//"+srv.Addr()) {
		beside = "  # from this machine; it listens on " + srv.Addr()
	}
	fmt.Fprintf(w, "  export AWS_ENDPOINT_URL_KINESIS=%[1]s AWS_ENDPOINT_URL_DYNAMODB=%[1]s%[2]s\n", srv.Endpoint(), beside)
	if len(cfg.Keys) == 0 {
		fmt.Fprintln(w, "  export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test")
	} else {
		fmt.Fprintln(w, "  export AWS_REGION=us-east-1  # and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY of one of the keys")
	}
	if https := srv.HTTPSEndpoint(); https != "" {
		fmt.Fprintf(w, "\n%s%s\n", https, trust(srv, cfg))
	}
	if admin := srv.AdminEndpoint(); admin != "" {
		fmt.Fprintf(w, "\nmetrics: %[1]s/metrics  health: %[1]s/healthz", admin)
		if !strings.HasSuffix(admin, "//"+srv.AdminAddr()) {
			fmt.Fprintf(w, "  (from this machine; they listen on %s)", srv.AdminAddr())
		}
		fmt.Fprintln(w)
	}
}

// trust returns where the certificate is that clients of https need.
func trust(srv *streamd.Server, cfg streamd.Config) string {
	switch {
	case srv.CACertificate() == nil:
		return ""
	case cfg.TLSDir != "":
		return " is trusted by what this prints: streamd ca --tls-dir " + cfg.TLSDir
	case cfg.DataDir != "":
		return " is trusted by what this prints: streamd ca --data " + cfg.DataDir
	case srv.AdminAddr() != "":
		return " is trusted by " + srv.AdminEndpoint() + "/ca.pem"
	}
	return ""
}

// dataDir returns the data directory: the one asked for, or that of the user.
func dataDir(asked string, env func(string) (string, bool)) (string, error) {
	if asked != "" {
		return asked, nil
	}
	if dir, ok := env("XDG_DATA_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "streamd"), nil
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		if dir, err := os.UserConfigDir(); err == nil { // %AppData%, ~/Library/Application Support
			return filepath.Join(dir, "streamd"), nil
		}
	}
	home, ok := env("HOME")
	if !ok || home == "" {
		return "", fmt.Errorf("there is no home directory to keep data in; say --data DIR or --memory")
	}
	return filepath.Join(home, ".local", "share", "streamd"), nil
}
