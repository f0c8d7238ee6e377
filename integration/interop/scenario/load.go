package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

// A load puts records of several keys. Of each key a record is put once the one
// before it is stored, so that its order is that of its numbers.
type load struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
	put  []atomic.Int64 // how many of each key are stored

	mu     sync.Mutex // guards failed
	failed error
}

// fail notes why the load is not what it should be.
func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// err is what fail has noted.
func (l *load) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// payload is what record n of a key holds.
func payload(key int, n int64) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(key)) //nolint:gosec // a few hundred keys
	b = binary.BigEndian.AppendUint64(b, uint64(n))      //nolint:gosec // counted from 0
	for i := range int(n % 90) {
		b = append(b, byte(key+i*7))
	}
	return b
}

// numbers returns what payload was called with, if b begins like it.
func numbers(b []byte) (key int, n int64, err error) {
	if len(b) < 12 {
		return 0, 0, fmt.Errorf("a record of %d bytes was not put by this run", len(b))
	}
	return int(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:])), nil //nolint:gosec // see payload
}

func keyName(i int) string { return fmt.Sprintf("key-%d", i) }

// startLoad puts records of so many keys, each about every pause.
func (p *play) startLoad(ctx context.Context, stream string, keys int, pause time.Duration) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{stop: cancel, put: make([]atomic.Int64, keys)}
	client := p.kinesis()
	for k := range keys {
		l.wg.Go(func() {
			for {
				n := l.put[k].Load()
				// It is put whole or not at all, also when the load ends: whether a
				// record that was cut off is stored, nobody could say.
				_, err := client.PutRecord(context.WithoutCancel(ctx), &kinesis.PutRecordInput{
					StreamName: &stream, PartitionKey: aws.String(keyName(k)), Data: payload(k, n),
				})
				switch {
				case err == nil:
					l.put[k].Add(1)
				case ctx.Err() != nil:
					return
				}
				// The server is killed meanwhile: what was not acknowledged is put
				// again, and may then be there twice.
				if sleep(ctx, pause) != nil {
					return
				}
			}
		})
	}
	return l
}

// startProducer is like startLoad with the producer of this module, which packs
// records together and puts those of a key in their order, however many of them
// are under way.
func (p *play) startProducer(ctx context.Context, stream string, keys int, pause time.Duration) (*load, error) {
	pr, err := producer.New(p.kinesis(), stream, producer.Config{RecordTTL: 2 * time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	loading, cancel := context.WithCancel(ctx)
	l := &load{stop: cancel, put: make([]atomic.Int64, keys)}
	var under sync.WaitGroup
	for k := range keys {
		under.Go(func() {
			for n := int64(0); sleep(loading, pause) == nil; n++ {
				err := pr.Put(ctx, producer.UserRecord{PartitionKey: keyName(k), Data: payload(k, n)}, func(r producer.Result) {
					if l.put[k].Add(1); r.Err != nil {
						l.fail(fmt.Errorf("record %d of %s was not stored: %w", n, keyName(k), r.Err))
					}
				})
				if err != nil {
					l.fail(err)
					return
				}
			}
		})
	}
	l.wg.Go(func() {
		under.Wait()
		if err := pr.Close(ctx); err != nil {
			l.fail(err)
		}
	})
	return l, nil
}

// end stops the load, and returns how many records are stored.
func (l *load) end() int64 {
	l.stop()
	l.wg.Wait()
	return l.total()
}

func (l *load) total() int64 {
	var sum int64
	for i := range l.put {
		sum += l.put[i].Load()
	}
	return sum
}
