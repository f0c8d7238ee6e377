package aggregation_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/streamkit/streamkit/internal/aggregation"
)

// schema describes the format to the protocol buffer library, which is the
// oracle of these tests. Users' builds never link it.
func schema(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, num int32, label descriptorpb.FieldDescriptorProto_Label, typ descriptorpb.FieldDescriptorProto_Type, typeName string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &num, Label: &label, Type: &typ}
		if typeName != "" {
			f.TypeName = &typeName
		}
		return f
	}
	const (
		optional = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		required = descriptorpb.FieldDescriptorProto_LABEL_REQUIRED
		repeated = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		text     = descriptorpb.FieldDescriptorProto_TYPE_STRING
		binary   = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		integer  = descriptorpb.FieldDescriptorProto_TYPE_UINT64
		message  = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name:   proto.String("aggregation.proto"),
		Syntax: proto.String("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("AggregatedRecord"), Field: []*descriptorpb.FieldDescriptorProto{
				field("partition_key_table", 1, repeated, text, ""),
				field("explicit_hash_key_table", 2, repeated, text, ""),
				field("records", 3, repeated, message, ".Record"),
			}},
			{Name: proto.String("Record"), Field: []*descriptorpb.FieldDescriptorProto{
				field("partition_key_index", 1, required, integer, ""),
				field("explicit_hash_key_index", 2, optional, integer, ""),
				field("data", 3, required, binary, ""),
				field("tags", 4, repeated, message, ".Tag"),
			}},
			{Name: proto.String("Tag"), Field: []*descriptorpb.FieldDescriptorProto{
				field("key", 1, required, text, ""),
				field("value", 2, optional, text, ""),
			}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("AggregatedRecord")
}

// oracle reads body as the protocol buffer library does. broken means that a
// record names a key outside the tables.
func oracle(md protoreflect.MessageDescriptor, body []byte) (records []record, ok, broken bool) {
	m := dynamicpb.NewMessage(md)
	if proto.Unmarshal(body, m) != nil {
		return nil, false, false
	}
	fields := md.Fields()
	pks := m.Get(fields.ByNumber(1)).List()
	ehks := m.Get(fields.ByNumber(2)).List()
	list := m.Get(fields.ByNumber(3)).List()
	for i := range list.Len() {
		r := list.Get(i).Message()
		f := r.Descriptor().Fields()
		pk := r.Get(f.ByNumber(1)).Uint()
		if pk >= uint64(pks.Len()) {
			return records, true, true
		}
		u := record{PartitionKey: pks.Get(int(pk)).String(), Data: r.Get(f.ByNumber(3)).Bytes()}
		if r.Has(f.ByNumber(2)) {
			ehk := r.Get(f.ByNumber(2)).Uint()
			if ehk >= uint64(ehks.Len()) {
				return records, true, true
			}
			u.ExplicitHashKey = ehks.Get(int(ehk)).String()
		}
		records = append(records, u)
	}
	return records, true, false
}

// FuzzWalk reads arbitrary bodies, each in a fitting frame, as the protocol
// buffer library reads them.
func FuzzWalk(f *testing.F) {
	for _, g := range golden {
		blob, err := hex.DecodeString(g.blob)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(blob[4 : len(blob)-16])
	}
	f.Add([]byte("\xa2\x06\x02hi\xa3\x06\x08\x07\xa4\x06\x1a\x04\x08\x00\x1a\x00\x0a\x01a"))
	f.Add([]byte("\x1a\x0b\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	md := schema(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 {
			return // no aggregated record by definition
		}
		want, wantOK, broken := oracle(md, body)
		got, ok, err := walk(frame(string(body)))
		if ok != wantOK || (err != nil) != broken {
			t.Fatalf("Walk = %v, %v; the oracle says %v, broken %v", ok, err, wantOK, broken)
		}
		diff(t, got, want)
	})
}

// FuzzBuilder checks that the protocol buffer library reads what a Builder
// writes, and would write the very same bytes.
func FuzzBuilder(f *testing.F) {
	f.Add(uint64(1), uint16(3), uint16(2))
	f.Add(uint64(2), uint16(500), uint16(300))
	md := schema(f)
	f.Fuzz(func(t *testing.T, seed uint64, n, keys uint16) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b aggregation.Builder
		var want []record
		for range n % 1000 {
			u := randomRecord(r, int(keys)+1)
			want = append(want, u)
			b.Add(u)
		}
		blob := b.Seal(nil)
		body := blob[4 : len(blob)-16]
		got, ok, broken := oracle(md, body)
		if !ok || broken {
			t.Fatalf("the oracle cannot read %x", body)
		}
		diff(t, got, want)
		m := dynamicpb.NewMessage(md)
		if err := proto.Unmarshal(body, m); err != nil {
			t.Fatal(err)
		}
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, body) {
			t.Fatalf("the oracle writes\n%x, the Builder\n%x", again, body)
		}
	})
}

func BenchmarkBuilder(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	records := make([]record, 1000)
	for i := range records {
		records[i] = record{PartitionKey: randomRecord(r, 100).PartitionKey, Data: make([]byte, 100)}
	}
	b.ReportAllocs()
	b.SetBytes(100)
	var bl aggregation.Builder
	i := 0
	for b.Loop() {
		if !bl.TryAdd(&records[i%1000], 51200) {
			bl.Reset()
		}
		i++
	}
}

func BenchmarkWalk(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var bl aggregation.Builder
	for bl.Size() < 51000 {
		bl.Add(record{PartitionKey: randomRecord(r, 100).PartitionKey, Data: make([]byte, 100)})
	}
	blob := bl.Seal(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(blob)))
	n := 0
	for b.Loop() {
		_, err := aggregation.Walk(blob, func(_ int, u record) bool {
			n += len(u.Data)
			return true
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/100/b.Elapsed().Seconds(), "records/s")
}
