package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
)

func pipe(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l := memnet.Listen("server:1")
	client, err := l.Dial(t.Context(), "tcp", "ignored")
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = client.Close(), server.Close(), l.Close() })
	return client, server
}

func TestBytesPassInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pipe(t)
		sent := make([]byte, 1<<20) // many buffers full
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := client.Write(sent); n != len(sent) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			_ = client.Close()
		})
		got, err := io.ReadAll(server)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sent) {
			t.Error("bytes differ")
		}
		wg.Wait()
	})
}

func TestWriteDoesNotWaitForTheReader(t *testing.T) {
	client, server := pipe(t)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	got, err := io.ReadAll(server)
	if err != nil || string(got) != "hello" {
		t.Errorf("ReadAll = %q, %v", got, err)
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pipe(t)
		start := time.Now()
		_ = client.SetReadDeadline(start.Add(time.Minute))
		_, err := client.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("Read: %v after %v", err, time.Since(start))
		}
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("%v is not a timeout", err)
		}

		_ = client.SetReadDeadline(time.Time{})
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Errorf("Read after the deadline was lifted: %v", err)
		}

		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := client.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 1<<20 {
			t.Errorf("Write = %d, %v", n, err)
		}

		_ = client.SetDeadline(time.Now())
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read with a deadline that has passed: %v", err)
		}
	})
}

func TestCloseWakesBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pipe(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("own Read after Close: %v", err)
			}
		})
		synctest.Wait()
		_ = client.Close()
		wg.Wait()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // readers compare it so
			t.Errorf("peer's Read: %v, want io.EOF", err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("peer's Write: %v", err)
		}
	})
}

func TestListenerClose(t *testing.T) {
	l := memnet.Listen("a")
	waiting, err := l.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := l.Dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := waiting.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // readers compare it so
		t.Errorf("Read of a connection nobody accepted: %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	l := memnet.Listen("a")
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	for range 16 {
		if _, err := l.Dial(ctx, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if _, err := l.Dial(ctx, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a full queue: %v", err)
	}
}
