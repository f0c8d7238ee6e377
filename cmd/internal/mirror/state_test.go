package mirror

import (
	"bytes"
	"testing"
	"time"
)

const golden = `{"format":"streamkit-mirror-1","crc32c":"70dd5bb7","state":{"from":"http://a:4567","to":"AWS, region eu-west-1","streams":{"orders":{"to":"orders-2","created":"2026-01-02T03:04:05Z","targetCreated":"2026-01-02T03:04:06Z","start":"latest","began":"2026-01-02T03:04:07Z","shards":{"shardId-000000000000":{"sequence":"495","covered":"2026-01-02T03:04:08Z","late":true},"shardId-000000000001":{"done":true}}}}}}
`

func goldenState() *state {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &state{From: "http://a:4567", To: "AWS, region eu-west-1", Streams: map[string]*streamState{"orders": {
		To: "orders-2", Created: at, TargetCreated: at.Add(time.Second), Start: "latest", Began: at.Add(2 * time.Second),
		Shards: map[string]*shardState{
			"shardId-000000000000": {Sequence: "495", Covered: at.Add(3 * time.Second), Late: true},
			"shardId-000000000001": {Done: true},
		},
	}}}
}

// TestStateGolden pins the bytes of a state file.
func TestStateGolden(t *testing.T) {
	b, err := encodeState(goldenState())
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != golden {
		t.Errorf("got\n%swant\n%s", b, golden)
	}
	s, err := decodeState([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := encodeState(s); err != nil || !bytes.Equal(again, b) {
		t.Errorf("decoded and encoded: %v\n%s", err, again)
	}
}

func TestStateDamage(t *testing.T) {
	for _, b := range []string{
		"", "{}", golden[:len(golden)/2], `{"format":"streamkit-mirror-2"}`, `{"format":"streamkit-mirror-1","crc32c":"00000000","state":null}`,
	} {
		if s, err := decodeState([]byte(b)); err == nil {
			t.Errorf("%q is read as %+v", b, s)
		}
	}
	for i := range golden[:len(golden)-2] { // one bit of each byte
		b := []byte(golden)
		b[i] ^= 1
		s, err := decodeState(b)
		if err != nil {
			continue
		}
		if again, err := encodeState(s); err != nil || string(again) != golden {
			t.Errorf("with byte %d changed it is read as another state", i)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"format":"streamkit-mirror-1","crc32c":"7d4d2ab7","state":{"streams":{"a":null}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		again, err := encodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeState(again); err != nil {
			t.Fatalf("what was read is refused once written: %v\n%s", err, again)
		}
	})
}
