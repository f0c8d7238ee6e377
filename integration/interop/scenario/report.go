package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
)

// A Report writes what a scenario finds, an object in each line: first who was
// spoken to, then what was checked.
type Report struct {
	mu     sync.Mutex
	out    io.Writer
	who    []Client
	failed int
}

// NewReport returns a Report that writes to w.
func NewReport(w io.Writer) *Report { return &Report{out: w} }

// Client names what was exercised.
type Client struct {
	Client  string `json:"client"`
	Version string `json:"version"`
	Runtime string `json:"runtime,omitempty"`
}

// Check is one thing that was looked at.
type Check struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Client says who was spoken to. The first is what the report is about; another
// one is noted as a check, once. What a program says about itself again, when it
// is started again, is nothing new.
func (r *Report) Client(c Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := len(r.who) == 0
	if slices.Contains(r.who, c) {
		return
	}
	r.who = append(r.who, c)
	if first {
		r.write(c)
		return
	}
	r.write(Check{Check: "together with " + c.Client, OK: true, Detail: c.Version + ", " + c.Runtime})
}

// Add passes on a check.
func (r *Report) Add(c Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.OK {
		r.failed++
	}
	r.write(c)
}

// Check notes that what holds if err is nil, and detail then.
func (r *Report) Check(what string, err error, detail string, args ...any) bool {
	c := Check{Check: what, OK: err == nil, Detail: fmt.Sprintf(detail, args...)}
	if err != nil {
		c.Detail = err.Error()
	}
	r.Add(c)
	return c.OK
}

// Failed says how many checks failed.
func (r *Report) Failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *Report) write(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and booleans
	}
	// A reader that has gone away needs nothing more.
	_, _ = r.out.Write(append(line, '\n'))
}
