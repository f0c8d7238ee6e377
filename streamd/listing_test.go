package streamd_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

func (r *rig) filtered(f types.ShardFilter) []types.Shard {
	r.t.Helper()
	return r.shards(&kinesis.ListShardsInput{StreamName: &r.stream, ShardFilter: &f, MaxResults: aws.Int32(3)})
}

func ids(shards []types.Shard) []string {
	var all []string
	for _, s := range shards {
		all = append(all, *s.ShardId)
	}
	return all
}

// covers reports whether shards cover the hash space without hole or overlap.
func covers(t *testing.T, shards []types.Shard) bool {
	t.Helper()
	var ranges []hashkey.Range
	for _, s := range shards {
		start, err := hashkey.Parse(*s.HashKeyRange.StartingHashKey)
		if err != nil {
			t.Fatal(err)
		}
		end, err := hashkey.Parse(*s.HashKeyRange.EndingHashKey)
		if err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, hashkey.Range{Start: start, End: end})
	}
	slices.SortFunc(ranges, func(a, b hashkey.Range) int { return a.Start.Compare(b.Start) })
	for i, r := range ranges {
		if i == 0 && r.Start != (hashkey.Key{}) || i > 0 && !ranges[i-1].Precedes(r) {
			return false
		}
	}
	return len(ranges) > 0 && ranges[len(ranges)-1].End == hashkey.Max
}

// TestShardFilters reshards at random and asks for the shards at many
// instants, on every border among them. What is open at an instant must cover
// the hash space: consumers refuse to start otherwise.
func TestShardFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := uint64(20261126)
		rnd := rand.New(rand.NewPCG(seed, 1))
		t.Logf("seed %d", seed)
		r := newRig(t, 3)
		began := time.Now()
		instants := []time.Time{began.Add(-time.Hour), began}
		for range 12 {
			time.Sleep(time.Duration(rnd.IntN(3)) * 400 * time.Millisecond) // some in one second, some in one millisecond
			_, err := r.client.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{
				StreamName: &r.stream, TargetShardCount: aws.Int32(1 + rnd.Int32N(9)), ScalingType: types.ScalingTypeUniformScaling,
			})
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			instants = append(instants, now.Add(-time.Millisecond), now)
		}
		for _, at := range instants {
			shards := r.filtered(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: &at})
			if !covers(t, shards) {
				t.Errorf("AT_TIMESTAMP %v: %v do not cover the hash space", at, ids(shards))
			}
			later := r.filtered(types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &at})
			for _, s := range shards {
				if !slices.Contains(ids(later), *s.ShardId) {
					t.Errorf("FROM_TIMESTAMP %v lacks %s, which was open then", at, *s.ShardId)
				}
			}
		}
		all := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream})
		for kind, want := range map[types.ShardFilterType]int{
			types.ShardFilterTypeFromTrimHorizon: len(all),
			types.ShardFilterTypeAtTrimHorizon:   3,
		} {
			if got := r.filtered(types.ShardFilter{Type: kind}); len(got) != want {
				t.Errorf("%s: %d shards, want %d", kind, len(got), want)
			}
		}
		open := r.filtered(types.ShardFilter{Type: types.ShardFilterTypeAtLatest})
		if !covers(t, open) {
			t.Errorf("AT_LATEST: %v do not cover the hash space", ids(open))
		}
		for _, s := range open {
			if s.SequenceNumberRange.EndingSequenceNumber != nil {
				t.Errorf("AT_LATEST has the closed %s", *s.ShardId)
			}
		}
		after := r.filtered(types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-2")})
		if !slices.Equal(ids(after), ids(all)[3:]) {
			t.Errorf("AFTER_SHARD_ID: %v", ids(after))
		}

		// A day later only the last generation is left.
		r.Advance(24*time.Hour + time.Second)
		for _, kind := range []types.ShardFilterType{types.ShardFilterTypeAtTrimHorizon, types.ShardFilterTypeFromTrimHorizon, types.ShardFilterTypeAtLatest} {
			if got := r.filtered(types.ShardFilter{Type: kind}); !slices.Equal(ids(got), ids(open)) {
				t.Errorf("%s past retention: %v, want %v", kind, ids(got), ids(open))
			}
		}
	})
}

func TestShardFilterRefusals(t *testing.T) {
	r := newRig(t, 1)
	soon := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name, message string
		filter        types.ShardFilter
	}{
		{"shard missing", "ShardId must be given …", types.ShardFilter{Type: types.ShardFilterTypeAfterShardId}},
		{"stray shard", "ShardId must be given …", types.ShardFilter{Type: types.ShardFilterTypeAtLatest, ShardId: aws.String("0")}},
		{"time missing", "Timestamp must be given …", types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp}},
		{"stray time", "Timestamp must be given …", types.ShardFilter{Type: types.ShardFilterTypeAtLatest, Timestamp: &soon}},
		{"the future", "The Timestamp of a ShardFilter cannot be later than now. …", types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &soon}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream, ShardFilter: &tt.filter})
			wantError(t, err, "InvalidArgumentException", tt.message)
		})
	}
}

func TestPaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1500
		r := newRig(t, n)
		var want []string
		for i := range n {
			want = append(want, shardID(i))
		}
		first := must[*kinesis.ListShardsOutput](t)(r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream}))
		if len(first.Shards) != 1000 {
			t.Errorf("the default page has %d shards, want 1000", len(first.Shards))
		}
		for _, page := range []int32{100, 1000, 10000} {
			got := r.shards(&kinesis.ListShardsInput{StreamName: &r.stream, MaxResults: &page})
			if !slices.Equal(ids(got), want) {
				t.Errorf("pages of %d: %d shards", page, len(got))
			}
		}
		var described []string
		pages := 0
		for in := (&kinesis.DescribeStreamInput{StreamName: &r.stream, Limit: aws.Int32(5000)}); ; pages++ {
			d := must[*kinesis.DescribeStreamOutput](t)(r.client.DescribeStream(t.Context(), in)).StreamDescription
			described = append(described, ids(d.Shards)...)
			if !*d.HasMoreShards {
				break
			}
			in.ExclusiveStartShardId = d.Shards[len(d.Shards)-1].ShardId
		}
		if !slices.Equal(described, want) || pages != 14 {
			t.Errorf("DescribeStream: %d shards, %d pages before the last", len(described), pages)
		}

		token := first.NextToken
		for what, change := range map[string]func(*kinesis.ListShardsInput){
			"StreamName":              func(in *kinesis.ListShardsInput) { in.StreamName = &r.stream },
			"ShardFilter":             func(in *kinesis.ListShardsInput) { in.ShardFilter = &types.ShardFilter{Type: "AT_LATEST"} },
			"ExclusiveStartShardId":   func(in *kinesis.ListShardsInput) { in.ExclusiveStartShardId = aws.String("1") },
			"StreamCreationTimestamp": func(in *kinesis.ListShardsInput) { in.StreamCreationTimestamp = aws.Time(time.Now()) },
		} {
			in := &kinesis.ListShardsInput{NextToken: token}
			change(in)
			_, err := r.client.ListShards(t.Context(), in)
			wantError(t, err, "InvalidArgumentException", "NextToken and "+what+" cannot be provided together.")
		}
		_, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{})
		wantError(t, err, "InvalidArgumentException", "Either NextToken or StreamName should be provided.")
		it := r.iterator(0, types.ShardIteratorTypeLatest)
		_, err = r.client.ListShards(t.Context(), &kinesis.ListShardsInput{NextToken: &it})
		wantError(t, err, "InvalidArgumentException", "Invalid NextToken.")
		_, err = r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{NextToken: token})
		wantError(t, err, "InvalidArgumentException", "Invalid NextToken.")
		r.Advance(300*time.Second + time.Millisecond)
		_, err = r.client.ListShards(t.Context(), &kinesis.ListShardsInput{NextToken: token})
		wantError(t, err, "ExpiredNextTokenException", "NextToken expired. …")
	})
}

func TestCreationTimestamp(t *testing.T) {
	r := newRig(t, 1)
	d := must[*kinesis.DescribeStreamSummaryOutput](t)(r.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &r.stream})).StreamDescriptionSummary
	second := d.StreamCreationTimestamp.Truncate(time.Second) // as consumers remember it
	must[*kinesis.ListShardsOutput](t)(r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream, StreamCreationTimestamp: &second}))
	other := second.Add(-time.Hour)
	_, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream, StreamCreationTimestamp: &other})
	wantError(t, err, "ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
}

func TestListStreams(t *testing.T) {
	r := newRig(t, 1)
	want := []string{r.stream}
	for i := range 120 {
		name := fmt.Sprintf("n-%03d", i)
		r.CreateStream(t, name, 1)
		want = append(want, name)
	}
	slices.Sort(want)
	list := func(in kinesis.ListStreamsInput) *kinesis.ListStreamsOutput {
		t.Helper()
		return must[*kinesis.ListStreamsOutput](t)(r.client.ListStreams(t.Context(), &in))
	}
	page := list(kinesis.ListStreamsInput{})
	if len(page.StreamNames) != 100 || !*page.HasMoreStreams || len(page.StreamSummaries) != 100 || *page.StreamSummaries[99].StreamName != page.StreamNames[99] {
		t.Errorf("first page: %d names, %d summaries", len(page.StreamNames), len(page.StreamSummaries))
	}
	var byToken, byName []string
	for p := kinesis.NewListStreamsPaginator(r.client, &kinesis.ListStreamsInput{Limit: aws.Int32(7)}); p.HasMorePages(); {
		byToken = append(byToken, must[*kinesis.ListStreamsOutput](t)(p.NextPage(t.Context())).StreamNames...)
	}
	for in := (kinesis.ListStreamsInput{Limit: aws.Int32(7)}); ; {
		out := list(in)
		byName = append(byName, out.StreamNames...)
		if !*out.HasMoreStreams {
			break
		}
		in.ExclusiveStartStreamName = &out.StreamNames[len(out.StreamNames)-1]
	}
	if !slices.Equal(byToken, want) || !slices.Equal(byName, want) {
		t.Errorf("by token %d, by name %d, want %d", len(byToken), len(byName), len(want))
	}
}
