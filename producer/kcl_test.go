package producer_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// kclGolden are aggregated records that an independent protocol buffer library
// has written and read. The third has a tag, which no producer of today writes.
var kclGolden = []struct {
	name, blob, hashKey string
	records             []producer.UserRecord
	readOnly            bool
}{
	{
		name:    "two keys",
		blob:    "f3899ac20a01610a01621a0908001a0568656c6c6f1a0a08011a06776f726c64211a0408001a0036788aca63a867f3ec4b8e30f8caa176",
		hashKey: "16955237001963240173058271559858726497",
		records: []producer.UserRecord{
			{PartitionKey: "a", Data: []byte("hello")}, {PartitionKey: "b", Data: []byte("world!")}, {PartitionKey: "a"},
		},
	},
	{
		name: "explicit hash keys",
		blob: "f3899ac20a02706b0a017112013012273334303238323336363932303933383436333436333337343630373433313736383231313435351a0908001000" +
			"1a037878781a07080010011a01791a0508011a017a9db9ea1e91199e9cd5f92ace736a1726",
		hashKey: "0",
		records: []producer.UserRecord{
			{PartitionKey: "pk", ExplicitHashKey: "0", Data: []byte("xxx")},
			{PartitionKey: "pk", ExplicitHashKey: "340282366920938463463374607431768211455", Data: []byte("y")},
			{PartitionKey: "q", Data: []byte("z")},
		},
	},
	{
		name:     "a tag",
		blob:     "f3899ac20a016b1a0e08001a02643122060a01731201011a0608001a026432d3198989b6deb98c4e774566be3d55cd",
		hashKey:  "187279361568289349169310600456257773043",
		records:  []producer.UserRecord{{PartitionKey: "k", Data: []byte("d1")}, {PartitionKey: "k", Data: []byte("d2")}},
		readOnly: true,
	},
}

// TestGoldenRecords: the producer writes the bytes, the partition key and the
// hash key that the KPL writes, and the KCL's rules read them.
func TestGoldenRecords(t *testing.T) {
	for _, tt := range kclGolden {
		t.Run(tt.name, func(t *testing.T) {
			blob, err := hex.DecodeString(tt.blob)
			if err != nil {
				t.Fatal(err)
			}
			got := kclUnpack(hashkey.All, "a", tt.hashKey, blob)
			if len(got) != len(tt.records) {
				t.Fatalf("%d user records, want %d", len(got), len(tt.records))
			}
			for i, u := range tt.records {
				want := kclRecord{pk: u.PartitionKey, ehk: u.ExplicitHashKey, data: string(u.Data), sub: i, aggregated: true}
				if got[i] != want {
					t.Errorf("record %d = %+v, want %+v", i, got[i], want)
				}
			}
			if tt.readOnly {
				return
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				var sent []types.PutRecordsRequestEntry
				f.onRequest = func(in *kinesis.PutRecordsInput) error {
					for _, e := range in.Records {
						sent = append(sent, types.PutRecordsRequestEntry{
							Data:            bytes.Clone(e.Data),
							PartitionKey:    aws.String(strings.Clone(*e.PartitionKey)),
							ExplicitHashKey: aws.String(strings.Clone(*e.ExplicitHashKey)),
						})
					}
					return nil
				}
				p := start(t, f, producer.Config{})
				for _, u := range tt.records {
					put(t, p, u, nil)
				}
				closeNow(t, p)
				if len(sent) != 1 || !bytes.Equal(sent[0].Data, blob) || *sent[0].PartitionKey != "a" || *sent[0].ExplicitHashKey != tt.hashKey {
					t.Errorf("sent %d Kinesis records, the first %x with keys %q, %q", len(sent), sent[0].Data, *sent[0].PartitionKey, *sent[0].ExplicitHashKey)
				}
			})
		})
	}
}

// TestKCLRules: what the KCL makes of records that are not as they should be.
func TestKCLRules(t *testing.T) {
	seal := func(body string) []byte {
		sum := md5.Sum([]byte(body))
		return slices.Concat([]byte(aggregation.Magic), []byte(body), sum[:])
	}
	const (
		keys  = "\x0a\x01a\x0a\x01b"
		ofA   = "\x1a\x05\x08\x00\x1a\x01x"
		ofB   = "\x1a\x05\x08\x01\x1a\x01y"
		ofC   = "\x1a\x05\x08\x02\x1a\x01z" // names a key that is in no table
		noKey = "\x1a\x03\x1a\x01w"
	)
	good := seal(keys + ofA + ofB)
	wrongSum := bytes.Clone(good)
	wrongSum[len(wrongSum)-1] ^= 1
	a, b := hashkey.Of("a"), hashkey.Of("b") // a is the lower one
	for _, tt := range []struct {
		name  string
		data  []byte
		shard hashkey.Range
		want  string // the data of what is read; "as it is" means the record itself
	}{
		{name: "whole", data: good, shard: hashkey.All, want: "x y"},
		{name: "just in range", data: good, shard: hashkey.Range{Start: a, End: b}, want: "x y"},
		{name: "the first is below the shard", data: good, shard: hashkey.Range{Start: a.Add(1), End: hashkey.Max}},
		{name: "the last is above the shard", data: good, shard: hashkey.Range{End: a}},
		{name: "wrong MD5", data: wrongSum, shard: hashkey.All, want: "as it is"},
		{name: "wrong MD5, and out of range", data: wrongSum, shard: hashkey.Range{End: a}, want: "as it is"},
		{name: "other magic", data: append([]byte("\xf3\x89\x9a\xc3"), good[4:]...), shard: hashkey.All, want: "as it is"},
		{name: "magic alone", data: []byte(aggregation.Magic), shard: hashkey.All, want: "as it is"},
		{name: "no body", data: seal(""), shard: hashkey.All, want: "as it is"},
		{name: "no message", data: seal("\xff\xff"), shard: hashkey.All, want: "as it is"},
		{name: "a required field is missing", data: seal(keys + ofA + noKey), shard: hashkey.All, want: "as it is"},
		{name: "a key in no table", data: seal(keys + ofA + ofC + ofB), shard: hashkey.All, want: "x"},
		{name: "unknown fields", data: seal("\xa2\x06\x02hi" + keys + ofB), shard: hashkey.All, want: "y"},
		{name: "text", data: []byte("an ordinary record"), shard: hashkey.Range{End: a}, want: "as it is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, r := range kclUnpack(tt.shard, "outer", "", tt.data) {
				if !r.aggregated && r.pk == "outer" && r.data == string(tt.data) {
					r.data = "as it is"
				}
				got = append(got, r.data)
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("read %q, want %q", s, tt.want)
			}
		})
	}
}

// TestKCLReadsBuilder: what the codec packs, the KCL's rules take apart; out of
// range it is nothing.
func TestKCLReadsBuilder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		var b aggregation.Builder
		var want []kclRecord
		low, high := hashkey.Max, hashkey.Key{}
		for i := range 1 + r.IntN(30) {
			u := aggregation.Record{PartitionKey: fmt.Sprint("key ", r.IntN(10)), Data: bytes.Repeat([]byte{byte(i)}, r.IntN(300))}
			if r.IntN(3) == 0 {
				u.ExplicitHashKey = hashkey.Key{Hi: r.Uint64(), Lo: r.Uint64()}.String()
			}
			b.Add(u)
			want = append(want, kclRecord{pk: u.PartitionKey, ehk: u.ExplicitHashKey, data: string(u.Data), sub: i, aggregated: true})
			k := hashOf(u.PartitionKey, u.ExplicitHashKey)
			if k.Less(low) {
				low = k
			}
			if high.Less(k) {
				high = k
			}
		}
		blob := b.Seal(nil)
		if got := kclUnpack(hashkey.Range{Start: low, End: high}, "a", "", blob); !slices.Equal(got, want) {
			t.Fatalf("read %+v, want %+v", got, want)
		}
		if got := kclUnpack(hashkey.Range{Start: low.Add(1), End: hashkey.Max}, "a", "", blob); len(got) > 0 {
			t.Fatalf("read %d records of a shard that one of them does not belong to", len(got))
		}
	}
}
