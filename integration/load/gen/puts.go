package gen

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// A Client is how requests are made.
type Client int

// The clients.
const (
	SDK     Client = iota // the AWS SDK for Go, with its signing and its decoding
	Raw                   // prepared JSON over plain connections
	RawCBOR               // prepared CBOR over plain connections
)

// KeySize is the length of partition keys.
const KeySize = 16

// bodies is how many different requests a load of puts has. They are sent in
// turn, and no two records in them have the same key.
const bodies = 32

// Puts puts records of random data.
type Puts struct {
	Client  Client
	Callers int
	Batch   int // records of a PutRecords; 1 means PutRecord
	Size    int // bytes of a record's data
	Before  int // records of 200 bytes to store before
}

// Run implements [Load].
func (p Puts) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
		return Result{}, err
	}
	if p.Before > 0 {
		if err := fill(ctx, srv.Endpoint, p.Before); err != nil {
			return Result{}, err
		}
	}
	calls, done, err := p.calls(ctx, srv.Endpoint)
	defer done()
	if err != nil {
		return Result{}, err
	}
	r, err := drive(ctx, env, srv, calls)
	r.Bytes = r.Count * int64(p.Size+KeySize)
	return r, err
}

// calls returns a call for each caller. done closes their connections.
func (p Puts) calls(ctx context.Context, endpoint string) (calls []call, done func(), err error) {
	sets := records(p.Batch, p.Size)
	if p.Client == SDK {
		c := kinesisClient(endpoint)
		for i := range p.Callers {
			calls = append(calls, p.sdkCall(c, sets, i))
		}
		return calls, func() {}, nil
	}
	var conns []*conn
	done = func() {
		for _, c := range conns {
			c.close()
		}
	}
	requests := make([][]byte, len(sets))
	for i := range p.Callers {
		c, err := dial(ctx, endpoint)
		if err != nil {
			return nil, done, err
		}
		conns = append(conns, c)
		if i == 0 {
			for j, set := range sets {
				requests[j] = p.request(c, set)
			}
		}
		calls = append(calls, p.rawCall(c, requests, i))
	}
	return calls, done, nil
}

func (p Puts) sdkCall(c *kinesis.Client, sets [][]types.PutRecordsRequestEntry, turn int) call {
	return func(ctx context.Context) (int, error) {
		set := sets[turn%len(sets)]
		turn++
		if p.Batch == 1 {
			_, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String(streamName), PartitionKey: set[0].PartitionKey, Data: set[0].Data})
			return 1, err
		}
		out, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String(streamName), Records: set})
		if err != nil {
			return 0, err
		}
		if failed := aws.ToInt32(out.FailedRecordCount); failed != 0 || len(out.Records) != p.Batch {
			return 0, fmt.Errorf("put %d records, %d answered, %d failed", p.Batch, len(out.Records), failed)
		}
		return p.Batch, nil
	}
}

func (p Puts) request(c *conn, set []types.PutRecordsRequestEntry) []byte {
	op := "PutRecords"
	if p.Batch == 1 {
		op = "PutRecord"
	}
	if p.Client == RawCBOR {
		return c.request(typeCBOR, kinesisTarget+op, cborPut(set))
	}
	return c.request(typeJSON, kinesisTarget+op, jsonPut(set))
}

// What the answer to a PutRecords has if nothing failed.
var (
	noneFailedJSON = []byte(`"FailedRecordCount":0`)
	noneFailedCBOR = []byte("\x71FailedRecordCount\x00")
)

func (p Puts) rawCall(c *conn, requests [][]byte, turn int) call {
	first := true
	return func(context.Context) (int, error) {
		answer, err := c.do(requests[turn%len(requests)])
		turn++
		if err != nil {
			return 0, err
		}
		if p.Batch > 1 && !bytes.Contains(answer, noneFailedJSON) && !bytes.Contains(answer, noneFailedCBOR) {
			return 0, fmt.Errorf("some records failed: %.300q", answer)
		}
		if first { // the rest of the answer is read once: it costs the CPU that is measured
			first = false
			if n := bytes.Count(answer, []byte("SequenceNumber")); n != p.Batch {
				return 0, fmt.Errorf("put %d records, %d answered", p.Batch, n)
			}
		}
		return p.Batch, nil
	}
}

// records makes the sets of records of a load of puts, the same in every run.
func records(batch, size int) [][]types.PutRecordsRequestEntry {
	var seed [32]byte
	random := rand.NewChaCha8(seed)
	sets := make([][]types.PutRecordsRequestEntry, bodies)
	for i := range sets {
		for j := range batch {
			data := make([]byte, size)
			_, _ = random.Read(data) // never fails
			sets[i] = append(sets[i], types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprintf("key-%0*d", KeySize-len("key-"), i*batch+j)), Data: data})
		}
	}
	return sets
}

// jsonPut writes members in the order of the SDK for Go.
func jsonPut(set []types.PutRecordsRequestEntry) []byte {
	entry := func(b []byte, r types.PutRecordsRequestEntry) []byte {
		b = append(b, `{"Data":"`...)
		b = base64.StdEncoding.AppendEncode(b, r.Data)
		b = append(b, `","PartitionKey":"`...)
		b = append(b, *r.PartitionKey...)
		return append(b, '"')
	}
	if len(set) == 1 {
		return append(entry(nil, set[0]), `,"StreamName":"`+streamName+`"}`...)
	}
	b := []byte(`{"Records":[`)
	for i, r := range set {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(entry(b, r), '}')
	}
	return append(b, `],"StreamName":"`+streamName+`"}`...)
}

// cborPut writes maps and lists of indefinite length, as the SDKs for Java do.
func cborPut(set []types.PutRecordsRequestEntry) []byte {
	text := func(b []byte, s string) []byte { // of fewer than 24 bytes
		return append(append(b, 0x60|byte(len(s))), s...)
	}
	entry := func(b []byte, r types.PutRecordsRequestEntry) []byte {
		b = text(append(b, 0xbf), "Data")
		b = binary.BigEndian.AppendUint16(append(b, 0x59), uint16(len(r.Data)))
		b = append(b, r.Data...)
		return text(text(b, "PartitionKey"), *r.PartitionKey)
	}
	var b []byte
	if len(set) == 1 {
		b = entry(nil, set[0])
	} else {
		b = append(text([]byte{0xbf}, "Records"), 0x9f)
		for _, r := range set {
			b = append(entry(b, r), 0xff)
		}
		b = append(b, 0xff)
	}
	return append(text(text(b, "StreamName"), streamName), 0xff)
}

// filled is the size of the data of the records of fill.
const filled = 200

// fill stores at least n records of 200 bytes, quickly.
func fill(ctx context.Context, endpoint string, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls, done, err := Puts{Client: Raw, Callers: 4, Batch: maxBatch, Size: filled}.calls(ctx, endpoint)
	defer done()
	if err != nil {
		return err
	}
	var callers sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for _, do := range calls {
		callers.Go(func() {
			for left.Add(-maxBatch) > -maxBatch {
				if _, err := do(ctx); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	callers.Wait()
	return context.Cause(ctx)
}

// maxBatch is the largest number of records of a PutRecords.
const maxBatch = 500
