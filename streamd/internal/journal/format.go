package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The layout on disk; doc.go draws it. All of it is part of the format.
const (
	frameMagic   = "SDJ\x02" // the last byte is the version
	headerSize   = 96
	block        = 4096
	ringSuffix   = ".ring"
	maxFrameBody = 64 << 20
)

// VersionError says that something has a format that this program does not read.
type VersionError struct {
	What       string
	Has, Reads int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format version %d, this program reads version %d; run the version that wrote it", e.What, e.Has, e.Reads)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of b, the checksum of everything that streamd
// stores.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// blockUp returns the position of the first block at or behind p.
func blockUp(p LSN) LSN { return (p + block - 1) &^ (block - 1) }

// header is the fixed part of a frame on disk.
type header struct {
	sum     uint32 // of the rest of the header, and so of all
	start   LSN    // at which the frame begins: its own place, against stale bytes
	durable LSN    // on disk when it was written
	id      FrameID
	prev    uint32
	chain   uint32 // sum of the frame before
	body    uint32
	crc     uint32 // of the body
}

// newHeader describes f, and leaves out its place.
func newHeader(f *Frame) header {
	return header{id: f.ID, prev: f.Prev, body: uint32(len(f.Body)), crc: f.Sum}
}

// append writes the header and notes its checksum.
func (h *header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, frameMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.start))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.durable))
	dst = append(dst, h.id.Gateway[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, h.id.Session)
	dst = binary.LittleEndian.AppendUint64(dst, h.id.N)
	dst = binary.LittleEndian.AppendUint32(dst, h.prev)
	dst = binary.LittleEndian.AppendUint32(dst, h.chain)
	dst = binary.LittleEndian.AppendUint32(dst, h.body)
	dst = binary.LittleEndian.AppendUint32(dst, h.crc)
	dst = append(dst, make([]byte, headerSize-(len(dst)-at))...)
	h.sum = Checksum(dst[at+4:])
	binary.LittleEndian.PutUint32(dst[at:], h.sum)
	return dst
}

// parseHeader reads the header that b begins with. ok is false if there is
// none.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[4:8]) != frameMagic {
		return header{}, false
	}
	h = header{
		sum:     binary.LittleEndian.Uint32(b),
		start:   LSN(binary.LittleEndian.Uint64(b[8:])),
		durable: LSN(binary.LittleEndian.Uint64(b[16:])),
		prev:    binary.LittleEndian.Uint32(b[56:]),
		chain:   binary.LittleEndian.Uint32(b[60:]),
		body:    binary.LittleEndian.Uint32(b[64:]),
		crc:     binary.LittleEndian.Uint32(b[68:]),
	}
	copy(h.id.Gateway[:], b[24:40])
	h.id.Session = binary.LittleEndian.Uint64(b[40:])
	h.id.N = binary.LittleEndian.Uint64(b[48:])
	return h, h.sum == Checksum(b[4:headerSize]) && h.body <= maxFrameBody && h.start%block == 0 && h.start < 1<<62
}

// end is the position of the frame.
func (h header) end() LSN { return h.start + headerSize + LSN(h.body) }

// frame returns the frame with this header and body, nil if they do not belong
// together.
func (h header) frame(body []byte) *Frame {
	if Checksum(body) != h.crc {
		return nil
	}
	return &Frame{ID: h.id, Prev: h.prev, Sum: h.crc, Body: body}
}
