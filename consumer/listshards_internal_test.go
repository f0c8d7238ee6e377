package consumer

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// pagedAPI lists one shard a page, and notes what it was asked.
type pagedAPI struct {
	API
	asked []*kinesis.ListShardsInput
}

func (p *pagedAPI) ListShards(_ context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	p.asked = append(p.asked, in)
	out := &kinesis.ListShardsOutput{Shards: []types.Shard{{ShardId: aws.String("shard")}}}
	if len(p.asked) < 3 {
		out.NextToken = aws.String("more")
	}
	return out, nil
}

// The service refuses a token with anything beside it.
func TestLaterPagesAreAskedByTokenAlone(t *testing.T) {
	for _, stream := range []string{"s", "arn:aws:kinesis:us-east-1:000000000000:stream/s"} {
		api := new(pagedAPI)
		cfg, err := Config{}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		c := &Consumer{api: api, cfg: cfg}
		shards, err := c.listShards(t.Context(), &source{ref: newStreamRef(stream)}, &types.ShardFilter{Type: types.ShardFilterTypeAtLatest})
		if err != nil || len(shards) != 3 || len(api.asked) != 3 {
			t.Fatalf("%s: %d shards of %d pages, %v", stream, len(shards), len(api.asked), err)
		}
		for i, in := range api.asked {
			named := in.StreamName != nil || in.StreamARN != nil
			if first := i == 0; named != first || (in.ShardFilter != nil) != first || (in.NextToken == nil) != first {
				t.Errorf("%s: page %d was asked with name or ARN %v, filter %v, token %v", stream, i, named, in.ShardFilter != nil, in.NextToken != nil)
			}
		}
	}
}
