package streamdtest_test

import (
	"bytes"
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// use has a server start all that it starts for its clients.
func use(t *testing.T, srv *streamdtest.Server) {
	t.Helper()
	srv.CreateStream(t, "s", 3)
	put(t, srv, "s", "k", "data")
	srv.WaitForRecords(t.Context(), t, "s", 1)
	if _, err := srv.DynamoDB().ListTables(t.Context(), &dynamodb.ListTablesInput{}); err != nil {
		t.Error(err)
	}
	srv.Advance(time.Hour)
}

// left returns the stacks of the goroutines that run code of the server, or of
// the network and HTTP below it. The tests of this package run one by one.
func left() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var stacks []string
	for stack := range bytes.SplitSeq(buf, []byte("\n\n")) {
		s := string(stack)
		if strings.Contains(s, "streamdtest_test.left(") || strings.Contains(s, "testing.(*T).Run(") {
			continue // this one, and the tests that wait for it
		}
		for _, of := range []string{"streamkit/streamd", "streamkit/internal/memnet", "net/http."} {
			if strings.Contains(s, of) {
				stacks = append(stacks, s)
				break
			}
		}
	}
	return stacks
}

// noneLeft fails the test if such goroutines stay. One that has told its owner
// that it is done may need a moment to end.
func noneLeft(t *testing.T) {
	t.Helper()
	var stacks []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if stacks = left(); len(stacks) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines are left:\n%s", len(stacks), strings.Join(stacks, "\n\n"))
}

func TestNothingIsLeft(t *testing.T) {
	noneLeft(t) // of the tests before
	for _, tt := range []struct {
		name string
		opts func(t *testing.T) []streamdtest.Option
	}{
		{"in memory", func(*testing.T) []streamdtest.Option { return nil }},
		{"listening", func(*testing.T) []streamdtest.Option { return []streamdtest.Option{streamdtest.Listen()} }},
		{"on disk", func(t *testing.T) []streamdtest.Option {
			return []streamdtest.Option{streamdtest.Dir(t.TempDir())}
		}},
		{"in transition", func(*testing.T) []streamdtest.Option {
			return []streamdtest.Option{streamdtest.TransitionDelay(time.Minute)}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("server", func(t *testing.T) {
				srv := streamdtest.New(t, tt.opts(t)...)
				if tt.name == "in transition" {
					srv.CreateStream(t, "s", 1)
					return
				}
				use(t, srv)
				if len(left()) == 0 {
					t.Error("no goroutine of the server is seen while it runs: this test sees nothing")
				}
			})
			noneLeft(t)
		})
	}
}

// TestNothingIsLeftOfClients ends a server while connections of others are open
// to it, one of them in HTTP/2.
func TestNothingIsLeftOfClients(t *testing.T) {
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	h1 := new(http.Transport)
	t.Run("server", func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Listen())
		for _, tr := range []*http.Transport{h1, h2} {
			client := srv.Kinesis(func(o *kinesis.Options) { o.HTTPClient = &http.Client{Transport: tr} })
			if _, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{Limit: aws.Int32(1)}); err != nil {
				t.Fatal(err)
			}
		}
	})
	h1.CloseIdleConnections()
	h2.CloseIdleConnections()
	noneLeft(t)
}

// TestNothingIsLeftInABubble relies on the bubble: it ends with a failure if a
// goroutine in it does not.
func TestNothingIsLeftInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		use(t, srv)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// A client that has given up leaves a connection that nobody reads.
		if _, err := srv.Kinesis().ListStreams(ctx, &kinesis.ListStreamsInput{}); err == nil {
			t.Error("a request whose context has ended has succeeded")
		}
	})
}
