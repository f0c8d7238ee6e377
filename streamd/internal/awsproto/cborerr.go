package awsproto

import (
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// appendCBORError adds the body of an error in CBOR: an indefinite map of text
// strings, as AWS writes it. Clients that speak CBOR get errors in CBOR even
// where this server goes no further with them.
func appendCBORError(dst []byte, e *awserr.Error) []byte {
	const beginMap, end = 0xbf, 0xff
	dst = append(dst, beginMap)
	dst = appendCBORText(dst, "__type")
	dst = appendCBORText(dst, e.Code)
	if e.Message != "" {
		dst = appendCBORText(dst, messageKey(e.Code))
		dst = appendCBORText(dst, e.Message)
	}
	return append(dst, end)
}

func appendCBORText(dst []byte, s string) []byte {
	const text = 3 << 5
	switch n := len(s); {
	case n < 24:
		dst = append(dst, text|byte(n))
	case n < 1<<8:
		dst = append(dst, text|24, byte(n))
	default:
		s = s[:min(n, 1<<16-1)]
		dst = append(dst, text|25, byte(len(s)>>8), byte(len(s)))
	}
	return append(dst, s...)
}
