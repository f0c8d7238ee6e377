package demo_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

func TestProgressFollowsGrowingFiles(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	frames(
		t, whole,
		func(f *demo.Frame) {
			f.Reset("s")
			f.Add("1", demo.Delivery{File: 2, Line: 1})
			f.Add("1", demo.Delivery{File: 2, Line: 2})
		},
		func(f *demo.Frame) {
			f.Reset("s")
			f.Add("1", demo.Delivery{File: 2, Line: 2})
			f.Add("1", demo.Delivery{File: 0, Line: 1 << 20})
			f.Add("1", demo.Delivery{File: demo.Unknown, Line: 7})
			f.Add("1", demo.Delivery{File: 1, Line: 1 << 60})
		},
	)
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := demo.NewProgress(dir)
	var last uint64
	// The file grows byte by byte; a frame counts when it is whole.
	for n := range len(data) + 1 {
		if err := os.WriteFile(filepath.Join(dir, "w.receipts"), bytes.Clone(data[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Update(); err != nil {
			t.Fatalf("at byte %d: %v", n, err)
		}
		if p.Deliveries() < last {
			t.Fatalf("at byte %d: %d deliveries after %d", n, p.Deliveries(), last)
		}
		last = p.Deliveries()
	}
	if p.Deliveries() != 6 || p.Distinct() != 3 {
		t.Errorf("%d deliveries, %d distinct lines; want 6 and 3", p.Deliveries(), p.Distinct())
	}
}

func TestPair(t *testing.T) {
	s := func(lo, hi string, parent string) types.Shard {
		return types.Shard{ParentShardId: aws.String(parent), HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String(lo), EndingHashKey: aws.String(hi)}}
	}
	for _, tt := range []struct {
		name string
		open []types.Shard
		want int
		ok   bool
	}{
		{name: "one shard", open: []types.Shard{s("0", "9", "")}, want: -1},
		{name: "a gap", open: []types.Shard{s("0", "9", ""), s("11", "19", "")}, want: -1},
		{name: "not the twins", open: []types.Shard{s("0", "4", "p"), s("5", "9", "p"), s("10", "19", "")}, want: 1, ok: true},
		{name: "only twins", open: []types.Shard{s("0", "4", "p"), s("5", "9", "p")}, want: 0, ok: true},
		{name: "first of all", open: []types.Shard{s("0", "4", ""), s("5", "9", "")}, want: 0, ok: true},
	} {
		if got, ok := demo.Pair(tt.open); got != tt.want || ok != tt.ok {
			t.Errorf("%s: pair = %d, %v; want %d, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
