package awsproto

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/streamkit/streamkit/internal/b64"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

var strictBase64 = base64.StdEncoding.Strict()

// overlap is how much of a text may be overwritten before it has been read:
// decoding in place runs ahead of itself in the first quanta when it fails.
const overlap = 12

// blob reads base64 text and decodes it over itself, up to what is not base64: the
// quote at its end, or an escape or a mistake, with which it is looked at once more.
func (d *jsonDecoder) blob(f *shape.Blob) (conversion *awserr.Error, ok bool) {
	start := d.i + 1
	quanta := b64.DecodeFront(d.b[start:])
	n := bytes.IndexByte(d.b[start+4*quanta:], '"')
	if n < 0 {
		return nil, false
	}
	n += 4 * quanta
	text := d.b[start : start+n : start+n]
	if size, ok := b64.DecodeEnd(text, quanta); ok {
		d.i = start + n + 1
		f.V, f.Set = text[:size:size], true
		return nil, true
	}
	rest := text[4*quanta:]
	if bytes.IndexByte(rest, '\\') < 0 {
		d.i = start + n + 1
		return decodeBlob(f, text, quanta, false)
	}
	copy(text, base64.StdEncoding.AppendEncode(nil, text[:3*quanta])) // as it was
	if text, ok = d.str(); !ok {
		return nil, false
	}
	return decodeBlob(f, text, b64.DecodeFront(text), true)
}

// decodeBlob decodes base64 text over itself, of which so many quanta have been
// decoded. escaped says that the text may hold what JSON has only in escapes.
func decodeBlob(f *shape.Blob, text []byte, quanta int, escaped bool) (conversion *awserr.Error, ok bool) {
	rest := text[4*quanta:]
	var head [overlap]byte
	copy(head[:], rest)
	whole := 0 // quanta of the rest that were decoded in full
	// The decoder passes over line ends, and a text with one could not be shown
	// as it was.
	if len(text)%4 == 0 && bytes.IndexByte(rest, '\n') < 0 && bytes.IndexByte(rest, '\r') < 0 {
		size, err := strictBase64.Decode(text[3*quanta:], rest)
		if err == nil {
			size += 3 * quanta
			f.V, f.Set = text[:size:size], true
			return nil, true
		}
		whole = size / 3
	}
	original := base64.StdEncoding.AppendEncode(nil, text[:3*(quanta+whole)])
	original = append(original, text[min(4*(quanta+whole), len(text)):]...)
	copy(original[4*quanta:], head[:min(overlap, len(rest))])
	return badBlob(original, escaped)
}

// badBlob tells what is wrong with text that is not base64. Control characters
// that were not escaped are not even JSON.
//
// Source of the wording: errors recorded from AWS.
func badBlob(text []byte, escaped bool) (conversion *awserr.Error, ok bool) {
	if !escaped && bytes.IndexFunc(text, func(r rune) bool { return r < ' ' }) >= 0 {
		return nil, false
	}
	text = validUTF8(text)
	var reason string
	if len(text)%4 != 0 {
		reason = fmt.Sprintf("Base64 encoded length is expected a multiple of 4 bytes but found: %d", len(text))
	} else if i := strayCharacter(text); i >= 0 {
		reason = fmt.Sprintf("Invalid Base64 character: '%c'", []rune(string(text[i:]))[0])
	} else {
		reason = "Invalid last non-pad Base64 character dectected"
	}
	return serialization(fmt.Sprintf("'%s' can not be converted to a Blob: %s", text, reason)), true
}

// strayCharacter returns the index of the first byte that base64 does not have
// at its place, -1 if there is none.
func strayCharacter(text []byte) int {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	body := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("=")), []byte("="))
	for i, c := range body {
		if strings.IndexByte(alphabet, c) < 0 {
			return i
		}
	}
	return -1
}
