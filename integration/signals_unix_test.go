//go:build unix

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestServerStoppedDuringPuts holds streamd for a moment again and again while
// clients are at work, lets it go on, or kills it as it stands.
func TestServerStoppedDuringPuts(t *testing.T) {
	needProcesses(t)
	r, round := chance(0), 0
	underFire(t, func(s *server) {
		if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		pause(t.Context(), time.Duration(50+r.IntN(200))*time.Millisecond)
		if round++; round%3 == 0 {
			s.kill()
			s.start()
			return
		}
		if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSecondServerOnTheDirectory starts a second process on the data of one that
// runs. It must go, and not have touched anything.
func TestSecondServerOnTheDirectory(t *testing.T) {
	needProcesses(t)
	s := startServer(t)
	s.createStream("orders", 1)
	second := start(t, "streamd", nil, "--listen", freeAddr(t), "--admin", "off", "--data", s.dataDir)
	err := second.wait(10 * time.Second)
	if code, ok := errors.AsType[*exec.ExitError](err); !ok || code.ExitCode() != 1 || !strings.Contains(second.out.String(), "in use by another process") {
		t.Errorf("the second server ended with %v:\n%s", err, second.out.String())
	}
	s.createStream("more", 1)
	s.kill()
	s.start()
	if err := s.awaitActive(t.Context(), "more"); err != nil {
		t.Error(err)
	}
}

// TestServerWithoutDescriptors takes all descriptors that streamd may have, by
// connecting to it. Who is connected must be served, and so must the next when
// the others have gone.
func TestServerWithoutDescriptors(t *testing.T) {
	needProcesses(t)
	s := startServer(t, "sh", "-c", `ulimit -n 64 && exec "$0" "$@"`)
	s.createStream("orders", 1)
	put := func(size int) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
		for left := size; left > 0; left -= 500_000 {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: make([]byte, min(left, 500_000)), PartitionKey: aws.String("k")})
		}
		_, err := s.kinesis().PutRecords(ctx, in, noRetry)
		return err
	}
	if err := put(1); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 100 {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	// It came before the descriptors were taken.
	if err := conns[0].SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conns[0], "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if n, err := conns[0].Read(make([]byte, 1)); n == 0 {
		t.Errorf("the first of the connections is not served: %v", err)
	}
	// 80 MiB in all, more than the ring: what needs a file that cannot be opened
	// is refused as throttled, and the server goes on.
	for i := range 20 {
		if err := put(4 << 20); err != nil {
			if _, ok := errors.AsType[*types.ProvisionedThroughputExceededException](err); !ok {
				t.Fatalf("put %d, while connections have all descriptors: %v", i, err)
			}
		}
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, time.Minute, "another client is served", func() error {
		if s.ended() {
			return fmt.Errorf("%w: streamd ended: %w", errGiveUp, s.err)
		}
		s.client.CloseIdleConnections()
		return put(100)
	})
}
