package table_test

import (
	"fmt"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/table"
)

const (
	renewLegacy = `{"TableName":"tab","Key":{"k":{"S":"shardId-000000000007"}},"Expected":{"leaseCounter":{"Value":{"N":"1"}},"checkpointOwner":{"Exists":false}},` +
		`"AttributeUpdates":{"leaseCounter":{"Value":{"N":"1"},"Action":"PUT"}},"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`
	renewExpression = `{"TableName":"tab","Key":{"k":{"S":"shardId-000000000007"}},"ConditionExpression":"leaseCounter = :n AND leaseOwner = :me",` +
		`"UpdateExpression":"SET leaseCounter = :m","ExpressionAttributeValues":{":m":{"N":"1"},":me":{"S":"worker-1"},":n":{"N":"1"}},"ReturnValues":"ALL_NEW","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`
)

// leaseTable has many leases as KCL writes them.
func leaseTable(tb testing.TB) *rig {
	tb.Helper()
	r := newRig()
	r.hashTable(tb, "S")
	for i := range 1000 {
		r.put(tb, fmt.Sprintf(`{"k":{"S":"shardId-%012d"},"leaseCounter":{"N":"1"},"leaseOwner":{"S":"worker-1"},"ownerSwitchesSinceCheckpoint":{"N":"0"},
			"checkpoint":{"S":"49590338271490256608559692538361571095921575989136588898"},"checkpointSubSequenceNumber":{"N":"0"},
			"startingHashKey":{"S":"0"},"endingHashKey":{"S":"340282366920938463463374607431768211455"}}`, i))
	}
	return r
}

func BenchmarkParse(b *testing.B) {
	for name, body := range map[string]string{"legacy": renewLegacy, "expression": renewExpression} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := []byte(body)
			for b.Loop() {
				if _, err := table.Parse("UpdateItem", body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRenew(b *testing.B) {
	for name, body := range map[string]string{"legacy": renewLegacy, "expression": renewExpression} {
		b.Run(name, func(b *testing.B) {
			r := leaseTable(b)
			b.ReportAllocs()
			body := []byte(body)
			var dst []byte
			for b.Loop() {
				req, err := table.Parse("UpdateItem", body)
				if err != nil {
					b.Fatal(err)
				}
				res, err := r.set.Apply(start, scope, req)
				if err != nil {
					b.Fatal(err)
				}
				dst = res.AppendJSON(dst[:0])
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	r := leaseTable(b)
	req, err := table.Parse("Scan", []byte(`{"TableName":"tab"}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		res, err := r.set.Read(start, scope, req)
		if err != nil {
			b.Fatal(err)
		}
		dst = res.AppendJSON(dst[:0])
	}
	b.SetBytes(int64(len(dst)))
}

// TestRenewAllocations bounds the allocations of the request that a server of
// leases sees most, from its bytes to the bytes of the answer. They are 21 and
// 15; the race detector keeps pools from being of use.
func TestRenewAllocations(t *testing.T) {
	r := leaseTable(t)
	var dst []byte
	for name, tt := range map[string]struct {
		body string
		most float64
	}{"legacy": {renewLegacy, 25}, "expression": {renewExpression, 22}} {
		body := []byte(tt.body)
		got := testing.AllocsPerRun(200, func() {
			req, err := table.Parse("UpdateItem", body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := r.set.Apply(start, scope, req)
			if err != nil {
				t.Fatal(err)
			}
			dst = res.AppendJSON(dst[:0])
		})
		if got > tt.most {
			t.Errorf("%s: %.0f allocations, want at most %.0f", name, got, tt.most)
		}
	}
}
