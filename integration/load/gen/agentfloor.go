package gen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/md5lanes"
)

// ReadByHand is the least that an agent has to do to bring the lines of a file to a
// stream: a piece of it is read, cut into lines, and these are copied into aggregated
// records; several of them get their MD5 at once, are encoded, hashed for a signature
// that is not made, and sent over plain connections, one for each shard. Nothing is
// watched, retried or remembered. It returns the number of lines.
func ReadByHand(ctx context.Context, endpoint, path string, shards int) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := &pieces{f: f}
	lines := make([]int64, shards)
	errs := make([]error, shards)
	var callers sync.WaitGroup
	for i, keys := range hashkey.Uniform(shards) {
		callers.Go(func() { lines[i], errs[i] = r.send(ctx, endpoint, keys.Start.String()) })
	}
	callers.Wait()
	sum := int64(0)
	for _, n := range lines {
		sum += n
	}
	return sum, errors.Join(errs...)
}

// pieces hands out a file piece by piece.
type pieces struct {
	mu  sync.Mutex // guards what follows
	f   io.ReaderAt
	off int64
}

// next reads whole lines into buf, none at the end of the file.
func (p *pieces) next(buf []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.f.ReadAt(buf, p.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	n = bytes.LastIndexByte(buf[:n], '\n') + 1
	p.off += int64(n)
	return buf[:n], nil
}

// send sends pieces until there is none, each in a request.
func (p *pieces) send(ctx context.Context, endpoint, hashKey string) (lines int64, err error) {
	c, err := dial(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	defer c.close()
	var (
		builders [md5lanes.Lanes]*aggregation.Builder
		blobs    = make([][]byte, len(builders))
		request  []byte
	)
	for i := range builders {
		builders[i] = new(aggregation.Builder)
	}
	// An eighth of the aggregated records is for what lines of 100 bytes and more get.
	buf := make([]byte, len(builders)*floorBlob*7/8)
	for {
		data, err := p.next(buf)
		if err != nil || len(data) == 0 {
			return lines, err
		}
		full := 0
		for i, b := range builders {
			b.Reset()
			blobs[i] = blobs[i][:0]
		}
		for len(data) > 0 {
			n := bytes.IndexByte(data, '\n') + 1
			for !builders[full].TryAdd(&aggregation.Record{PartitionKey: "a", Data: data[:n]}, floorBlob) {
				if full++; full == len(builders) {
					return lines, errors.New("the lines are too short for the size of aggregated records")
				}
			}
			data = data[n:]
			lines++
		}
		aggregation.SealAll(builders[:full+1], blobs[:full+1])
		size := len(cborBegin) + len(cborEnd)
		for _, blob := range blobs[:full+1] {
			size += cborRecordSize(blob, hashKey)
		}
		request = c.appendHead(request[:0], typeCBOR, kinesisTarget+"PutRecords", size)
		head := len(request)
		request = append(request, cborBegin...)
		for _, blob := range blobs[:full+1] {
			request = appendCBORRecord(request, blob, hashKey)
		}
		request = append(request, cborEnd...)
		if sha256.Sum256(request[head:]) == ([sha256.Size]byte{}) || len(request)-head != size {
			return lines, errors.New("no hash, or another size")
		}
		answer, err := c.do(request)
		if err != nil {
			return lines, err
		}
		if !bytes.Contains(answer, noneFailedCBOR) {
			return lines, fmt.Errorf("some records failed: %.300q", answer)
		}
	}
}

// A PutRecords request in CBOR, around the records.
const (
	cborBegin = "\xbf\x67Records\x9f"
	cborEnd   = "\xff\x6aStreamName\x64" + streamName + "\xff"
)

// appendCBORRecord appends a record of less than 64 KiB.
func appendCBORRecord(b, data []byte, hashKey string) []byte {
	b = binary.BigEndian.AppendUint16(append(b, "\xbf\x64Data\x59"...), uint16(len(data)))
	b = append(append(b, data...), "\x6fExplicitHashKey"...)
	if len(hashKey) < 24 {
		b = append(b, 0x60|byte(len(hashKey)))
	} else {
		b = append(b, 0x78, byte(len(hashKey)))
	}
	return append(append(b, hashKey...), "\x6cPartitionKey\x61a\xff"...)
}

func cborRecordSize(data []byte, hashKey string) int {
	return len(appendCBORRecord(nil, nil, hashKey)) + len(data)
}
