package kinesiswire

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/b64"
)

// Content types of requests and answers.
const (
	ContentTypeJSON = "application/x-amz-json-1.1"
	ContentTypeCBOR = "application/x-amz-cbor-1.1"
)

// Stream says where the records of a request go. A nil member is not sent.
type Stream struct {
	Name, ARN, ID *string
	DryRun        *bool
}

// Entry is a record of a request. Nil members are not sent, and neither are nil
// Data; empty Data are.
type Entry struct {
	Data                          []byte
	PartitionKey, ExplicitHashKey *string
}

// Entries is the list of records of a request, however it is stored.
type Entries interface {
	Len() int
	Entry(i int) Entry
}

// JSONSize returns at least as many bytes as [AppendJSON] adds.
func JSONSize(s Stream, es Entries) int {
	n := len(`{"DryRun":false,"Records":[],"StreamARN":"","StreamId":"","StreamName":""}`)
	for _, m := range []*string{s.Name, s.ARN, s.ID} {
		n += quotedSize(m)
	}
	for i := range es.Len() {
		e := es.Entry(i)
		n += len(`{"Data":"","ExplicitHashKey":"","PartitionKey":""},`)
		n += base64.StdEncoding.EncodedLen(len(e.Data)) + quotedSize(e.ExplicitHashKey) + quotedSize(e.PartitionKey)
	}
	return n
}

// quotedSize bounds what a string takes: six bytes for each of its own if
// all have to be escaped.
func quotedSize(s *string) int {
	if s == nil {
		return 0
	}
	return 6 * len(*s)
}

// AppendJSON appends a request in JSON to dst. It writes bytes that are no
// UTF-8 as U+FFFD.
func AppendJSON(dst []byte, s Stream, es Entries) []byte {
	dst = append(dst, '{')
	if s.DryRun != nil {
		dst = append(dst, `"DryRun":`...)
		if *s.DryRun {
			dst = append(dst, `true,`...)
		} else {
			dst = append(dst, `false,`...)
		}
	}
	dst = append(dst, `"Records":[`...)
	for i := range es.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		e := es.Entry(i)
		dst = append(dst, '{')
		if e.Data != nil {
			dst = append(dst, `"Data":"`...)
			dst = b64.AppendEncode(dst, e.Data)
			dst = append(dst, `",`...)
		}
		dst = appendMember(dst, `"ExplicitHashKey":`, e.ExplicitHashKey)
		dst = appendMember(dst, `"PartitionKey":`, e.PartitionKey)
		dst = endMembers(dst, '{')
	}
	dst = append(dst, `],`...)
	dst = appendMember(dst, `"StreamARN":`, s.ARN)
	dst = appendMember(dst, `"StreamId":`, s.ID)
	dst = appendMember(dst, `"StreamName":`, s.Name)
	return endMembers(dst, '{')
}

func appendMember(dst []byte, key string, value *string) []byte {
	if value == nil {
		return dst
	}
	dst = append(dst, key...)
	return append(appendQuoted(dst, *value), ',')
}

// endMembers replaces the comma after the last member by the end.
func endMembers(dst []byte, open byte) []byte {
	if last := len(dst) - 1; dst[last] != open {
		dst[last] = '}'
		return dst
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ' || c == 0x7f:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
			default:
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		dst = utf8.AppendRune(dst, r) // RuneError is U+FFFD
		i += n
	}
	return append(dst, '"')
}

// Parts of CBOR.
//
// Source: RFC 8949, section 3.
const (
	majorUint  = 0
	majorNint  = 1
	majorBytes = 2
	majorText  = 3
	majorList  = 4
	majorMap   = 5
	majorTag   = 6
	majorOther = 7

	openMap  = majorMap<<5 | 31
	openList = majorList<<5 | 31
	end      = majorOther<<5 | 31
	isFalse  = majorOther<<5 | 20
	isTrue   = majorOther<<5 | 21
	isNull   = majorOther<<5 | 22
	isUndef  = majorOther<<5 | 23
)

// maxHead is the most bytes of a head and its argument.
const maxHead = 9

// CBORSize returns at least as many bytes as [AppendCBOR] adds.
func CBORSize(s Stream, es Entries) int {
	n := 16*maxHead + len("DryRunRecordsStreamARNStreamIdStreamName")
	for _, m := range []*string{s.Name, s.ARN, s.ID} {
		if m != nil {
			n += len(*m)
		}
	}
	for i := range es.Len() {
		e := es.Entry(i)
		n += 8*maxHead + len("DataExplicitHashKeyPartitionKey") + len(e.Data)
		if e.PartitionKey != nil {
			n += len(*e.PartitionKey)
		}
		if e.ExplicitHashKey != nil {
			n += len(*e.ExplicitHashKey)
		}
	}
	return n
}

// AppendCBOR appends a request in CBOR to dst. Text goes as it is, whether it
// is UTF-8 or not.
func AppendCBOR(dst []byte, s Stream, es Entries) []byte {
	dst = append(dst, openMap)
	if s.DryRun != nil {
		dst = appendText(dst, "DryRun")
		if *s.DryRun {
			dst = append(dst, isTrue)
		} else {
			dst = append(dst, isFalse)
		}
	}
	dst = append(appendText(dst, "Records"), openList)
	for i := range es.Len() {
		e := es.Entry(i)
		dst = append(dst, openMap)
		if e.Data != nil {
			dst = appendText(dst, "Data")
			dst = appendHead(dst, majorBytes, uint64(len(e.Data)))
			dst = append(dst, e.Data...)
		}
		dst = appendTextMember(dst, "ExplicitHashKey", e.ExplicitHashKey)
		dst = appendTextMember(dst, "PartitionKey", e.PartitionKey)
		dst = append(dst, end)
	}
	dst = append(dst, end)
	dst = appendTextMember(dst, "StreamARN", s.ARN)
	dst = appendTextMember(dst, "StreamId", s.ID)
	dst = appendTextMember(dst, "StreamName", s.Name)
	return append(dst, end)
}

func appendTextMember(dst []byte, key string, value *string) []byte {
	if value == nil {
		return dst
	}
	return appendText(appendText(dst, key), *value)
}

func appendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// appendHead appends the first byte of a value and its argument, as short as
// it goes.
func appendHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), arg)
}
