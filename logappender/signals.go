package logappender

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// HandleSignals saves the log when the process is asked to end, before the
// program knows. It returns a context like that of [signal.NotifyContext], which is
// done once one of the signals has come, os.Interrupt and SIGTERM if none is named,
// and what was logged until then is delivered, or, after Config.FatalTimeout, on
// disk or in Config.Fallback as after a Fatal entry. Then the program shuts down as
// always, Close included: should it be killed before it is through, because that
// takes too long, only what it has logged meanwhile is lost.
//
// The appender takes no signal from others: who else has asked package os/signal
// for it gets it too, at once. It catches one signal. A second one does what it does
// without HandleSignals, which is to end the process where nobody else has asked.
//
// The context is also done when parent is, or when stop is called, which must be
// called and returns when nothing of this goes on. [context.Cause] names the signal.
//
//	ctx, stop := a.HandleSignals(context.Background())
//	defer stop()
//	<-ctx.Done() // and then the shutdown
func (a *Appender) HandleSignals(parent context.Context, signals ...os.Signal) (ctx context.Context, stop context.CancelFunc) {
	if len(signals) == 0 {
		signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	ctx, cancel := context.WithCancelCause(parent)
	came := make(chan os.Signal, 1) // package signal does not wait; the first one counts
	signal.Notify(came, signals...)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case s := <-came:
			signal.Stop(came)
			a.lastWords()
			cancel(errors.New("logappender: the process was sent " + s.String()))
		case <-ctx.Done():
			signal.Stop(came)
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		wg.Wait()
	}
}
