package peers_test

import (
	"context"
	"net"
	"testing"

	"github.com/streamkit/streamkit/internal/peers"
)

// TestRefused asks the system itself what it says of an address where nobody
// listens any more.
func TestRefused(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if !peers.Refused(err) {
		t.Errorf("a call to a closed port: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = new(net.Dialer).DialContext(ctx, "tcp", addr); peers.Refused(err) {
		t.Errorf("a call that was given up: %v", err)
	}
}
