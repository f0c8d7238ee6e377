package deaggregate_test

import (
	"fmt"
	"testing"

	"github.com/streamkit/streamkit/consumer/deaggregate"
	"github.com/streamkit/streamkit/internal/aggregation"
)

// full returns an aggregated record of about 50 KB, as the producer fills them,
// and how many user records it has.
func full(size, keys int) (blob []byte, n int) {
	var b aggregation.Builder
	data := make([]byte, size)
	for r := (aggregation.Record{Data: data}); ; n++ {
		r.PartitionKey = fmt.Sprintf("key-%08d", n%keys)
		if b.SizeWith(r) > 51200 {
			return b.Seal(nil), n
		}
		b.Add(r)
	}
}

// BenchmarkAppend takes aggregated records apart. One operation is one user
// record.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			blob, n := full(size, 100)
			dst := make([]deaggregate.Record, 0, n)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= n {
				dst = deaggregate.Append(dst[:0], "a", blob)
			}
			if len(dst) != n {
				b.Fatalf("%d user records, want %d", len(dst), n)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkAppendAll takes many aggregated records apart together. One operation is
// one user record.
func BenchmarkAppendAll(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			const blobs = 20 // about a mebibyte
			in := make([]deaggregate.KinesisRecord, blobs)
			var n int
			for i := range in {
				in[i].PartitionKey = "a"
				in[i].Data, n = full(size, 100)
			}
			dst, ends := make([]deaggregate.Record, 0, n*blobs), make([]int, 0, blobs)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= n * blobs {
				dst, ends = deaggregate.AppendAll(dst[:0], ends[:0], in)
			}
			if len(dst) != n*blobs || ends[blobs-1] != len(dst) {
				b.Fatalf("%d user records, want %d", len(dst), n*blobs)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkChecksum is the least that BenchmarkAppend can take: the MD5 alone,
// without which nobody knows that a record is an aggregated one.
func BenchmarkChecksum(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			blob, n := full(size, 100)
			b.SetBytes(int64(size))
			b.ResetTimer()
			for left := b.N; left > 0; left -= n {
				if !deaggregate.IsAggregated(blob) {
					b.Fatal("not an aggregated record")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
