package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// goodHistory is a stream whose only shard was split: three records in the
// parent, two in its lower child, one put without an answer that is stored, one
// that is not.
func goodHistory() *history {
	const half = "170141183460469231731687303715884105728"
	h := newHistory()
	shard := func(id, from, to string) types.Shard {
		return types.Shard{
			ShardId:             aws.String(id),
			HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(from), EndingHashKey: aws.String(to)},
			SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String("100")},
		}
	}
	parent := shard("parent", "0", "340282366920938463463374607431768211455")
	parent.SequenceNumberRange.EndingSequenceNumber = aws.String("199")
	low := shard("low", "0", "170141183460469231731687303715884105727")
	high := shard("high", half, "340282366920938463463374607431768211455")
	low.ParentShardId, high.ParentShardId = parent.ShardId, parent.ShardId
	h.shards = []types.Shard{parent, low, high}

	lowKey := "0"
	for i := 0; !covers(low, lowKey); i++ {
		lowKey = fmt.Sprint(i)
	}
	record := func(value, seq string, second int) types.Record {
		at := time.Unix(int64(second), 0)
		return types.Record{
			Data: []byte(value), PartitionKey: &lowKey, SequenceNumber: &seq, ApproximateArrivalTimestamp: &at,
		}
	}
	h.final = map[string][]types.Record{
		"parent": {record("a", "110", 1), record("b", "120", 2), record("c", "130", 2)},
		"low":    {record("d", "210", 3), record("e", "220", 4)},
	}
	at := func(value, shard, seq string, start, end int, acked bool) put {
		return put{
			value: value, key: lowKey, shard: shard, seq: seq, acked: acked,
			start: time.Duration(start), end: time.Duration(end),
		}
	}
	h.puts = []put{
		at("a", "parent", "110", 1, 3, true),
		at("b", "parent", "120", 2, 5, true),
		at("c", "", "", 4, 9, false),
		at("d", "low", "210", 10, 11, true),
		at("e", "low", "220", 12, 13, true),
		at("f", "", "", 12, 14, false),
	}
	h.reads = []read{
		{shard: "parent", records: h.final["parent"][:2]},
		{shard: "parent", after: "120", records: h.final["parent"][2:]},
		{shard: "low", records: h.final["low"]},
	}
	return h
}

// TestHistoryCheck breaks a good history in every way that check knows.
func TestHistoryCheck(t *testing.T) {
	if bad := goodHistory().check(); len(bad) != 0 {
		t.Fatalf("a good history is reported:\n%s", strings.Join(bad, "\n"))
	}
	for _, tt := range []struct {
		name, want string
		harm       func(h *history)
	}{
		{"lost", "lost: e", func(h *history) { h.final["low"] = h.final["low"][:1] }},
		{"unanswered put twice", "doubled: c", func(h *history) {
			again := h.final["parent"][2]
			again.SequenceNumber = aws.String("140")
			h.final["parent"] = append(h.final["parent"], again)
		}},
		{"moved", "moved: a", func(h *history) { h.puts[0].seq = "111" }},
		{"invented", "invented: \"d\"", func(h *history) { h.puts[3].value = "x" }},
		{"number used again", "numbers fall in low", func(h *history) { h.final["low"][1].SequenceNumber = aws.String("210") }},
		{"arrival", "arrival falls in parent", func(h *history) {
			h.final["parent"][0].ApproximateArrivalTimestamp = aws.Time(time.Unix(9, 0))
		}},
		{"wrong shard", "wrong shard", func(h *history) { h.final["high"], h.final["low"] = h.final["low"], nil }},
		{"order", "order: e was acknowledged before d was put", func(h *history) { h.puts[3].start = 20 }},
		{"after the end", "after the end: parent", func(h *history) {
			h.shards[0].SequenceNumberRange.EndingSequenceNumber = aws.String("125")
		}},
		{"below the parent", "below the parent: low", func(h *history) { h.final["low"][0].SequenceNumber = aws.String("129") }},
		{"gap", "read with a gap: 130", func(h *history) { h.reads[1].after = "110" }},
		{"skipped at the start", "read with a gap: 220", func(h *history) { h.reads[2].records = h.reads[2].records[1:] }},
		{"read and gone", "read and gone: 130", func(h *history) { h.final["parent"] = h.final["parent"][:2] }},
		{"read position gone", "read and gone: 121", func(h *history) { h.reads[1].after = "121" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := goodHistory()
			tt.harm(h)
			if got := strings.Join(h.check(), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("check did not report %q; it reported:\n%s", tt.want, got)
			}
		})
	}
}
