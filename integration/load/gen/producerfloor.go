package gen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/b64"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// ProducerFloor is the least that a producer of aggregated records has to do,
// by hand: a record is copied behind its header, a full blob gets its MD5, is
// encoded, hashed for a signature that is not made, and sent, one blob for each
// shard at a time over a connection of its own. No key is hashed or looked up,
// no result is told to anybody, and nothing could be sent again.
type ProducerFloor struct {
	CBOR bool
	Size int // bytes of a record's data
	Keys int
}

// Run implements [Load].
func (l ProducerFloor) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
		return Result{}, err
	}
	var calls []call
	for _, keys := range hashkey.Uniform(env.Shards) {
		c, err := dial(ctx, srv.Endpoint)
		if err != nil {
			return Result{}, err
		}
		defer c.close()
		calls = append(calls, l.call(c, keys.Start.String()))
	}
	r, err := drive(ctx, env, srv, calls)
	r.Bytes = r.Count * int64(l.Size+KeySize)
	return r, err
}

const floorBlob = 51200

func (l ProducerFloor) call(c *conn, hashKey string) call {
	keys, data := Producer{Size: l.Size, Keys: l.Keys}.records()
	var b aggregation.Builder
	var blob, body, request []byte
	turn := 0
	return func(context.Context) (int, error) {
		b.Reset()
		for {
			turn++
			if !b.TryAdd(&aggregation.Record{PartitionKey: keys[turn%len(keys)], Data: data[turn%len(data)]}, floorBlob) {
				break
			}
		}
		blob = b.Seal(blob[:0])
		contentType := typeJSON
		if l.CBOR {
			contentType = typeCBOR
			body = appendCBORRecord(append(body[:0], cborBegin...), blob, hashKey)
			body = append(body, cborEnd...)
		} else {
			body = append(body[:0], `{"Records":[{"Data":"`...)
			body = b64.AppendEncode(body, blob)
			body = append(append(body, `","ExplicitHashKey":"`...), hashKey...)
			body = append(body, `","PartitionKey":"a"}],"StreamName":"load"}`...)
		}
		if sha256.Sum256(body) == ([sha256.Size]byte{}) {
			return 0, errors.New("no hash")
		}
		request = c.appendRequest(request[:0], contentType, kinesisTarget+"PutRecords", body)
		answer, err := c.do(request)
		if err != nil {
			return 0, err
		}
		if !bytes.Contains(answer, noneFailedJSON) && !bytes.Contains(answer, noneFailedCBOR) {
			return 0, fmt.Errorf("some records failed: %.300q", answer)
		}
		return b.Len(), nil
	}
}
