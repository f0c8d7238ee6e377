package demo

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/follow"
	"github.com/streamkit/streamkit/consumer/deaggregate"
)

// Audit reads the stream as it is stored, beside the consumers, to measure
// what aggregation does and to tell where lines are that do not arrive. What
// can be read is stored, and what is acknowledged is stored.
type Audit struct {
	records     atomic.Uint64 // Kinesis records
	bytes       atomic.Uint64 // of their data and partition keys
	userRecords atomic.Uint64
	userBytes   atomic.Uint64 // of the data and partition keys of user records
}

// run follows the stream until ctx ends.
func (a *Audit) run(ctx context.Context, api follow.API, stream string, giveUp time.Duration) error {
	cfg := follow.Config{Raw: true, Poll: 200 * time.Millisecond, GiveUp: giveUp}
	var apart []deaggregate.Record
	return follow.Stream(ctx, api, stream, cfg, func(rs []follow.Record) error {
		var users, userBytes, bytes uint64
		for i := range rs {
			r := &rs[i]
			bytes += uint64(len(r.Data) + len(r.PartitionKey))
			apart = deaggregate.Append(apart[:0], r.PartitionKey, r.Data)
			users += uint64(len(apart))
			for _, u := range apart {
				userBytes += uint64(len(u.Data) + len(u.PartitionKey))
			}
		}
		a.records.Add(uint64(len(rs)))
		a.bytes.Add(bytes)
		a.userRecords.Add(users)
		a.userBytes.Add(userBytes)
		return nil
	})
}
