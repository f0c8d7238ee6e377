package producer_test

import (
	"bytes"
	"crypto/md5"
	"math/big"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// kclRecord is a user record as a processor of the KCL gets it.
type kclRecord struct {
	pk, ehk    string
	data       string
	sub        int
	aggregated bool
}

// kclUnpack takes a Kinesis record of a shard apart by the rules of the KCL,
// and shares no code with the producer. What it gives back:
//
//   - the record as it is, if magic, length, MD5 or body are not those of an
//     aggregated record,
//   - nothing, if one user record in it belongs to another shard,
//   - those before it, if a user record names a key that is in no table.
//
// Source: awslabs/amazon-kinesis-client, AggregatorUtil.java.
func kclUnpack(keys hashkey.Range, pk, ehk string, data []byte) []kclRecord {
	asIs := []kclRecord{{pk: pk, ehk: ehk, data: string(data)}}
	if len(data) <= 4+md5.Size || !bytes.Equal(data[:4], []byte{0xf3, 0x89, 0x9a, 0xc2}) {
		return asIs
	}
	body, sum := data[4:len(data)-md5.Size], data[len(data)-md5.Size:]
	if got := md5.Sum(body); !bytes.Equal(got[:], sum) {
		return asIs
	}
	agg, ok := kclParse(body)
	if !ok {
		return asIs
	}
	low, high := bigKey(keys.Start), bigKey(keys.End)
	var out []kclRecord
	for i, r := range agg.records {
		if r.pk >= uint64(len(agg.pks)) || r.hasEHK && r.ehk >= uint64(len(agg.ehks)) {
			break
		}
		u := kclRecord{pk: agg.pks[r.pk], data: string(r.data), sub: i, aggregated: true}
		hash := new(big.Int)
		if r.hasEHK {
			u.ehk = agg.ehks[r.ehk]
			if _, ok := hash.SetString(u.ehk, 10); !ok {
				break
			}
		} else {
			sum := md5.Sum([]byte(u.pk))
			hash.SetBytes(sum[:])
		}
		if hash.Cmp(low) < 0 || hash.Cmp(high) > 0 {
			return nil
		}
		out = append(out, u)
	}
	return out
}

func bigKey(k hashkey.Key) *big.Int {
	n, ok := new(big.Int).SetString(k.String(), 10)
	if !ok {
		panic("hash key is no number")
	}
	return n
}

type kclAggregate struct {
	pks, ehks []string
	records   []kclEntry
}

type kclEntry struct {
	pk, ehk uint64
	hasEHK  bool
	data    []byte
}

// kclParse reads an AggregatedRecord. It fails where a proto2 parser does: on
// bytes that are no message, and on a missing field that is required.
func kclParse(body []byte) (a kclAggregate, ok bool) {
	ok = eachField(body, func(num protowire.Number, typ protowire.Type, v []byte) bool {
		if typ != protowire.BytesType || num > 3 {
			return true // unknown
		}
		v, n := protowire.ConsumeBytes(v)
		if n < 0 {
			return false
		}
		switch num {
		case 1:
			a.pks = append(a.pks, string(v))
		case 2:
			a.ehks = append(a.ehks, string(v))
		default:
			var r kclEntry
			var hasPK, hasData bool
			good := eachField(v, func(num protowire.Number, typ protowire.Type, v []byte) bool {
				switch {
				case num == 1 && typ == protowire.VarintType:
					r.pk, _ = protowire.ConsumeVarint(v)
					hasPK = true
				case num == 2 && typ == protowire.VarintType:
					r.ehk, _ = protowire.ConsumeVarint(v)
					r.hasEHK = true
				case num == 3 && typ == protowire.BytesType:
					r.data, _ = protowire.ConsumeBytes(v)
					hasData = true
				}
				return true
			})
			if !good || !hasPK || !hasData {
				return false
			}
			a.records = append(a.records, r)
		}
		return true
	})
	return a, ok
}

// eachField hands out the fields of a message; v is the value as it is encoded.
func eachField(b []byte, yield func(num protowire.Number, typ protowire.Type, v []byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		if !yield(num, typ, b[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
