package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// MaxPayload is the size of the largest payload, in bytes.
const MaxPayload = 16 << 20

const (
	magic      = "SKSL" // part of the disk format
	version    = 1
	headerSize = 32
	frameSize  = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kind tells the logs of different users apart.
type Kind [4]byte

func appendHeader(dst []byte, kind Kind, salt uint64) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version, 0, 0, 0)
	dst = append(dst, kind[:]...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, salt)
	dst = append(dst, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseHeader returns the salt of a file.
func parseHeader(b []byte, kind Kind) (uint64, error) {
	switch {
	case len(b) < headerSize:
		return 0, fmt.Errorf("the header has %d bytes of %d", len(b), headerSize)
	case string(b[:4]) != magic:
		return 0, errors.New("the header does not begin as that of a log")
	case b[4] != version:
		return 0, fmt.Errorf("the format has version %d, this program knows %d", b[4], version)
	case crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]):
		return 0, errors.New("the checksum of the header is wrong")
	case Kind(b[8:12]) != kind:
		return 0, fmt.Errorf("the file is a log of kind %q, not %q", b[8:12], kind[:])
	}
	return binary.LittleEndian.Uint64(b[16:]), nil
}

func frameCRC(salt uint64, off int64, synced int64, payload []byte) uint32 {
	var h [28]byte
	binary.LittleEndian.PutUint64(h[0:], salt)
	binary.LittleEndian.PutUint64(h[8:], uint64(off))
	binary.LittleEndian.PutUint32(h[16:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(h[20:], uint64(synced))
	return crc32.Update(crc32.Checksum(h[:], castagnoli), castagnoli, payload)
}

func appendFrame(dst []byte, salt uint64, off, synced int64, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, frameCRC(salt, off, synced, payload))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(synced))
	return append(dst, payload...)
}

// errNoFrame says that no frame begins at an offset.
var errNoFrame = errors.New("no frame")

// A reader reads the frames of a file whose content ends at size. It reads in
// blocks of at least 64 KiB.
type reader struct {
	src  io.ReaderAt
	size int64
	salt uint64

	buf []byte // bytes of the file from pos on
	pos int64
}

// window returns n bytes of the file from off on, valid until the next call.
func (r *reader) window(off int64, n int) ([]byte, error) {
	if off < r.pos || off+int64(n) > r.pos+int64(len(r.buf)) {
		want := min(max(int64(n), 64<<10), r.size-off)
		if int64(cap(r.buf)) < want {
			r.buf = make([]byte, want)
		}
		r.buf = r.buf[:want]
		if _, err := r.src.ReadAt(r.buf, off); err != nil {
			r.buf = r.buf[:0]
			return nil, fmt.Errorf("read %d bytes at offset %d: %w", want, off, err)
		}
		r.pos = off
	}
	return r.buf[off-r.pos:][:n], nil
}

// frame returns the payload of the frame at off and its synced field. The
// payload is valid until the next call. The error is errNoFrame if none begins
// there, and another if the file could not be read.
func (r *reader) frame(off int64) (payload []byte, synced int64, err error) {
	if r.size-off < frameSize {
		return nil, 0, errNoFrame
	}
	h, err := r.window(off, frameSize)
	if err != nil {
		return nil, 0, err
	}
	n := int64(binary.LittleEndian.Uint32(h))
	crc := binary.LittleEndian.Uint32(h[4:])
	synced = int64(binary.LittleEndian.Uint64(h[8:]))
	if n == 0 || n > MaxPayload || n > r.size-off-frameSize || synced < 0 || synced > off {
		return nil, 0, errNoFrame
	}
	b, err := r.window(off, frameSize+int(n))
	if err != nil {
		return nil, 0, err
	}
	if payload = b[frameSize:]; frameCRC(r.salt, off, synced, payload) != crc {
		return nil, 0, errNoFrame
	}
	return payload, synced, nil
}

// damaged reports whether the bytes at off, which are no frame, had been durable:
// a frame further on says so. It bounds its work: a tail that looks like
// frames at most of its offsets counts as damage.
func (r *reader) damaged(off int64) (bool, error) {
	work := 64*(r.size-off) + 64<<20
	for at := off + 1; at+frameSize < r.size; at++ {
		payload, synced, err := r.frame(at)
		if err == nil {
			if synced > off {
				return true, nil
			}
			at += frameSize + int64(len(payload)) - 1
			continue
		}
		if !errors.Is(err, errNoFrame) {
			return false, err
		}
		h, err := r.window(at, 4)
		if err != nil {
			return false, err
		}
		if n := int64(binary.LittleEndian.Uint32(h)); n <= MaxPayload && n <= r.size-at-frameSize {
			if work -= n; work < 0 {
				return true, nil
			}
		}
	}
	return false, nil
}
