package matrix

import (
	"context"
	"time"
)

// A Row is a client and what is tried with it.
type Row struct {
	Name  string   // unique, in lower case: also that of its files and streams
	Needs []string // names of Runtimes
	Fetch []string // names of Fetches
	// Command is the program. In it and in Env {root} is the checkout and {work}
	// the directory for what is built and fetched.
	Command []string
	Env     []string
	Alone   bool     // the program starts servers by itself: there is no stream, and no more than {work}/streamd
	Serve   []string // more flags of streamd
	Shards  int      // of the stream that is there; 0 is 1
	Records int      // 0 is 100
	// During is what happens while the program runs. When it returns, the program's
	// standard input ends; if it fails, the program is ended. Nil: nothing happens.
	During func(ctx context.Context, s *Session, p *Program) error
	// After tries what the program has left behind, once it has ended well.
	After []Step
	Smoke bool          // belongs to the short form
	Short bool          // is left out of the common form, which has a longer row
	Long  bool          // belongs to the long form alone
	Limit time.Duration // for the program; 0 is a minute
}

// A Step is something that the runner itself tries. What it returns is a detail
// for the report.
type Step struct {
	Check string
	Do    func(ctx context.Context, s *Session) (string, error)
}

// A Runtime is what a machine has, or has not.
type Runtime struct {
	Name  string
	Probe []string // a command that ends with 0 where it is there
	How   string   // to get it
}

// A Fetch brings packages in fixed versions. It is done once, and again when its
// steps or inputs change.
type Fetch struct {
	Name   string
	Inputs []string   // files and directories below {root}
	Steps  [][]string // commands, run in {root}
}

// Absent is a client that cannot be run, and what speaks for it instead.
type Absent struct {
	Client string
	Tried  string // a command
	Error  string // exactly
	Date   string
	Cover  string // the fixtures
}

// Matrix is all of it.
type Matrix struct {
	Runtimes []Runtime
	Fetches  []Fetch
	Rows     []Row
	Absent   []Absent
}
