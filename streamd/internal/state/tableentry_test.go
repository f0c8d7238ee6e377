package state_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// TestAppendTable writes entries of lengths about which a uvarint grows, into the
// room that TableSize says, without an allocation.
func TestAppendTable(t *testing.T) {
	const others = 1 + 3 + 1 + 2 + 1 + 7 // lengths and fields before the body
	for _, size := range []int{0, 1, 127 - others, 128 - others, 129 - others, 16383 - others, 16384 - others, 1 << 20} {
		scope, body := arn.Scope{Account: "abc", Region: "re"}, bytes.Repeat([]byte("b"), size)
		room := make([]byte, 0, state.TableSize(scope, "PutItem", body))
		var got []byte
		if n := testing.AllocsPerRun(10, func() { got = state.AppendTable(room, scope, "PutItem", body) }); n > 0 {
			t.Errorf("body of %d bytes: %v allocations", size, n)
		}
		payload := "\x03abc\x02re\x07PutItem" + strings.Repeat("b", size)
		want := append(binary.AppendUvarint([]byte{3}, uint64(len(payload))), payload...)
		if !bytes.Equal(got, want) {
			t.Errorf("body of %d bytes: %d bytes that begin with %x, want %d with %x", size, len(got), got[:5], len(want), want[:5])
		}
	}
}
