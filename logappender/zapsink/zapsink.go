// Package zapsink makes a stream an output of zap's own configuration:
//
//	zapsink.Register(zapsink.Config{Client: func(region string) (producer.API, error) { … }})
//	cfg := zap.NewProductionConfig()
//	cfg.OutputPaths = []string{"kinesis://logs?region=eu-west-1&spill=/var/spool/app", "stderr"}
//
// It is the weaker form of package logappender: a sink gets bytes. There is no
// level, so that all entries are of level Info to the accounts and to the room that
// is kept for warnings, and a full buffer may drop an error. There are no fields, so
// that no key comes from one. A Fatal entry waits for its delivery by zap's call of
// Sync, and goes neither to the disk at once nor to Config.Fallback. Where that
// matters, make a core of an appender.
//
// # Address
//
// The host is the name of the stream. The parameters, all optional:
//
//	region        given to Config.Client
//	key           random (default), or fixed:TEXT
//	budget        Config.BufferBytes, such as 8MiB
//	overflow      drop_newest, drop_oldest or block
//	linger        Config.Linger, such as 100ms
//	sync_timeout  Config.SyncTimeout, which bounds Close as well
//	spill         Config.SpillDir
//	spill_mode    on_pressure or always
//	spill_max     Config.SpillMaxBytes
package zapsink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// Scheme is that of the addresses.
const Scheme = "kinesis"

// Config says how sinks are made.
type Config struct {
	// Client returns a client for a region, empty if the address names none.
	// Required. Switch the logging of the client off.
	Client func(region string) (producer.API, error)

	// Appender and Producer are the settings that the address does not change. A
	// Producer.Logger that is nil discards: the producer must not log into itself.
	Appender logappender.Config
	Producer producer.Config

	// OnOpen, if not nil, is given each appender, for its Stats.
	OnOpen func(stream string, a *logappender.Appender)
}

// Register makes zap.Open, and so zap.Config, know the scheme. zap allows that
// once in a program.
func Register(cfg Config) error {
	if cfg.Client == nil {
		return errors.New("zapsink: Config.Client is nil: pass a function that returns a Kinesis client")
	}
	return zap.RegisterSink(Scheme, func(u *url.URL) (zap.Sink, error) { return Open(u, cfg) })
}

// Open returns a sink for an address. Its Sync waits until what was written is
// delivered, or on disk, for SyncTimeout at most, and returns a
// [*logappender.PendingError] then. Close, which zap does not call for a logger,
// closes the appender and the producer within SyncTimeout each.
func Open(u *url.URL, cfg Config) (zap.Sink, error) {
	s := settings{appender: cfg.Appender}
	if err := s.parse(u); err != nil {
		return nil, fmt.Errorf("zapsink: %s: %w", u.Redacted(), err)
	}
	client, err := cfg.Client(s.region)
	if err != nil {
		return nil, fmt.Errorf("zapsink: client for region %q: %w", s.region, err)
	}
	if cfg.Producer.Logger == nil {
		cfg.Producer.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := producer.New(client, u.Host, cfg.Producer)
	if err != nil {
		return nil, fmt.Errorf("zapsink: %w", err)
	}
	timeout := cmp.Or(s.appender.SyncTimeout, 5*time.Second)
	a, err := logappender.New(p, s.appender)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("zapsink: %w", err), p.Close(ctx))
	}
	if cfg.OnOpen != nil {
		cfg.OnOpen(u.Host, a)
	}
	return &sink{Writer: a.Writer(zapcore.InfoLevel), appender: a, producer: p, timeout: timeout}, nil
}

type sink struct {
	io.Writer
	appender *logappender.Appender
	producer *producer.Producer
	timeout  time.Duration
}

func (s *sink) within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	return f(ctx)
}

// Sync waits for what was written.
func (s *sink) Sync() error { return s.within(s.appender.Flush) }

// Close ends the appender, then the producer.
func (s *sink) Close() error {
	return errors.Join(s.within(s.appender.Close), s.within(s.producer.Close))
}

// settings is what an address says.
type settings struct {
	region   string
	appender logappender.Config
}

// choice is a parameter with a few values.
func choice[T any](values map[string]T, set func(*settings, T)) func(*settings, string) error {
	return func(s *settings, v string) error {
		chosen, ok := values[v]
		if !ok {
			return fmt.Errorf("%q is none of %s", v, strings.Join(slices.Sorted(maps.Keys(values)), ", "))
		}
		set(s, chosen)
		return nil
	}
}

// duration is a parameter that is a time.
func duration(set func(*settings, time.Duration)) func(*settings, string) error {
	return func(s *settings, v string) error {
		d, err := time.ParseDuration(v)
		set(s, d)
		return err
	}
}

// size is a parameter that is a number of bytes.
func size(set func(*settings, int64)) func(*settings, string) error {
	return func(s *settings, v string) error {
		n, err := parseSize(v)
		set(s, n)
		return err
	}
}

var parameters = map[string]func(*settings, string) error{
	"region": func(s *settings, v string) error { s.region = v; return nil },
	"key": func(s *settings, v string) error {
		text, fixed := strings.CutPrefix(v, "fixed:")
		switch {
		case v == "random":
			s.appender.PartitionKey = logappender.RandomKey()
		case fixed && text != "":
			s.appender.PartitionKey = logappender.FixedKey(text)
		default:
			return fmt.Errorf("%q is neither random nor fixed:TEXT", v)
		}
		return nil
	},
	"budget": size(func(s *settings, n int64) { s.appender.BufferBytes = int(min(n, math.MaxInt)) }),
	"overflow": choice(map[string]logappender.Overflow{
		"drop_newest": logappender.DropNewest, "drop_oldest": logappender.DropOldest, "block": logappender.Block,
	}, func(s *settings, o logappender.Overflow) { s.appender.Overflow = o }),
	"linger":       duration(func(s *settings, d time.Duration) { s.appender.Linger = d }),
	"sync_timeout": duration(func(s *settings, d time.Duration) { s.appender.SyncTimeout = d }),
	"spill":        func(s *settings, v string) error { s.appender.SpillDir = v; return nil },
	"spill_mode": choice(map[string]logappender.SpillMode{
		"on_pressure": logappender.SpillOnPressure, "always": logappender.SpillAlways,
	}, func(s *settings, m logappender.SpillMode) { s.appender.SpillMode = m }),
	"spill_max": size(func(s *settings, n int64) { s.appender.SpillMaxBytes = n }),
}

// parse reads an address, and reports all that is wrong with it.
func (s *settings) parse(u *url.URL) error {
	var errs []error
	if u.Host == "" {
		errs = append(errs, errors.New("no stream: write kinesis://STREAM"))
	}
	if u.Path != "" && u.Path != "/" || u.User != nil || u.Fragment != "" {
		errs = append(errs, errors.New("an address has a stream and parameters, and no more"))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		errs = append(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, ok := parameters[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("parameter %s is none of %s", name, strings.Join(slices.Sorted(maps.Keys(parameters)), ", ")))
		case len(query[name]) != 1:
			errs = append(errs, fmt.Errorf("parameter %s is given %d times", name, len(query[name])))
		default:
			if err := set(s, query[name][0]); err != nil {
				errs = append(errs, fmt.Errorf("parameter %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

var units = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

// parseSize reads a number of bytes such as 65536 or 8MiB.
func parseSize(v string) (int64, error) {
	for _, unit := range units {
		if digits, ok := strings.CutSuffix(v, unit.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n <= 0 || n > (1<<40)/unit.factor {
				break
			}
			return n * unit.factor, nil
		}
	}
	return 0, fmt.Errorf("%q is no size: write 65536 or 8MiB", v)
}
