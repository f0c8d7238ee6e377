package streamdtest_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		srv := streamdtest.New(t)
		srv.CreateStream(t, "s", 2)
		client := srv.Kinesis()
		for i := range 10 {
			_, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{
				StreamName: aws.String("s"), PartitionKey: aws.String(fmt.Sprint(i)), Data: []byte{byte(i)},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if n := len(srv.Records(t, "s")); n != 10 {
			t.Errorf("%d records, want 10", n)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v of the bubble's time, want none", took)
		}
	})
}

func TestListen(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	out, err := srv.Kinesis().DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	if got := out.StreamDescriptionSummary; got.StreamStatus != types.StreamStatusActive || got.StreamId != nil {
		t.Errorf("summary %+v", got)
	}
}

func TestHTTPS(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.CertPool()}}
	defer tr.CloseIdleConnections()
	client := srv.Kinesis(func(o *kinesis.Options) {
		o.BaseEndpoint, o.HTTPClient = aws.String(srv.HTTPSEndpoint()), &http.Client{Transport: tr}
	})
	if _, err := client.ListStreams(t.Context(), nil); err != nil {
		t.Error(err)
	}
	inside := streamdtest.New(t)
	if inside.HTTPSEndpoint() != "" || inside.CertPool() != nil {
		t.Error("a server that does not listen has made keys")
	}
}

// TestStart guards the promise that a server is there in under 10 ms. The
// best of some starts counts, and of many if the machine is busy with other tests.
func TestStart(t *testing.T) {
	best := time.Hour
	for n := 0; n < 5 || n < 500 && best > 10*time.Millisecond; n++ {
		began := time.Now()
		srv := streamdtest.New(t)
		best = min(best, time.Since(began))
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if best > 10*time.Millisecond {
		t.Errorf("start took %v, want at most 10ms", best)
	}
	t.Logf("start: %v", best)
}
