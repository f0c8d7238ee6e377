package scenario_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/integration/interop/scenario"
	"github.com/streamkit/streamkit/internal/aggregation"
)

const middle = "170141183460469231731687303715884105728"

// halves are two shards that share the hash keys.
var halves = []types.Shard{
	{ShardId: aws.String("low"), HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String("0"), EndingHashKey: aws.String("170141183460469231731687303715884105727")}},
	{ShardId: aws.String("high"), HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String(middle), EndingHashKey: aws.String("340282366920938463463374607431768211455")}},
}

// blob is an aggregate of records that are given as data and hash key.
func blob(seq string, users ...[2]string) types.Record {
	var b aggregation.Builder
	for _, u := range users {
		b.Add(aggregation.Record{PartitionKey: "k", ExplicitHashKey: u[1], Data: []byte(u[0])})
	}
	return types.Record{SequenceNumber: &seq, PartitionKey: aws.String("a"), Data: b.Seal(nil)}
}

func told(data, hash, shard, seq string) scenario.Told {
	return scenario.Told{Key: "k", Hash: hash, Data: base64.StdEncoding.EncodeToString([]byte(data)), OK: true, Shard: shard, Seq: seq}
}

// A record whose only place is beside one that does not belong there is what
// the official consumer may not deliver; any other loss is not explained.
func TestLost(t *testing.T) {
	s, err := scenario.StoredIn(halves, map[string][]types.Record{
		"low": {
			blob("1", [2]string{"mixed", "5"}, [2]string{"elsewhere", middle}),
			blob("2", [2]string{"clean", "6"}, [2]string{"also", "7"}),
		},
		"high": {
			blob("3", [2]string{"elsewhere", middle}),
			{SequenceNumber: aws.String("4"), PartitionKey: aws.String("k"), Data: []byte("alone")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	said := []scenario.Told{
		told("mixed", "5", "low", "1"), told("elsewhere", middle, "high", "3"), told("clean", "6", "low", "2"),
		told("also", "7", "low", "2"), told("alone", "5", "high", "4"),
	}
	if err := scenario.Compare(s, said); err != nil {
		t.Errorf("what was told is there: %v", err)
	}
	for _, wrong := range []scenario.Told{
		told("clean", "6", "low", "1"), told("clean", "7", "low", "2"), told("clean", "6", "high", "2"), told("unknown", "6", "low", "2"),
	} {
		if scenario.Compare(s, []scenario.Told{wrong}) == nil {
			t.Errorf("%+v is not there, and no error", wrong)
		}
	}
	got := func(data ...string) map[string]bool {
		m := make(map[string]bool)
		for _, d := range data {
			m[d] = true
		}
		return m
	}
	for name, c := range map[string]struct {
		got  map[string]bool
		lost int
		err  string
	}{
		"all came":            {got("mixed", "elsewhere", "clean", "also", "alone"), 0, ""},
		"dropped by the rule": {got("elsewhere", "clean", "also", "alone"), 1, ""},
		"dropped without":     {got("mixed", "elsewhere", "also", "alone"), 1, "was not delivered"},
		"not of the first":    {got("mixed", "clean", "also", "alone"), 1, "was not delivered"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := scenario.Lost(s, said, c.got)
			if n != c.lost || !says(err, c.err) {
				t.Errorf("lost %d, %v; want %d, %q", n, err, c.lost, c.err)
			}
		})
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	r := scenario.NewReport(&out)
	r.Client(scenario.Client{Client: "c", Version: "1"})
	r.Client(scenario.Client{Client: "c", Version: "1"})
	r.Client(scenario.Client{Client: "d", Version: "2", Runtime: "java 17"})
	r.Check("good", nil, "%d", 7)
	r.Check("bad", bytes.ErrTooLarge, "unused")
	if r.Failed() != 1 {
		t.Errorf("%d checks failed, want 1", r.Failed())
	}
	want := strings.Join([]string{
		`{"client":"c","version":"1"}`,
		`{"check":"together with d","ok":true,"detail":"2, java 17"}`,
		`{"check":"good","ok":true,"detail":"7"}`,
		`{"check":"bad","ok":false,"detail":"bytes.Buffer: too large"}`, "",
	}, "\n")
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

func TestFind(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range scenario.All() {
		if s.What == "" || names[s.Name] {
			t.Errorf("%q is there twice, or says nothing", s.Name)
		}
		names[s.Name] = true
		if got, err := scenario.Find(s.Name); err != nil || got.Name != s.Name {
			t.Errorf("Find(%q) = %q, %v", s.Name, got.Name, err)
		}
	}
	if _, err := scenario.Find("nonsense"); !says(err, "there are kpl-aggregation") {
		t.Errorf("error %v", err)
	}
}
