package consumer_test

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/seqno"
)

// consume reads the shard of a lease as long as the worker has it.
func (w *simJava) consume(h *simHeld) {
	if !w.awaitParents(h) {
		if h.asked.Load() {
			w.handOver(h)
		}
		return
	}
	row, err := w.get(h.key) // it may be stale
	for err != nil || row == nil {
		if h.isLost() || !w.pause(time.Second) {
			return
		}
		row, err = w.get(h.key)
	}
	if row.ended() {
		return // nothing to do; the lease is held, and renewed, all the same
	}
	session := w.run.history.begin(w.who, h.key, 0) // beside it nothing is reset
	last := row.at                                  // delivered
	if last.IsSentinel() {
		last = consumer.Checkpoint{}
	}
	stored := last
	var iterator *string
	for !h.isLost() && !h.asked.Load() {
		if iterator == nil {
			iterator = w.iterator(h.key, last)
		}
		if iterator != nil {
			out, err := w.read(iterator)
			switch _, expired := errors.AsType[*kinesistypes.ExpiredIteratorException](err); {
			case expired:
				iterator = nil
				continue
			case err != nil:
			default:
				iterator = out.NextShardIterator
				if !w.deliver(h, session, out.Records, &last) {
					return
				}
				if out.NextShardIterator == nil && w.end(h, out.ChildShards) {
					return
				}
			}
		}
		if last != stored && w.api.roll(h.key, 2) == 0 && w.checkpoint(h, last) {
			stored = last
		}
		if !w.pause(time.Second) {
			break
		}
	}
	// shutdownRequested: the last chance.
	if last != stored && !h.isLost() {
		w.checkpoint(h, last)
	}
	if h.asked.Load() {
		w.handOver(h)
	}
	w.drop(h)
}

// awaitParents waits until all parents that have leases are at their ends.
func (w *simJava) awaitParents(h *simHeld) bool {
	for {
		ready := true
		for _, p := range h.parents {
			if row, err := w.get(p); err != nil || row != nil && !row.ended() {
				ready = false
			}
		}
		if ready {
			return true
		}
		if h.isLost() || h.asked.Load() || !w.pause(min(10*time.Second, w.f)) {
			return false
		}
	}
}

func (w *simJava) iterator(shard string, last consumer.Checkpoint) *string {
	in := &kinesis.GetShardIteratorInput{StreamName: aws.String("stream"), ShardId: &shard, ShardIteratorType: kinesistypes.ShardIteratorTypeTrimHorizon}
	if last.SequenceNumber != "" {
		in.ShardIteratorType, in.StartingSequenceNumber = kinesistypes.ShardIteratorTypeAtSequenceNumber, &last.SequenceNumber
	}
	ctx, cancel := w.timed()
	defer cancel()
	out, err := w.api.GetShardIterator(ctx, in)
	if err != nil {
		return nil
	}
	return out.ShardIterator
}

func (w *simJava) read(iterator *string) (*kinesis.GetRecordsOutput, error) {
	ctx, cancel := w.timed()
	defer cancel()
	return w.api.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator, Limit: aws.Int32(10000)})
}

// deliver hands records to the handler, which takes a while, and sees that the
// lease is lost only afterwards.
func (w *simJava) deliver(h *simHeld, session int, records []kinesistypes.Record, last *consumer.Checkpoint) bool {
	if !w.gate.passOr(w.dead) || h.isLost() {
		return false
	}
	var numbers []int
	user := func(at consumer.Checkpoint, data []byte) {
		if at.Compare(*last) > 0 {
			numbers = append(numbers, simNumberOf(data))
			h.bytes.Add(int64(len(data)))
			*last = at
		}
	}
	for i := range records {
		seq := *records[i].SequenceNumber
		if last.SequenceNumber != "" && seqno.Compare(seq, last.SequenceNumber) < 0 {
			continue
		}
		ok, err := aggregation.Walk(records[i].Data, func(i int, r aggregation.Record) bool {
			user(consumer.Checkpoint{SequenceNumber: seq, SubSequenceNumber: int64(i)}, r.Data)
			return true
		})
		if err != nil {
			panic(err)
		}
		if !ok {
			user(consumer.Checkpoint{SequenceNumber: seq}, records[i].Data)
		}
	}
	hist := w.run.history
	hist.delivered(w.who, session, h.key, numbers...)
	w.pauseAnyway(w.api.within(h.key, w.run.plan.slow))
	if !w.gate.passOr(w.dead) {
		return false
	}
	hist.ack(w.who, session, h.key, numbers...)
	return true
}

func (w *simJava) checkpoint(h *simHeld, at consumer.Checkpoint) bool {
	return w.write(h, "checkpoint", simItem{
		"checkpoint": simText(at.SequenceNumber), "checkpointSubSequenceNumber": simNumber(at.SubSequenceNumber), "ownerSwitchesSinceCheckpoint": simNumber(0),
	})
}

// end creates the children's leases and stores the end of the shard. It reports
// false if that is to be tried again.
func (w *simJava) end(h *simHeld, children []kinesistypes.ChildShard) bool {
	if len(children) == 0 {
		return false // taken for a fault
	}
	var ids []string
	for _, c := range children {
		if row, err := w.get(*c.ShardId); err != nil {
			return false
		} else if row == nil {
			there := 0
			for _, p := range c.ParentShards {
				row, err := w.get(p)
				if err != nil {
					return false
				}
				if row != nil {
					there++
				}
			}
			if there == 1 && len(c.ParentShards) == 2 { // blocked on a parent
				if w.api.roll(h.key, 30) == 0 {
					w.run.history.note(simEvent{kind: simGaveUp, who: w.who, shard: h.key})
					w.drop(h)
					return true
				}
				return false
			}
			if !w.create(w.golden.lease(*c.ShardId, "TRIM_HORIZON", *c.HashKeyRange.StartingHashKey, *c.HashKeyRange.EndingHashKey, c.ParentShards)) {
				return false
			}
		}
		ids = append(ids, *c.ShardId)
	}
	if !w.write(h, "children", simItem{"childShardIds": &types.AttributeValueMemberSS{Value: ids}}) {
		return h.isLost()
	}
	for !w.checkpoint(h, consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}) {
		if h.isLost() || !w.pause(500*time.Millisecond) {
			return true
		}
	}
	w.drop(h)
	return true
}
