package producer

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// Attempt is one request that carried a user record.
type Attempt struct {
	Start        time.Time     // when it was sent
	Duration     time.Duration // until its answer, or its failure
	ShardID      string        // that stored the Kinesis record; empty if none did
	ErrorCode    string        // empty if it was stored; Timeout or Transport if no answer came
	ErrorMessage string        // of the request or the Kinesis record
}

// past is the attempts of a record in batches that it was in before, the last
// batch first.
type past struct {
	before   *past
	attempts []Attempt
}

// after returns h with the attempts of one more batch.
func (h *past) after(b *batch) *past {
	if len(b.history) == 0 {
		return h
	}
	return &past{before: h, attempts: b.history}
}

// list returns all attempts, the first first.
func (h *past) list() []Attempt {
	if h == nil {
		return nil
	}
	return append(h.before.list(), h.attempts...)
}

// past returns the attempts of the i-th record before it came into b.
func (b *batch) past(i int) *past { return b.rare(i).past }

// setPast notes the attempts of the last record before it came into b.
func (b *batch) setPast(h *past) {
	if h != nil {
		b.lastRare().past = h
	}
}

// attempt returns the i-th entry of a request as an attempt.
func (p *Producer) attempt(begin, end int64, i int, out *kinesis.PutRecordsOutput, err error) Attempt {
	a := Attempt{Start: p.start.Add(time.Duration(begin)), Duration: time.Duration(end - begin)}
	if err != nil {
		a.ErrorCode, a.ErrorMessage = errorCode(err), err.Error()
		return a
	}
	e := &out.Records[i]
	a.ShardID, a.ErrorCode, a.ErrorMessage = aws.ToString(e.ShardId), aws.ToString(e.ErrorCode), aws.ToString(e.ErrorMessage)
	return a
}
