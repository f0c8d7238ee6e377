package logappender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
)

// ErrFeedsItself is wrapped by the error of New if the putter's log leads back to it.
var ErrFeedsItself = errors.New("the log of the producer would come back to it")

// logging is a putter that says where it logs, as [producer.Producer] does.
type logging interface{ Logger() *slog.Logger }

// A probe looks for the appenders that a chain of slog handlers leads to. Such a
// chain cannot be taken apart, but everybody hands a call of Enabled on: at two
// levels that nobody uses, and with the probe in the context, it finds the handlers
// of this package, and nothing is logged.
type probe struct{ found []*Appender }

type probeKey struct{}

const (
	probeLow  = slog.Level(math.MinInt32) // of several handlers asks all, as none is enabled
	probeHigh = slog.Level(math.MaxInt32) // passes filters by level
)

// probed notes the appender if a call of Enabled is a probe's.
func (a *Appender) probed(ctx context.Context) {
	if p, ok := ctx.Value(probeKey{}).(*probe); ok {
		p.found = append(p.found, a)
	}
}

// checkSelf returns an error if what the putter logs would be put by it, as far as
// that can be seen before there is a logger.
func checkSelf(putter Putter) error {
	l, ok := putter.(logging)
	if !ok || l.Logger() == nil {
		return nil
	}
	// slog's first default hands records to package log, whose output belongs to
	// whoever calls slog.SetDefault or zap.RedirectStdLog next. There is no
	// other way to tell it: its type has no name.
	if fmt.Sprintf("%T", l.Logger().Handler()) == "*slog.defaultHandler" {
		return fmt.Errorf("logappender: %w: it logs to the default of log/slog, which leads into the appender as soon as the appender "+
			"is made the default; give it a logger of its own, such as slog.New(slog.DiscardHandler) or "+
			"slog.New(slog.NewTextHandler(os.Stderr, nil)), by producer.Config.Logger", ErrFeedsItself)
	}
	if leadsTo(putter, putter, make(map[*Appender]bool)) {
		return fmt.Errorf("logappender: %w: its logger writes to an appender over the same producer; "+
			"give it slog.New(slog.DiscardHandler), or a logger that ends elsewhere, by producer.Config.Logger", ErrFeedsItself)
	}
	return nil
}

// leadsTo reports whether what from logs is put by to, directly or by way of other
// appenders.
func leadsTo(from, to Putter, seen map[*Appender]bool) bool {
	l, ok := from.(logging)
	if !ok || l.Logger() == nil {
		return false
	}
	for _, a := range appendersOf(l.Logger().Handler()) {
		if seen[a] {
			continue
		}
		seen[a] = true
		if samePutter(a.putter, to) || leadsTo(a.putter, to, seen) {
			return true
		}
	}
	return false
}

// appendersOf returns the appenders that h leads to.
func appendersOf(h slog.Handler) []*Appender {
	defer func() { _ = recover() }() // the application's code
	var p probe
	ctx := context.WithValue(context.Background(), probeKey{}, &p)
	for _, level := range []slog.Level{probeLow, probeHigh} {
		h.Enabled(ctx, level)
	}
	return p.found
}

func samePutter(a, b Putter) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}
