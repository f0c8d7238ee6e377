package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// Runner runs rows, one after another. Its methods are for one goroutine.
type Runner struct {
	Matrix  Matrix
	Root    string        // of the checkout
	Work    string        // directory for what is built, fetched and left
	Streamd string        // the binary
	Require []string      // runtimes whose lack is a failure
	Capture bool          // keep what clients ask, in {work}/captures
	Pause   time.Duration // before a fetch is tried again; 0 is five seconds
	Now     func() time.Time
	Log     io.Writer // for people; nil: nowhere

	probed  map[string]string // why a runtime cannot be used, or ""
	fetched map[string]error
}

// Session is a row while it runs.
type Session struct {
	Row    Row
	Server *Server
	Stream string
	Table  string
	CA     string   // file
	Out    string   // file of records that the program writes
	Put    []Record // by what happens beside the program

	dir    string
	runner *Runner
}

// Outcome is what came of a row.
type Outcome struct {
	Row string `json:"row"`
	Identity
	Date    string  `json:"date"`
	Seconds float64 `json:"seconds"`
	Checks  []Check `json:"checks,omitempty"`
	Skipped string  `json:"skipped,omitempty"` // why it did not run
	Failed  string  `json:"failed,omitempty"`  // what went wrong besides checks
}

// OK reports whether all that was tried went well. What was skipped has not.
func (o Outcome) OK() bool {
	for _, c := range o.Checks {
		if !c.OK {
			return false
		}
	}
	return o.Skipped == "" && o.Failed == "" && len(o.Checks) > 0
}

func (r *Runner) say(format string, args ...any) {
	if r.Log != nil {
		_, _ = fmt.Fprintf(r.Log, format+"\n", args...) // whoever reads it may be gone
	}
}

// Run runs rows. A row that fails does not keep the others from running.
func (r *Runner) Run(ctx context.Context, rows []Row) []Outcome {
	r.probed, r.fetched = make(map[string]string), make(map[string]error)
	var all []Outcome
	for _, row := range rows {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		o := r.runRow(ctx, row)
		o.Row, o.Date, o.Seconds = row.Name, r.now().UTC().Format(time.DateOnly), float64(time.Since(began).Milliseconds())/1e3
		if o.OK() { // the logs stay, for those who want to see what it did
			if err := os.RemoveAll(filepath.Join(r.Work, "rows", row.Name, "data")); err != nil {
				o.Failed = err.Error()
			}
		}
		all = append(all, o)
		r.say("%s", o.Line())
	}
	return all
}

func (r *Runner) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Runner) runRow(ctx context.Context, row Row) Outcome {
	if reason, fail := r.missing(ctx, row.Needs); reason != "" {
		if fail {
			return Outcome{Failed: "required: " + reason}
		}
		return Outcome{Skipped: reason}
	}
	if err := r.fetch(ctx, row.Fetch); err != nil {
		return Outcome{Failed: err.Error()}
	}
	o, err := r.try(ctx, row)
	if err != nil {
		o.Failed = err.Error()
	}
	return o
}

// try runs the program beside a server, and looks at what it has left.
func (r *Runner) try(ctx context.Context, row Row) (o Outcome, err error) {
	dir := filepath.Join(r.Work, "rows", row.Name)
	if err := os.RemoveAll(dir); err != nil { // of the run before
		return o, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return o, err
	}
	if r.Capture {
		name := r.captureFile(row.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.RemoveAll(name)); err != nil {
			return o, err
		}
	}
	s := &Session{Row: row, Stream: row.Name, Table: row.Name + "-app", Out: filepath.Join(dir, "out.jsonl"), dir: dir, runner: r}
	if !row.Alone {
		stop, err := r.serve(ctx, s)
		if err != nil {
			return o, err
		}
		defer func() {
			if stopErr := stop(); stopErr != nil {
				err = errors.Join(err, fmt.Errorf("the server has not ended well: %w", stopErr))
			}
		}()
	}
	o, err = r.program(ctx, s)
	if err != nil {
		return o, err
	}
	for _, step := range row.After {
		detail, err := step.Do(ctx, s)
		if err != nil {
			detail = err.Error()
		}
		o.Checks = append(o.Checks, Check{Check: step.Check, OK: err == nil, Detail: detail})
	}
	return o, nil
}

func (r *Runner) captureFile(row string) string {
	return filepath.Join(r.Work, "captures", row+".ndjson")
}

// serve starts the session's server, with its stream.
func (r *Runner) serve(ctx context.Context, s *Session) (stop func() error, err error) {
	args := s.Row.Serve
	if r.Capture {
		args = append([]string{"--capture", r.captureFile(s.Row.Name)}, args...)
	}
	if s.Server, err = startServer(ctx, r.Streamd, s.dir, r.tlsDir(), args); err != nil {
		return nil, err
	}
	stop = func() error { return errors.Join(s.Server.Stop(), s.Server.log.Close()) }
	if s.CA, err = r.authority(ctx); err == nil {
		err = s.createStream(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

func (s *Session) createStream(ctx context.Context) error {
	k := s.Server.Kinesis()
	if _, err := k.CreateStream(ctx, &kinesis.CreateStreamInput{
		StreamName: aws.String(s.Stream), ShardCount: aws.Int32(int32(max(1, s.Row.Shards))),
	}); err != nil {
		return err
	}
	return kinesis.NewStreamExistsWaiter(k).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String(s.Stream)}, startLimit)
}

// records is how many a row is about.
func (s *Session) records() int {
	if s.Row.Records > 0 {
		return s.Row.Records
	}
	return 100
}

// program runs the row's program, and what happens beside it.
func (r *Runner) program(ctx context.Context, s *Session) (Outcome, error) {
	limit := s.Row.Limit
	if limit == 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the row had not ended after %v", limit))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p, err := s.Start(ctx, "program", s.Row.Command, s.Row.Env)
	if err != nil {
		return Outcome{}, err
	}
	beside := make(chan struct{}) // closed when During has returned
	go func() {
		defer close(beside)
		if s.Row.During != nil {
			if err := s.Row.During(ctx, s, p); err != nil {
				stop(fmt.Errorf("beside the program: %w", err))
			}
		}
		p.CloseInput()
	}()
	err = p.Wait(ctx)
	if err != nil {
		stop(nil) // nobody is there for whom it happens
	}
	<-beside
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	o := Outcome{}
	var said error
	o.Identity, o.Checks, said = ParseOutput(p.Output())
	switch {
	case err != nil:
		return o, fmt.Errorf("%w; %s ends with\n%s", err, p.Log, p.tail())
	case said != nil:
		return o, fmt.Errorf("%w; see %s", said, p.Log)
	}
	return o, nil
}

// env is what a program is told.
func (s *Session) env() []string {
	var server []string
	if s.runner.Capture {
		server = append(server, "CAPTURE=1") // for those who start servers themselves
	}
	if s.Server != nil {
		server = append(
			server,
			"STREAMD_KINESIS="+s.Server.Secure(),
			"STREAMD_DYNAMODB="+s.Server.Secure(),
			"STREAMD_PLAIN="+s.Server.Plain(),
			"STREAMD_CA="+s.CA,
		)
	}
	return append(
		server,
		"STREAM="+s.Stream,
		"TABLE="+s.Table,
		"APP="+s.Table,
		"RECORDS="+strconv.Itoa(s.records()),
		"OUT="+s.Out,
		"AWS_ACCESS_KEY_ID="+accessKey,
		"AWS_SECRET_ACCESS_KEY="+secretKey,
		"AWS_REGION="+region,
		"AWS_DEFAULT_REGION="+region,
		"AWS_EC2_METADATA_DISABLED=true",
		// An absent file is an empty one: the user's own profiles stay out.
		"AWS_CONFIG_FILE="+os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
	)
}
