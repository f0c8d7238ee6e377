package dynamolease_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/integration/interop/golden"
)

// created returns the leases that the official library was seen to create.
func created(t *testing.T, name string) (items []map[string]types.AttributeValue) {
	t.Helper()
	f, err := golden.KCL.Open("testdata/calls/" + name + ".ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Target string
			Body   json.RawMessage
		}
		var put struct {
			Item map[string]struct {
				S  *string
				N  *string
				SS []string
			}
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil || !strings.HasSuffix(l.Target, ".PutItem") || json.Unmarshal(l.Body, &put) != nil {
			continue
		}
		it := map[string]types.AttributeValue{}
		for name, v := range put.Item {
			switch {
			case v.S != nil:
				it[name] = &types.AttributeValueMemberS{Value: *v.S}
			case v.N != nil:
				it[name] = &types.AttributeValueMemberN{Value: *v.N}
			case v.SS != nil:
				it[name] = &types.AttributeValueMemberSS{Value: v.SS}
			}
		}
		if it["checkpoint"] != nil {
			items = append(items, it)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return items
}

// TestLeasesOfTheLibrary: every attribute with which the official library creates a
// lease is read and written under the same name.
func TestLeasesOfTheLibrary(t *testing.T) {
	for _, name := range []string{"kcl1-polling-short", "kcl2-polling-short", "kcl3-polling-short"} {
		t.Run(name, func(t *testing.T) {
			items := created(t, name)
			parents := 0
			for _, it := range items {
				l := dynamolease.Decode(it)
				if l.Invalid != nil || l.Key == "" || l.StartingHashKey == "" {
					t.Errorf("%v is read as %+v", it, l)
				}
				parents += len(l.Parents)
				back := dynamolease.Encode(l)
				for attr := range it {
					if back[attr] == nil && attr != "entityType" {
						t.Errorf("%s is not written", attr)
					}
				}
				for attr := range back {
					if it[attr] == nil {
						t.Errorf("%s is written, and was not there", attr)
					}
				}
			}
			if len(items) < 4 || parents < 2 {
				t.Errorf("%d leases with %d parents were captured", len(items), parents)
			}
		})
	}
}

// TestParentsUnderTheirOldName: leases of an earlier version keep their parents.
func TestParentsUnderTheirOldName(t *testing.T) {
	l := dynamolease.Decode(map[string]types.AttributeValue{
		"leaseKey": &types.AttributeValueMemberS{Value: "c"}, "checkpoint": &types.AttributeValueMemberS{Value: "TRIM_HORIZON"},
		"leaseCounter": &types.AttributeValueMemberN{Value: "1"}, "checkpointSubSequenceNumber": &types.AttributeValueMemberN{Value: "0"},
		"parentShardIds": &types.AttributeValueMemberSS{Value: []string{"b", "a"}},
	})
	if l.Invalid != nil || !slices.Equal(l.Parents, []string{"a", "b"}) {
		t.Errorf("%+v", l)
	}
}
