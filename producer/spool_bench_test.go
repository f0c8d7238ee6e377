package producer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

// BenchmarkSpool puts records of 200 bytes through the disk, to a stream that
// takes all; raw rows are what the disk does with the same bytes.
func BenchmarkSpool(b *testing.B) {
	data := bytes.Repeat([]byte("x"), 200)
	ks := keys(1000)
	for _, fsync := range []bool{false, true} {
		for _, callers := range []int{1, 16, 64} {
			for _, batch := range []int{1, 100} {
				b.Run(fmt.Sprintf("fsync=%v/callers=%d/batch=%d", fsync, callers, batch), func(b *testing.B) {
					p := spoolStub(b, producer.SpoolConfig{Dir: b.TempDir(), Mode: producer.SpoolAlways, Fsync: fsync})
					b.SetBytes(int64(len(data) * batch))
					b.ReportAllocs()
					b.ResetTimer()
					var wg sync.WaitGroup
					for c := range callers {
						wg.Go(func() {
							rs := make([]producer.UserRecord, batch)
							for i := c; i < b.N; i += callers {
								for j := range rs {
									rs[j] = producer.UserRecord{PartitionKey: ks[(i+j)%len(ks)], Data: data}
								}
								var err error
								if batch == 1 {
									err = p.Put(context.Background(), rs[0], nil)
								} else {
									err = p.PutBatch(context.Background(), rs, nil)
								}
								if err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
					wg.Wait()
					if err := p.Flush(context.Background()); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "records/s")
				})
			}
		}
	}
	for _, size := range []int{256, 25_600, 1 << 20} {
		for _, fsync := range []bool{false, true} {
			b.Run(fmt.Sprintf("raw/fsync=%v/write=%d", fsync, size), func(b *testing.B) {
				f, err := vfs.OS.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_CREATE|os.O_RDWR, 0o600)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				buf := bytes.Repeat([]byte("x"), size)
				b.SetBytes(int64(size))
				off := int64(0)
				for b.Loop() {
					if _, err := f.WriteAt(buf, off%(64<<20)); err != nil {
						b.Fatal(err)
					}
					off += int64(size)
					if fsync {
						if err := f.Sync(); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

func spoolStub(tb testing.TB, cfg producer.SpoolConfig) *producer.Producer {
	tb.Helper()
	p, err := producer.New(newStub(4), "stream", producer.Config{Logger: quiet(), Spool: cfg})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return p
}
