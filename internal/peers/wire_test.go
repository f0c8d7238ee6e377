package peers_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"testing"

	"github.com/streamkit/streamkit/internal/peers"
)

// TestFrameFormat pins the bytes of a frame: workers of two versions speak with
// each other during a deployment.
func TestFrameFormat(t *testing.T) {
	key := []byte("key")
	const beat = "0800000000000000" + "4c8e899c8060d361"
	if got := hex.EncodeToString(peers.SealFrame(key, nil)); got != beat {
		t.Errorf("frame without payload is %s, want %s", got, beat)
	}
	for i, want := range []string{
		"000000000000000300000002030877" + "6f726b65722d310b696e6361726e6174696f6e" + "01620178" + "01630179",
		"00000000000000010000000000",
		"0000000000000001000000020000000000000003",
		"08776f726b65722d310b696e6361726e6174696f6e" + "00000000000000040000000501" + "08776f726b65722d310b696e6361726e6174696f6e",
		"01",
		"02",
		"03" + "01610162" + "0000000000000009" + "01",
	} {
		if got := hex.EncodeToString(peers.Samples()[i]); got != want {
			t.Errorf("payload %d is %s, want %s", i, got, want)
		}
	}
}

// TestEveryBitCounts changes each bit of a frame.
func TestEveryBitCounts(t *testing.T) {
	key := []byte("key")
	frame := peers.SealFrame(key, []byte("payload"))
	if n, err := peers.OpenFrames(frame, key); n != 1 || err != io.EOF { //nolint:errorlint // exactly what ReadFull returns
		t.Fatalf("%d frames, %v", n, err)
	}
	for i := range 8 * len(frame) {
		bad := bytes.Clone(frame)
		bad[i/8] ^= 1 << (i % 8)
		if n, err := peers.OpenFrames(bad, key); n != 0 || err == nil {
			t.Errorf("bit %d changed: %d frames, %v", i, n, err)
		}
	}
	if n, err := peers.OpenFrames(append(frame, frame...), key); n != 1 || err == nil {
		t.Errorf("a frame twice: %d frames, %v", n, err)
	}
}

// FuzzPayloads feeds the decoders of payloads: what one takes it must write back
// as it was.
func FuzzPayloads(f *testing.F) {
	for _, s := range peers.Samples() {
		f.Add(s)
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{255}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, written := range peers.ParseAll(b) {
			if !bytes.Equal(written, b) {
				t.Errorf("read %x, wrote %x", b, written)
			}
		}
	})
}

// FuzzFrames feeds the reader of frames bytes that nobody has sealed.
func FuzzFrames(f *testing.F) {
	key := []byte("a key that the fuzzer does not know")
	f.Add(peers.SealFrame([]byte("another key"), []byte("payload")))
	f.Add(make([]byte, 16))
	f.Add(bytes.Repeat([]byte{255}, 2048))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := peers.OpenFrames(b, key); n != 0 || err == nil {
			t.Errorf("%d frames were taken, %v", n, err)
		}
	})
}
