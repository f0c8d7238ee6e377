package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

// stateFormat names the form of the state file.
const stateFormat = "streamkit-mirror-1"

// ErrState is wrapped by the errors of a state file that cannot be used.
var ErrState = errors.New("mirror: state file")

// stateFile is the state file: one JSON object.
type stateFile struct {
	Format string          `json:"format"`
	CRC32C string          `json:"crc32c"` // of State as it stands, eight hexadecimal digits
	State  json.RawMessage `json:"state"`
}

// state is how far a mirror is.
type state struct {
	From    string                  `json:"from"` // names of the endpoints
	To      string                  `json:"to"`
	Streams map[string]*streamState `json:"streams"` // by name in the source
}

// streamState is how far one stream is.
type streamState struct {
	To            string    `json:"to"`
	Created       time.Time `json:"created"` // of the source
	TargetCreated time.Time `json:"targetCreated"`
	Start         string    `json:"start"`
	// Began is when the stream was mirrored for the first time, by the clock of
	// the source. Shards that were
	// to be read from their newest record on, and gave none yet, are read from
	// then on.
	Began  time.Time              `json:"began"`
	From   time.Time              `json:"from,omitzero"` // with start timestamp
	Shards map[string]*shardState `json:"shards"`
}

// shardState is how far one shard is.
type shardState struct {
	// Sequence is the number of the last record that the target has
	// acknowledged together with all before it. Empty if none was.
	Sequence string `json:"sequence,omitempty"`
	Done     bool   `json:"done,omitempty"` // read to its end, and all acknowledged
	// Covered is until when the shard was read: all records that arrived before
	// were seen.
	Covered time.Time `json:"covered,omitzero"`
	// Late says that the shard was there at the beginning, and is to be read from
	// what Start says. All others are read from their oldest record on.
	Late bool `json:"late,omitempty"`
}

func (s *streamState) clone() *streamState {
	c := *s
	c.Shards = make(map[string]*shardState, len(s.Shards))
	for id, sh := range s.Shards {
		one := *sh
		c.Shards[id] = &one
	}
	return &c
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeState(s *state) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(stateFile{Format: stateFormat, CRC32C: fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)), State: body})
	return append(b, '\n'), err
}

func decodeState(b []byte) (*state, error) {
	var f stateFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if f.Format != stateFormat {
		return nil, fmt.Errorf("its format is %q, not %q", f.Format, stateFormat)
	}
	if sum := fmt.Sprintf("%08x", crc32.Checksum(f.State, castagnoli)); sum != f.CRC32C {
		return nil, fmt.Errorf("its checksum is %s and should be %s", sum, f.CRC32C)
	}
	var s state
	if err := json.Unmarshal(f.State, &s); err != nil {
		return nil, err
	}
	for name, st := range s.Streams {
		if st == nil {
			return nil, fmt.Errorf("stream %s has no state", name)
		}
		for id, sh := range st.Shards {
			if sh == nil {
				return nil, fmt.Errorf("shard %s of %s has no state", id, name)
			}
		}
	}
	return &s, nil
}

// readState returns the state in a file, nil if there is no file.
func readState(fsys vfs.FS, name string) (*state, error) {
	b, err := vfs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	s, err := decodeState(b)
	if err != nil {
		return nil, fmt.Errorf("%w %s is damaged: %w; put it away to begin anew, which copies all records once more", ErrState, name, err)
	}
	return s, nil
}

// writeState replaces the file, durably.
func writeState(fsys vfs.FS, name string, s *state) error {
	b, err := encodeState(s)
	if err == nil {
		err = vfs.WriteFile(fsys, name, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// with returns a copy of s with streams in place of its own of the same name.
func (s *state) with(streams map[string]*streamState) *state {
	c := &state{From: s.From, To: s.To, Streams: maps.Clone(s.Streams)}
	maps.Copy(c.Streams, streams)
	return c
}
