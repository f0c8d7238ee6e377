package tables

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// Write writes a recording: requests and what a server answered.
func Write(w io.Writer, list []Request, answers []Answer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	e := json.NewEncoder(z)
	for i := range list {
		if err := e.Encode(record{list[i], answers[i]}); err != nil {
			return err
		}
	}
	return z.Close()
}

// record is a line of a recording.
type record struct {
	Request Request `json:"request"`
	Answer  Answer  `json:"answer"`
}

// Read reads a recording, which must be of the given corpus.
func Read(r io.Reader, corpus []Request) (requests []Request, answers []Answer, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	d := json.NewDecoder(bufio.NewReader(z))
	for {
		var x record
		switch err := d.Decode(&x); {
		case errors.Is(err, io.EOF):
			own := slices.DeleteFunc(slices.Clone(requests), func(r Request) bool { return r.Sync })
			if !slices.Equal(own, corpus) {
				return nil, nil, errors.New("the recording is of another corpus; run make interop-tables")
			}
			return requests, answers, nil
		case err != nil:
			return nil, nil, err
		}
		requests = append(requests, x.Request)
		answers = append(answers, x.Answer)
	}
}
