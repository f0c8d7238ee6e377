// Applogger is a program that logs, for the tests: numbered entries at a constant
// rate until it is asked to end. Then it waits until all of them are delivered, or
// for a limit. It prints a line of JSON each second, and one at its end.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// Status is what is printed.
type Status struct {
	Logged                   int // entries; they are numbered from 0
	Delivered, Dropped, Lost uint64
	Pending, Spilled         uint64
	CircuitOpened            uint64
	SpillBytes               int64
	Longest                  time.Duration // log call
	P9999                    time.Duration // of the log calls
	Late                     time.Duration // the most that an entry came after its time
	CloseError               string
	Done                     bool
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "applogger:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	stream := flag.String("stream", "", "stream")
	name := flag.String("name", "", "of this process, without a space")
	dir := flag.String("spill", "", "Config.SpillDir")
	always := flag.Bool("always", false, "write ahead")
	replay := flag.Int("replay", -1, "Config.ReplayBytesPerSecond")
	rate := flag.Int("rate", 100_000, "bytes logged a second")
	size := flag.Int("size", 500, "bytes of an entry, about")
	keys := flag.Int("keys", 16, "partition keys")
	drain := flag.Duration("drain", time.Minute, "how long to wait for what is on disk at the end")
	flag.Parse()

	awsConfig, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := kinesis.NewFromConfig(awsConfig, func(o *kinesis.Options) { o.HTTPClient = producer.HTTPClient() })
	p, err := producer.New(client, *stream, producer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	cfg := logappender.Config{
		SpillDir: *dir, SpillMaxBytes: 16 << 30, ReplayBytesPerSecond: *replay,
		PartitionKey: logappender.FieldKey("key", ""),
	}
	if *always {
		cfg.SpillMode = logappender.SpillAlways
	}
	a, err := logappender.New(p, cfg)
	if err != nil {
		return err
	}
	log := zap.New(a.Core(zap.InfoLevel, zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m", SkipLineEnding: true}))).
		With(zap.String("from", *name))

	ending, stop := a.HandleSignals(ctx)
	defer stop()
	l := &load{a: a, pad: strings.Repeat("x", max(*size-90, 0)), keys: make([]string, *keys)}
	for k := range l.keys {
		l.keys[k] = *name + "-" + strconv.Itoa(k)
	}
	l.run(ending, log, *rate / *size)

	deadline := time.Now().Add(*drain)
	for tick := time.NewTicker(50 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		if st := a.Stats(); st.Pending.Total()+st.Spilled.Total() == 0 {
			break
		}
	}
	closing, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	end := ""
	if err := a.Close(closing); err != nil {
		end = err.Error()
	}
	if err := p.Close(closing); err != nil {
		end += err.Error()
	}
	return l.print(func(s *Status) { s.CloseError, s.Done = end, true })
}

// load logs.
type load struct {
	a       *logappender.Appender
	pad     string
	keys    []string
	logged  int
	longest time.Duration
	late    time.Duration
	calls   [64 * 8]uint64 // by time: eight to each power of two of nanoseconds
}

// maxLate bounds what is made up for, all at once, when the machine was busy
// elsewhere.
const maxLate = 200 * time.Millisecond

// run logs so many entries a second until ctx is done, in portions of ten
// milliseconds.
func (l *load) run(ctx context.Context, log *zap.Logger, perSecond int) {
	start := time.Now()
	told := start
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		due := int(now.Sub(start).Seconds() * float64(perSecond))
		late := time.Duration(due-l.logged) * time.Second / time.Duration(perSecond)
		l.late = max(l.late, late)
		if late > maxLate {
			start = start.Add(late - maxLate)
			due = int(now.Sub(start).Seconds() * float64(perSecond))
		}
		for l.logged < due && ctx.Err() == nil {
			before := time.Now()
			log.Info("entry", zap.Int("n", l.logged), zap.Int64("t", before.UnixMilli()), zap.String("key", l.keys[l.logged%len(l.keys)]), zap.String("pad", l.pad))
			l.note(time.Since(before))
			l.logged++
		}
		if now.Sub(told) >= time.Second {
			told = now
			_ = l.print(nil) // the end will tell
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (l *load) note(d time.Duration) {
	l.longest = max(l.longest, d)
	l.calls[bucket(d)]++
}

// bucket is the place of d in load.calls, and bound the most that is in one.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0)) | 8
	e := bits.Len64(n) - 4
	return e*8 + int(n>>e)&7
}

func bound(i int) time.Duration { return time.Duration((uint64(i&7|8)+1)<<(i/8) - 1) }

func (l *load) percentile(p float64) time.Duration {
	left := uint64(float64(l.logged) * (1 - p))
	for i := len(l.calls) - 1; i >= 0; i-- {
		if l.calls[i] > left {
			return min(bound(i), l.longest)
		}
		left -= l.calls[i]
	}
	return 0
}

func (l *load) print(more func(*Status)) error {
	st := l.a.Stats()
	s := Status{
		Logged: l.logged, Delivered: st.Delivered.Total(), Dropped: st.DroppedTotal(), Lost: st.Lost.Total(),
		Pending: st.Pending.Total(), Spilled: st.Spilled.Total(), CircuitOpened: st.CircuitOpened, SpillBytes: st.SpillBytes,
		Longest: l.longest, P9999: l.percentile(0.9999), Late: l.late,
	}
	if more != nil {
		more(&s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(b))
	return err
}
