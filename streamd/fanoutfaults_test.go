package streamd_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd"
)

// TestFaultFanOutCut ends subscriptions before their time.
func TestFaultFanOutCut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  streamd.Fault
		events int
		after  time.Duration
	}{
		{"after events", streamd.Fault{Kind: streamd.FaultFanOutCut, Events: 2}, 2, 0},
		{"after a time", streamd.Fault{Kind: streamd.FaultFanOutCut, Lifetime: 9 * time.Second}, -1, 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				consumer := r.register("c")
				r.Fault(t, tt.fault)
				for i := range 3 { // events of a mebibyte each
					r.put(0, strings.Repeat(fmt.Sprint(i), 1<<20-3))
				}
				began := time.Now()
				sub := r.subscribe(consumer.ConsumerARN, 0, startAt(types.ShardIteratorTypeTrimHorizon))
				events := 0
				for range sub.stream.Events() {
					events++
				}
				if took := time.Since(began).Truncate(time.Second); tt.events >= 0 && events != tt.events || took != tt.after || sub.stream.Err() != nil {
					t.Errorf("%d events within %v, error %v", events, took, sub.stream.Err())
				}
			})
		})
	}
}

// TestFaultFanOutReset breaks the connection in the middle of the answer. The
// SDK takes that for an end like others; what reads the answer sees it.
func TestFaultFanOutReset(t *testing.T) {
	r := newRig(t, 1)
	consumer := r.register("c")
	r.Fault(t, streamd.Fault{Kind: streamd.FaultFanOutCut, Events: 1, Reset: true})
	r.put(0, "x")
	resp := request{
		target: "SubscribeToShard",
		body:   fmt.Sprintf(`{"ConsumerARN":"%s","ShardId":"0","StartingPosition":{"Type":"TRIM_HORIZON"}}`, *consumer.ConsumerARN),
	}.send(t, r.Server)
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("status %d, %d bytes, error %v", resp.StatusCode, len(b), err)
	}
}
