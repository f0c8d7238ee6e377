package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// The layout on disk; doc.go draws it. All of it is part of the format.
const (
	segmentMagic   = "sdjrnl\x00\x01" // the last byte is the version
	segmentHeader  = 64
	headerSize     = 64
	segmentSuffix  = ".seg"
	maxFrameBody   = 64 << 20
	segmentCRCSpan = 32
	flagsAt        = 56
	flagLoose      = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of b, the checksum of everything that streamd
// stores.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// appendSegmentHeader writes the header of a segment whose first frame begins
// at position base.
func appendSegmentHeader(dst []byte, base LSN, store [16]byte) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(base))
	dst = append(dst, store[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, Checksum(dst[start:]))
	return append(dst, make([]byte, segmentHeader-(len(dst)-start))...)
}

// parseSegmentHeader returns the position and store of a segment. ok is false
// if b is no whole header of this version.
func parseSegmentHeader(b []byte) (base LSN, store [16]byte, ok bool) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[segmentCRCSpan:]) != Checksum(b[:segmentCRCSpan]) {
		return 0, store, false
	}
	copy(store[:], b[16:32])
	return LSN(binary.LittleEndian.Uint64(b[8:])), store, true
}

// header is the fixed part of a frame on disk.
type header struct {
	start LSN // position at which the frame begins: its own place, against stale bytes
	body  uint32
	crc   uint32 // of the body
	prev  uint32
	id    FrameID
	loose bool // acknowledged before it was synced
}

func appendHeader(dst []byte, start LSN, f *Frame, durable bool) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.Body)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(start))
	dst = append(dst, f.ID.Gateway[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, f.ID.Session)
	dst = binary.LittleEndian.AppendUint64(dst, f.ID.N)
	dst = binary.LittleEndian.AppendUint32(dst, f.Prev)
	dst = binary.LittleEndian.AppendUint32(dst, Checksum(f.Body))
	dst = append(dst, make([]byte, headerSize-(len(dst)-at))...)
	if !durable {
		dst[at+flagsAt] = flagLoose
	}
	binary.LittleEndian.PutUint32(dst[at:], Checksum(dst[at+4:]))
	return dst
}

// parseHeader reads the frame header that b begins with. ok is false if there
// is none for a frame that begins at position start.
func parseHeader(b []byte, start LSN) (h header, ok bool) {
	if len(b) < headerSize || LSN(binary.LittleEndian.Uint64(b[8:])) != start ||
		binary.LittleEndian.Uint32(b) != Checksum(b[4:headerSize]) {
		return header{}, false
	}
	h = header{
		start: start,
		body:  binary.LittleEndian.Uint32(b[4:]),
		prev:  binary.LittleEndian.Uint32(b[48:]),
		crc:   binary.LittleEndian.Uint32(b[52:]),
		loose: b[flagsAt]&flagLoose != 0,
	}
	copy(h.id.Gateway[:], b[16:32])
	h.id.Session = binary.LittleEndian.Uint64(b[32:])
	h.id.N = binary.LittleEndian.Uint64(b[40:])
	return h, h.body <= maxFrameBody
}

// end is the position of the frame.
func (h header) end() LSN { return h.start + headerSize + LSN(h.body) }

// parseFrame reads the whole frame that b begins with. ok is false if it is not
// whole or its body is damaged.
func parseFrame(b []byte, start LSN) (f *Frame, end LSN, ok bool) {
	h, ok := parseHeader(b, start)
	if !ok || len(b)-headerSize < int(h.body) {
		return nil, 0, false
	}
	body := b[headerSize : headerSize+int(h.body) : headerSize+int(h.body)]
	if Checksum(body) != h.crc {
		return nil, 0, false
	}
	return &Frame{ID: h.id, Prev: h.prev, Body: body}, h.end(), true
}
