package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Check is one thing that was tried.
type Check struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Identity is what a program says that it is.
type Identity struct {
	Client  string `json:"client"`
	Version string `json:"version"`
	Runtime string `json:"runtime,omitempty"`
}

// ParseOutput reads what a program has printed. Lines that are no JSON objects of
// a known kind are for its log alone; many libraries print there.
func ParseOutput(out []byte) (Identity, []Check, error) {
	var id Identity
	var checks []Check
	for line := range bytes.Lines(out) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] != '{' {
			continue
		}
		var l struct {
			Identity
			Check
		}
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		switch {
		case l.Check.Check != "":
			checks = append(checks, l.Check)
		case l.Client != "" && id.Client == "":
			id = l.Identity
		}
	}
	switch {
	case id.Client == "" || id.Version == "":
		return id, checks, errors.New("the program has not said which client it is, in which version")
	case len(checks) == 0:
		return id, nil, errors.New("the program has tried nothing")
	}
	return id, checks, nil
}

// A Record is a line of a program's OUT.
type Record struct {
	Shard string `json:"shard,omitempty"`
	Seq   string `json:"seq,omitempty"`
	Sub   int64  `json:"sub,omitempty"`
	Key   string `json:"key"`
	Data  []byte `json:"data"`
}

// readRecords reads a program's OUT. The last line of a program that was killed
// may lack its end.
func readRecords(name string) ([]Record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Record
	dec := json.NewDecoder(f)
	for {
		var r Record
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: record %d: %w", name, len(out)+1, err)
		}
		out = append(out, r)
	}
}
