package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// A notifier tells the service manager how the agent fares, by systemd's protocol.
// Without a NOTIFY_SOCKET it does nothing.
//
// Source: systemd, sd_notify(3), systemd.service(5).
type notifier struct {
	conn *net.UnixConn // nil: nobody listens
	log  *slog.Logger
}

func newNotifier(log *slog.Logger) *notifier {
	n := &notifier{log: log}
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return n
	}
	// Go takes a leading @ for the abstract name space, as systemd does.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		log.Warn("cannot reach the service manager", slog.String("socket", name), slog.Any("err", err))
		return n
	}
	n.conn = conn
	return n
}

func (n *notifier) send(text string) {
	if n.conn == nil {
		return
	}
	if _, err := n.conn.Write([]byte(text)); err != nil {
		n.log.Warn("cannot tell the service manager", slog.Any("err", err))
	}
}

func (n *notifier) ready(flows int) { n.send(fmt.Sprintf("READY=1\nSTATUS=%d flows", flows)) }

func (n *notifier) reloading() {
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
}

func (n *notifier) stopping() { n.send("STOPPING=1\nSTATUS=delivering what was read") }

// watchdog tells twice in each period that the agent lives, as long as look
// returns, until ctx ends.
func (n *notifier) watchdog(ctx context.Context, look func()) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if n.conn == nil || err != nil || usec <= 0 {
		return
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	defer tick.Stop()
	for {
		look()
		n.send("WATCHDOG=1")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *notifier) close() {
	if n.conn != nil {
		_ = n.conn.Close() // nothing is buffered
	}
}
