package consumer_test

import (
	"testing"

	"github.com/streamkit/streamkit/consumer"
)

// Source of the form: amazon-kinesis-client, StreamIdentifier and MultiStreamLease.
func TestSplitLeaseKey(t *testing.T) {
	for _, tt := range []struct{ name, key, stream, shard string }{
		{"one stream", "shardId-000000000002", "", "shardId-000000000002"},
		{"several", "123456789012:orders:1700000000:shardId-000000000002", "123456789012:orders:1700000000", "shardId-000000000002"},
		{"punctuation in the name", "1:a.b_c-d:1:s", "1:a.b_c-d:1", "s"},
		{"no account", ":orders:1700000000:s", "", ":orders:1700000000:s"},
		{"account of letters", "acc:orders:1700000000:s", "", "acc:orders:1700000000:s"},
		{"no epoch", "1:orders::s", "", "1:orders::s"},
		{"epoch 0", "1:orders:0:s", "", "1:orders:0:s"},
		{"epoch with a sign", "1:orders:+5:s", "", "1:orders:+5:s"},
		{"epoch with leading zero", "1:orders:05:s", "", "1:orders:05:s"},
		{"a part too many", "1:orders:x:5:s", "", "1:orders:x:5:s"},
		{"no shard", "1:orders:5:", "", "1:orders:5:"},
		{"nothing", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream, shard := consumer.SplitLeaseKey(tt.key)
			if stream != tt.stream || shard != tt.shard {
				t.Errorf("SplitLeaseKey(%q) = %q, %q; want %q, %q", tt.key, stream, shard, tt.stream, tt.shard)
			}
			if back := consumer.LeaseKey(stream, shard); back != tt.key {
				t.Errorf("LeaseKey of that = %q", back)
			}
		})
	}
	n := testing.AllocsPerRun(100, func() { consumer.SplitLeaseKey("123456789012:orders:1700000000:shardId-000000000002") })
	if n > 0 {
		t.Errorf("SplitLeaseKey allocates %v times; each look does it for each lease", n)
	}
}

func FuzzSplitLeaseKey(f *testing.F) {
	for _, key := range []string{"shardId-000000000002", "1:orders:1700000000:shardId-000000000002", "1:o:0:s", "::::", "1:o:9223372036854775808:s"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		stream, shard := consumer.SplitLeaseKey(key)
		if back := consumer.LeaseKey(stream, shard); back != key {
			t.Errorf("%q is taken apart as %q, %q", key, stream, shard)
		}
		if stream == "" {
			return
		}
		id, err := consumer.ParseStreamID(stream)
		if err != nil || id.String() != stream {
			t.Errorf("ParseStreamID(%q) = %v, %v", stream, id, err)
		}
	})
}
