package multilang_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/multilang"
	"github.com/streamkit/streamkit/consumer"
)

func ptr[T any](v T) *T { return &v }

// TestEncode pins every line that a child is sent, byte by byte.
func TestEncode(t *testing.T) {
	arrived := time.UnixMilli(1_700_000_000_123)
	for _, tt := range []struct {
		name string
		line func() ([]byte, error)
		want string
	}{
		{"initialize", func() ([]byte, error) {
			return multilang.EncodeInitialize("shardId-000000000001", consumer.Checkpoint{SequenceNumber: "49", SubSequenceNumber: 3})
		}, `{"action":"initialize","shardId":"shardId-000000000001","sequenceNumber":"49","subSequenceNumber":3}`},
		{"initialize at a sentinel", func() ([]byte, error) {
			return multilang.EncodeInitialize("s", consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon})
		}, `{"action":"initialize","shardId":"s","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}`},
		{"processRecords", func() ([]byte, error) {
			return multilang.EncodeRecords(&consumer.Batch{BehindLatest: 1500 * time.Microsecond, Records: []consumer.Record{
				{Data: []byte("<a>&\xff"), PartitionKey: "k<é", SequenceNumber: "7", ApproximateArrivalTime: arrived},
				{PartitionKey: "u", SequenceNumber: "8", SubSequenceNumber: 2, Aggregated: true, ExplicitHashKey: "5"},
			}})
		}, `{"action":"processRecords","records":[` +
			`{"data":"PGE+Jv8=","partitionKey":"k<é","sequenceNumber":"7","approximateArrivalTimestamp":1700000000123,"subSequenceNumber":0,"action":"record"},` +
			`{"data":"","partitionKey":"u","sequenceNumber":"8","approximateArrivalTimestamp":null,"subSequenceNumber":2,"action":"record"}` +
			`],"millisBehindLatest":1}`},
		{
			"processRecords of nothing", func() ([]byte, error) { return multilang.EncodeRecords(&consumer.Batch{}) },
			`{"action":"processRecords","records":[],"millisBehindLatest":0}`,
		},
		{
			"checkpoint", func() ([]byte, error) { return multilang.EncodeAnswer("7", ptr[int64](0), "") },
			`{"action":"checkpoint","sequenceNumber":"7","subSequenceNumber":0,"error":null}`,
		},
		{
			"checkpoint of all", func() ([]byte, error) { return multilang.EncodeAnswer("", nil, "") },
			`{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null,"error":null}`,
		},
		{
			"checkpoint that failed", func() ([]byte, error) { return multilang.EncodeAnswer("7", nil, "ThrottlingException") },
			`{"action":"checkpoint","sequenceNumber":"7","subSequenceNumber":null,"error":"ThrottlingException"}`,
		},
		{"leaseLost", func() ([]byte, error) { return multilang.EncodePlain("leaseLost", "") }, `{"action":"leaseLost"}`},
		{"shardEnded", func() ([]byte, error) { return multilang.EncodePlain("shardEnded", "") }, `{"action":"shardEnded"}`},
		{"shutdownRequested", func() ([]byte, error) { return multilang.EncodePlain("shutdownRequested", "") }, `{"action":"shutdownRequested"}`},
		{"shutdown", func() ([]byte, error) { return multilang.EncodePlain("shutdown", "ZOMBIE") }, `{"action":"shutdown","reason":"ZOMBIE"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.line()
			if err != nil || string(got) != tt.want+"\n" {
				t.Errorf("%s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestDecode reads what children of all kinds write.
func TestDecode(t *testing.T) {
	type m = multilang.Message
	for _, tt := range []struct {
		name, line string
		want       m
		stray      bool
	}{
		{name: "python status", line: `{"action": "status", "responseFor": "initialize"}` + "\n", want: m{Action: "status", ResponseFor: "initialize"}},
		{name: "node status", line: `{"action":"status","responseFor":"processRecords"}`, want: m{Action: "status", ResponseFor: "processRecords"}},
		{name: "status with more", line: `{"responseFor":"x","extra":[1,{}],"action":"status"} trailing`, want: m{Action: "status", ResponseFor: "x"}},
		{name: "status for nothing", line: `{"action":"status","responseFor":null}`, want: m{Action: "status"}},
		{name: "python checkpoint", line: `{"action": "checkpoint", "sequenceNumber": null, "subSequenceNumber": null}`, want: m{Action: "checkpoint"}},
		{name: "node checkpoint", line: `{"action":"checkpoint","sequenceNumber":"123"}`, want: m{Action: "checkpoint", Seq: "123"}},
		{name: "with a sub-sequence number", line: `{"action":"checkpoint","sequenceNumber":"123","subSequenceNumber":4}`, want: m{Action: "checkpoint", Seq: "123", Sub: ptr[int64](4)}},
		{name: "dotnet checkpoint", line: "\ufeff" + `{"Action":"checkpoint","SequenceNumber":"123","SubSequenceNumber":null,"Error":null}` + "\r\n", want: m{Action: "checkpoint", Seq: "123"}},
		{name: "numbers and strings mixed up", line: `{"action":"checkpoint","sequenceNumber":49590338271490256608559692538361571095921575989136588898,"subSequenceNumber":"4"}`, want: m{Action: "checkpoint", Seq: "49590338271490256608559692538361571095921575989136588898", Sub: ptr[int64](4)}},
		{name: "sentinel", line: `{"action":"checkpoint","sequenceNumber":"SHARD_END"}`, want: m{Action: "checkpoint", Seq: "SHARD_END"}},
		{name: "not for a child", line: `{"action":"initialize"}`, want: m{Action: "initialize"}},
		{name: "empty", stray: true},
		{name: "text", line: "Was told to terminate", stray: true},
		{name: "text before", line: `log: {"action":"status"}`, stray: true},
		{name: "other JSON", line: `{"level":"info","msg":"x"}`, stray: true},
		{name: "array", line: `["status"]`, stray: true},
		{name: "unknown action", line: `{"action":"dance"}`, stray: true},
		{name: "cut short", line: `{"action":"status","responseFor":"ini`, stray: true},
		{name: "number as action", line: `{"action":7}`, stray: true},
		{name: "object as number", line: `{"action":"checkpoint","sequenceNumber":{}}`, stray: true},
		{name: "part of a number", line: `{"action":"checkpoint","sequenceNumber":"1","subSequenceNumber":1.5}`, stray: true},
		{name: "true as sub-sequence number", line: `{"action":"checkpoint","sequenceNumber":"1","subSequenceNumber":true}`, stray: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := multilang.Decode([]byte(tt.line))
			if tt.stray {
				if err == nil {
					t.Errorf("%+v, want none", got)
				}
				return
			}
			sub, want := fmt.Sprint(got.Sub == nil), fmt.Sprint(tt.want.Sub == nil)
			if got.Sub != nil && tt.want.Sub != nil {
				sub, want = fmt.Sprint(*got.Sub), fmt.Sprint(*tt.want.Sub)
			}
			got.Sub, tt.want.Sub = nil, nil
			if err != nil || got != tt.want || sub != want {
				t.Errorf("%+v sub %s, %v; want %+v sub %s", got, sub, err, tt.want, want)
			}
		})
	}
}

// FuzzDecode: no line breaks the bridge, and every message can be answered in
// one line.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"action": "status", "responseFor": "initialize"}`))
	f.Add([]byte(`{"action":"checkpoint","sequenceNumber":"49","subSequenceNumber":7}`))
	f.Add([]byte(`{"action":"checkpoint","sequenceNumber":-1e9,"subSequenceNumber":"x"}`))
	f.Add([]byte("\ufeff{\"action\":\"checkpoint\",\"sequenceNumber\":\"\\u000a\\ud800\"}\r\n"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := multilang.Decode(line)
		if err != nil {
			return
		}
		if m.Action != "checkpoint" && (m.Seq != "" || m.Sub != nil) {
			t.Errorf("%+v", m)
		}
		answer, err := multilang.EncodeAnswer(m.Seq, m.Sub, "")
		if err != nil || strings.Count(string(answer), "\n") != 1 || !strings.HasSuffix(string(answer), "\n") {
			t.Errorf("%q, %v", answer, err)
		}
		again, err := multilang.Decode(answer)
		if err != nil || again.Seq != m.Seq {
			t.Errorf("%q became %q, %v", m.Seq, again.Seq, err)
		}
	})
}

func TestErrorNames(t *testing.T) {
	api := func(code string) error {
		return fmt.Errorf("store: %w", &smithy.GenericAPIError{Code: code})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{fmt.Errorf("x: %w", consumer.ErrLeaseLost), "ShutdownException"},
		{consumer.ErrShutdown, "ShutdownException"},
		{consumer.ErrRestart, "ShutdownException"},
		{&consumer.CommitRangeError{}, "IllegalArgumentException"},
		{api("ProvisionedThroughputExceededException"), "ThrottlingException"},
		{api("ThrottlingException"), "ThrottlingException"},
		{api("RequestLimitExceeded"), "ThrottlingException"},
		{api("ResourceNotFoundException"), "InvalidStateException"},
		{api("InternalServerError"), "KinesisClientLibDependencyException"},
		{context.DeadlineExceeded, "KinesisClientLibDependencyException"},
		{errors.Join(io.ErrUnexpectedEOF, errors.New("y")), "KinesisClientLibDependencyException"},
	} {
		if got := multilang.ErrorName(tt.err); got != tt.want {
			t.Errorf("%v is told as %q, want %q", tt.err, got, tt.want)
		}
	}
}
