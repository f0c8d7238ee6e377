package demo

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// Delivery is a line that a worker was given.
type Delivery struct {
	File uint32
	Sub  uint32 // sub-sequence number
	Line uint64
	Hash uint64
}

const (
	frameHeader  = 8
	deliverySize = 24
	maxFrame     = 256 << 20 // no batch comes near it; a greater length is damage
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// Frame gathers the receipts of one batch. It is reused through Reset.
type Frame struct {
	buf   []byte
	seq   string
	count int // place of the open group's count in buf
}

// Reset begins a frame for a batch of a shard.
func (f *Frame) Reset(shardID string) {
	f.buf = append(f.buf[:0], make([]byte, frameHeader+8)...)
	f.buf = append(f.buf, byte(len(shardID)))
	f.buf = append(f.buf, shardID...)
	f.seq, f.count = "", 0
}

// Add appends a delivery from the Kinesis record with the given number.
func (f *Frame) Add(sequenceNumber string, d Delivery) {
	if f.count == 0 || sequenceNumber != f.seq {
		f.buf = append(f.buf, byte(len(sequenceNumber)))
		f.buf = append(f.buf, sequenceNumber...)
		f.seq, f.count = sequenceNumber, len(f.buf)
		f.buf = append(f.buf, 0, 0, 0, 0)
	}
	n := binary.LittleEndian.Uint32(f.buf[f.count:])
	binary.LittleEndian.PutUint32(f.buf[f.count:], n+1)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, d.File)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, d.Sub)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, d.Line)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, d.Hash)
}

// Log is a file of receipts, for one worker. It is safe for concurrent use.
type Log struct {
	mu   sync.Mutex // guards the order of frames in file
	file *os.File
}

// CreateLog makes a new file of receipts.
func CreateLog(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &Log{file: f}, nil
}

// Append writes a frame with one system call. When it returns nil the receipts
// survive the end of the process.
func (l *Log) Append(f *Frame) error {
	payload := f.buf[frameHeader:]
	// The time is taken under the lock, so that it increases along the file.
	l.mu.Lock()
	defer l.mu.Unlock()
	binary.LittleEndian.PutUint64(payload, uint64(sharedClock()))
	binary.LittleEndian.PutUint32(f.buf, uint32(len(payload)))
	binary.LittleEndian.PutUint32(f.buf[4:], crc32.Checksum(payload, crcTable))
	_, err := l.file.Write(f.buf)
	return err
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

// Batch is a frame read back.
type Batch struct {
	Time    int64
	ShardID string
	groups  []byte
	size    int // bytes of the whole frame
}

// Deliveries calls yield with each delivery and the sequence number of its
// Kinesis record, which aliases the batch.
func (b *Batch) Deliveries(yield func(sequenceNumber []byte, d Delivery)) error {
	g := b.groups
	for len(g) > 0 {
		n := int(g[0])
		if len(g) < 1+n+4 {
			return errFrame
		}
		seq := g[1 : 1+n]
		count := int(binary.LittleEndian.Uint32(g[1+n:]))
		g = g[1+n+4:]
		if len(g)/deliverySize < count {
			return errFrame
		}
		for range count {
			yield(seq, Delivery{
				File: binary.LittleEndian.Uint32(g), Sub: binary.LittleEndian.Uint32(g[4:]),
				Line: binary.LittleEndian.Uint64(g[8:]), Hash: binary.LittleEndian.Uint64(g[16:]),
			})
			g = g[deliverySize:]
		}
	}
	return nil
}

var errFrame = errors.New("damaged frame of receipts")

// ErrTorn means that the last frame of a file is not whole: its batch was
// never acknowledged, or it is still being written.
var ErrTorn = errors.New("torn frame of receipts")

// ReceiptReader reads a file of receipts from its start.
type ReceiptReader struct {
	r       *bufio.Reader
	payload []byte
}

// NewReceiptReader reads frames from r.
func NewReceiptReader(r io.Reader) *ReceiptReader {
	return &ReceiptReader{r: bufio.NewReaderSize(r, 256<<10)}
}

// Next returns the next frame, which is valid until the next call. The error
// is io.EOF at the end, [ErrTorn] at a frame that breaks off, and another one
// if the file is damaged.
func (r *ReceiptReader) Next() (Batch, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrTorn
		}
		return Batch{}, err
	}
	n := int(binary.LittleEndian.Uint32(head[:]))
	if n < 9 || n > maxFrame {
		return Batch{}, fmt.Errorf("%w: %d bytes long", errFrame, n)
	}
	// In steps, so that a damaged length cannot ask for more memory than the
	// file has bytes.
	r.payload = r.payload[:0]
	for len(r.payload) < n {
		step := min(n-len(r.payload), 1<<20)
		at := len(r.payload)
		r.payload = append(r.payload, make([]byte, step)...)
		if _, err := io.ReadFull(r.r, r.payload[at:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = ErrTorn
			}
			return Batch{}, err
		}
	}
	p := r.payload
	if crc32.Checksum(p, crcTable) != binary.LittleEndian.Uint32(head[4:]) {
		return Batch{}, fmt.Errorf("%w: wrong checksum", errFrame)
	}
	idLen := int(p[8])
	if len(p) < 9+idLen {
		return Batch{}, errFrame
	}
	return Batch{
		Time: int64(binary.LittleEndian.Uint64(p)), ShardID: string(p[9 : 9+idLen]),
		groups: p[9+idLen:], size: frameHeader + n,
	}, nil
}
