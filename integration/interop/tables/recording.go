package tables

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
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

// Read reads a recording, whose requests must be the given.
func Read(r io.Reader, list []Request) ([]Answer, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bufio.NewReader(z))
	var requests []Request
	var answers []Answer
	for {
		var x record
		switch err := d.Decode(&x); {
		case errors.Is(err, io.EOF):
			if !slices.Equal(requests, list) {
				return nil, fmt.Errorf("the recording is of other requests than the corpus has; run make interop")
			}
			return answers, nil
		case err != nil:
			return nil, err
		}
		requests = append(requests, x.Request)
		answers = append(answers, x.Answer)
	}
}
