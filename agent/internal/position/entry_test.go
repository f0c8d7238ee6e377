package position

import (
	"bytes"
	"testing"
)

// FuzzDecode checks that no payload makes decode panic, and that what it accepts
// is written back as an equal entry.
func FuzzDecode(f *testing.F) {
	f.Add(appendPut(nil, &Entry{Flow: "f", UID: 1, Path: "/a", Committed: 5, Size: 9}))
	f.Add(appendDelete(nil, "f", 1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		op, e, err := decode(b)
		if err != nil {
			return
		}
		again := appendDelete(nil, e.Flow, e.UID)
		if op == opPut {
			again = appendPut(nil, &e)
		}
		op2, e2, err := decode(again)
		if err != nil || op2 != op || e2 != e {
			t.Errorf("%x gives %+v; written back as %x it gives %+v, %v", b, e, again, e2, err)
		}
		if len(b) == len(again) && op == opDelete && !bytes.Equal(b, again) {
			t.Errorf("%x is written back as %x", b, again)
		}
	})
}
