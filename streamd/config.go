package streamd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// Default addresses.
const (
	DefaultListen = "127.0.0.1:4567"
	DefaultAdmin  = "127.0.0.1:4568"

	// AdminOff as Config.Admin means no admin listener.
	AdminOff = "off"
)

// Config holds the settings of a [Server]. The zero Config is valid: a server
// in memory at the default addresses.
type Config struct {
	// Listen is the address of the AWS APIs. Default 127.0.0.1:4567; port 0
	// takes a free one. An address beyond loopback needs Auth "verify" or
	// Insecure.
	Listen string

	// Listener, if not nil, is served in place of Listen. The server closes it.
	Listener net.Listener

	// Admin is the address of metrics, health and profiles. Default
	// 127.0.0.1:4568; [AdminOff] means none. Its requests are not signed: an
	// address beyond loopback needs Insecure.
	Admin string

	// DataDir is the directory that holds everything. It is made if it does not
	// exist, and one server can use it at a time. Empty keeps everything in
	// memory, and loses it when the server ends.
	DataDir string

	// Fsync says when data is forced to disk: "always" (the default), before
	// every acknowledgement; "interval:100ms", at that pace, so that a crash of
	// the machine may lose so much; "off", when the system likes.
	Fsync string

	// Journal is the shape of the journal's ring, as "3x16MiB" (the default): so
	// many files of such a size hold what no checkpoint has taken over yet. More
	// lets bursts be longer, and takes the disk, some memory, and time at the
	// start after a crash. At least 2 files of 16 MiB; only for DataDir.
	Journal string

	// MaxDisk bounds what DataDir takes, in bytes: beyond it records are refused
	// as if throughput were exceeded, until some have expired. Default 0: no
	// bound but the disk's. At least twice what Journal takes.
	MaxDisk int64

	// Auth says what requests must prove: "open" (the default), nothing;
	// "shape", a well-formed signature, which is not verified; "verify", a
	// signature of AWS, version 4, by one of Keys. In all a signature that is
	// malformed is refused.
	Auth string

	// Keys are those that Auth "verify" takes, and needs. [Server.SetKeys]
	// replaces them.
	Keys []Key

	// MaxClockSkew is how far the time of a signature may be from the server's.
	// Default 15m. Only for Auth "verify".
	MaxClockSkew time.Duration

	// Insecure allows addresses beyond loopback without signatures: everybody
	// who reaches the port can read and write.
	Insecure bool

	// MaxConnections bounds the connections to the AWS APIs: more are closed as
	// they come. Default 0: as many as the process may have files.
	MaxConnections int

	// AnswerMemory bounds the bytes of answers that wait for their clients to read
	// them: beyond it GetRecords is answered with
	// ProvisionedThroughputExceededException. Default 256 MiB; at least 16 MiB,
	// which is one answer.
	AnswerMemory int64

	// TLS says whether clients may use TLS as well, on the same port: "on" (the
	// default) or [TLSOff]. The first byte of a connection tells.
	TLS string

	// TLSDir is the directory of the certificate authority that the server
	// makes for itself at the first start, and of its own certificate. Default
	// "tls" in DataDir; a server in memory makes a new authority each time.
	TLSDir string

	// TLSNames are more names and addresses that the server's certificate is
	// for, and by which the server may be called. It always is for localhost,
	// 127.0.0.1, ::1, the machine's name and the address of Listen.
	TLSNames []string

	// TLSCert and TLSKey are files with a certificate (and those between it and
	// its root) and its key, in PEM, to be used in place of the server's own.
	// They are read at the start.
	TLSCert, TLSKey string

	// AllowHosts are more names by which the server may be called. On loopback
	// a request whose Host header is none of localhost, a loopback address,
	// the machine's name or these is refused, so that no web page can reach the
	// server through a name of its own.
	AllowHosts []string

	// CORSOrigins are the origins whose web pages may use the server; "*" is
	// any. Default none.
	CORSOrigins []string

	// Create are streams that are made at the start, unless they exist.
	Create []StreamSpec

	// TransitionDelay is how long a stream stays CREATING, UPDATING or
	// DELETING, and a consumer or channel of it as well. Default 0: it changes before the answer, so that the first look
	// of a waiter succeeds.
	TransitionDelay time.Duration

	// Limits are rates above which requests are refused. Default none; see
	// [ParseLimits] for those of AWS.
	Limits Limits

	// SubscriptionLife is how long a subscription to a shard lasts before its
	// client must subscribe anew, by the server's clock. Default 5m, as on AWS.
	SubscriptionLife time.Duration

	// Capture is a file into which the requests to the APIs are written, with the
	// data of records and items, but without credentials. It is appended to, and
	// `streamctl replay` sends it again. Default none.
	Capture string

	// CaptureLimit is how large Capture may grow, in bytes. What comes then is
	// not in it. Default [DefaultCaptureLimit].
	CaptureLimit int64

	// EnableFaults lets rules have requests fail: those of Faults, and those that
	// are added by AddFault and at /faults of the admin address. Default false.
	EnableFaults bool

	// Faults are rules by which requests fail from the start. Default none; they
	// need EnableFaults.
	Faults []Fault

	// ShutdownTimeout bounds how long Run waits for requests under way.
	// Default 10s.
	ShutdownTimeout time.Duration

	// Pprof serves runtime profiles below /debug/pprof/ of the admin listener.
	Pprof bool

	// RequestLog takes one line for each request: who asked what, and what came
	// of it; no bodies, no signatures. It is written to before the connection
	// serves its next request, so it should be quick. Default none.
	RequestLog *slog.Logger

	// Version is what the metric streamd_build_info says. Default that of the
	// program's build information.
	Version string

	// Logger takes the server's log. Default slog.Default().
	Logger *slog.Logger
}

// StreamSpec names a stream to be created.
type StreamSpec struct {
	Name   string
	Shards int
	Region string // default us-east-1
}

// ParseStreams reads a list of streams of the form
//
//	name:shards[:region],…
//
// which is that of the variable INITIALIZE_STREAMS of other emulators. A name
// alone has one shard.
func ParseStreams(list string) ([]StreamSpec, error) {
	var specs []StreamSpec
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		parts := strings.Split(item, ":")
		spec := StreamSpec{Name: parts[0], Shards: 1}
		if len(parts) > 3 {
			return nil, fmt.Errorf("stream %q is not of the form name:shards or name:shards:region", item)
		}
		if len(parts) > 1 {
			n, err := strconv.Atoi(parts[1])
			if err != nil {
				return nil, fmt.Errorf("stream %q: %q is not a number of shards; write name:shards", item, parts[1])
			}
			spec.Shards = n
		}
		if len(parts) > 2 {
			spec.Region = parts[2]
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// settings are a Config that has been checked.
type settings struct {
	Config
	fsync    journal.Fsync
	ring     ring
	auth     awsproto.AuthMode
	loopback bool // the AWS listener is reached from this machine alone
}

// check fills in defaults and returns an error that joins one for each setting
// that cannot be.
func (c Config) check() (settings, error) {
	s := settings{Config: c}
	if s.Listen == "" {
		s.Listen = DefaultListen
	}
	if s.Admin == "" {
		s.Admin = DefaultAdmin
	}
	if s.ShutdownTimeout == 0 {
		s.ShutdownTimeout = 10 * time.Second
	}
	if s.CaptureLimit == 0 {
		s.CaptureLimit = DefaultCaptureLimit
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	s.loopback = c.Listener != nil || isLoopback(s.Listen)
	var errs []error
	var err error
	if s.fsync, err = parseFsync(c.Fsync); err != nil {
		errs = append(errs, err)
	}
	if s.ring, err = parseRing(c.Journal); err != nil {
		errs = append(errs, err)
	} else if least := 2 * int64(s.ring.files) * int64(s.ring.bytes); c.MaxDisk != 0 && c.MaxDisk < least {
		errs = append(errs, fmt.Errorf("max disk is %d bytes; with the journal that is set it must be %d at least", c.MaxDisk, least))
	}
	switch c.Auth {
	case "", "open":
	case "shape":
		s.auth = awsproto.AuthShape
	case "verify":
		s.auth = awsproto.AuthVerify
	default:
		errs = append(errs, fmt.Errorf("auth %q is none of open, shape and verify", c.Auth))
	}
	if err := c.checkKeys(s.auth); err != nil {
		errs = append(errs, err)
	}
	for _, l := range []struct{ what, addr string }{{"listen", s.Listen}, {"admin", s.Admin}} {
		if l.what == "listen" && c.Listener != nil || l.what == "admin" && l.addr == AdminOff {
			continue
		}
		if _, _, err := net.SplitHostPort(l.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s address %q is not of the form host:port", l.what, l.addr))
			continue
		}
		if c.Insecure || isLoopback(l.addr) {
			continue
		}
		switch {
		case l.what == "admin":
			errs = append(errs, fmt.Errorf("admin address %s can be reached from other machines, and its requests are not signed; keep it on 127.0.0.1, or say --insecure (STREAMD_INSECURE=true) if everybody who reaches it may use it", l.addr))
		case s.auth != awsproto.AuthVerify:
			errs = append(errs, fmt.Errorf("listen address %s can be reached from other machines; say --auth=verify with keys, or --insecure (STREAMD_INSECURE=true) if everybody who reaches it may read and write, or listen on 127.0.0.1", l.addr))
		}
	}
	errs = append(errs, c.checkTLS()...)
	if err := c.Limits.check(); err != nil {
		errs = append(errs, fmt.Errorf("limits: %w", err))
	}
	if c.MaxClockSkew < 0 {
		errs = append(errs, fmt.Errorf("clock skew %v is negative", c.MaxClockSkew))
	}
	if c.AnswerMemory != 0 && c.AnswerMemory < awsproto.MaxAnswer {
		errs = append(errs, fmt.Errorf("answer memory of %d bytes is less than one answer takes; write at least %d (16MiB)", c.AnswerMemory, awsproto.MaxAnswer))
	}
	if c.MaxConnections < 0 {
		errs = append(errs, fmt.Errorf("%d connections are less than none", c.MaxConnections))
	}
	if err := c.checkFaults(); err != nil {
		errs = append(errs, err)
	}
	if c.TransitionDelay < 0 {
		errs = append(errs, fmt.Errorf("transition delay %v is negative", c.TransitionDelay))
	}
	if c.CaptureLimit < 0 {
		errs = append(errs, fmt.Errorf("capture limit %d is negative", c.CaptureLimit))
	}
	if c.SubscriptionLife < 0 {
		errs = append(errs, fmt.Errorf("subscription life %v is negative", c.SubscriptionLife))
	}
	if c.ShutdownTimeout < 0 {
		errs = append(errs, fmt.Errorf("shutdown timeout %v is negative", c.ShutdownTimeout))
	}
	for _, spec := range c.Create {
		if err := spec.check(); err != nil {
			errs = append(errs, err)
		}
	}
	return s, errors.Join(errs...)
}

func (spec StreamSpec) check() error {
	switch {
	case spec.Name == "" || len(spec.Name) > 128 || strings.Trim(spec.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "":
		return fmt.Errorf("stream name %q is not 1 to 128 letters, digits, dots, hyphens and underscores", spec.Name)
	case spec.Shards < 1 || spec.Shards > 10000:
		return fmt.Errorf("stream %s: %d shards are outside [1, 10000]", spec.Name, spec.Shards)
	}
	return nil
}

func parseFsync(s string) (journal.Fsync, error) {
	switch s {
	case "", "always":
		return journal.Fsync{}, nil
	case "off":
		return journal.Fsync{Off: true}, nil
	}
	if pace, ok := strings.CutPrefix(s, "interval:"); ok {
		if d, err := time.ParseDuration(pace); err == nil && d > 0 {
			return journal.Fsync{Interval: d}, nil
		}
	}
	return journal.Fsync{}, fmt.Errorf("fsync %q is none of always, off and interval:DURATION, such as interval:100ms", s)
}

// ring is the shape of the journal.
type ring struct{ files, bytes int }

func parseRing(s string) (r ring, err error) {
	if s == "" {
		return ring{journal.DefaultFiles, journal.DefaultFileBytes}, nil
	}
	files, size, ok := strings.Cut(s, "x")
	bytes := int64(0)
	if ok {
		if r.files, err = strconv.Atoi(files); err == nil {
			bytes, err = ParseBytes(size)
		}
	}
	if !ok || err != nil || r.files < journal.MinFiles || r.files > 99 || bytes < journal.DefaultFileBytes || bytes > 1<<30 {
		return ring{}, fmt.Errorf("journal %q is not FILESxSIZE with %d to 99 files of 16MiB to 1GiB, such as 3x16MiB", s, journal.MinFiles)
	}
	r.bytes = int(bytes)
	return r, nil
}

// ParseBytes reads a number of bytes, such as 4096, 16MiB or 10GB.
func ParseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTiB")
	unit, ok := map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a number of bytes, such as 4096, 16MiB or 10GB", s)
	}
	return n * unit, nil
}

// isLoopback reports whether only this machine can reach addr.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
