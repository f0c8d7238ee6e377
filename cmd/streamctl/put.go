package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/producer"
)

// putOptions are the flags of "put".
type putOptions struct {
	partitionKey  string
	keyField      string
	noAggregation bool
	maxBuffered   time.Duration
	asJSON        bool
}

func (a *app) newPut() *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put STREAM [FILE...]",
		Short: "Put lines into a stream, from files or from the standard input",
		Long: `Put each line into a stream as a record of its own, without the line end. The
lines come from the files, or from the standard input ("-").

Without a partition key the records are spread over the shards and have no
order among them. --partition-key gives all the same key; --key-field takes the
key from a field of each line, which must then be a JSON object.`,
		Example: "  echo hello | streamctl put orders\n  streamctl put orders events.jsonl --key-field customer",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactArgs("STREAM")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.put(cmd.Context(), args[0], args[1:], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.partitionKey, "partition-key", "", "partition key of all records")
	f.StringVar(&o.keyField, "key-field", "", "field of each JSON line that holds its partition key")
	f.BoolVar(&o.noAggregation, "no-aggregation", false, "one Kinesis record for each line")
	f.DurationVar(&o.maxBuffered, "max-buffered-time", 0, "how long a line may wait for others to share its Kinesis record (0 is the producer's default, 10ms)")
	f.BoolVar(&o.asJSON, "json", false, "print the outcome as JSON")
	cmd.MarkFlagsMutuallyExclusive("partition-key", "key-field")
	return cmd
}

// putOutcome is the JSON form of what "put" has done.
type putOutcome struct {
	Stream         string `json:"stream"`
	Records        uint64 `json:"records"`
	KinesisRecords uint64 `json:"kinesisRecords"`
	Failed         uint64 `json:"failed"`
}

func (a *app) put(ctx context.Context, stream string, files []string, o putOptions) error {
	a.about.Stream = stream
	inputs, err := a.openInputs(files)
	if err != nil {
		return err
	}
	k, err := a.kinesis(ctx)
	if err != nil {
		return err
	}
	// The producer would try for half a minute to find the stream.
	if _, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)}); err != nil {
		return err
	}
	p, err := producer.New(k, stream, producer.Config{DisableAggregation: o.noAggregation, RecordMaxBufferedTime: o.maxBuffered, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fate := newFate()
	// A read from a terminal cannot be interrupted, so it happens elsewhere and
	// is left behind when ctx ends; the process is about to end as well.
	finished := make(chan error, 1)
	go func() { finished <- putAll(ctx, p, inputs, o, fate) }()
	select {
	case err = <-finished:
	case <-ctx.Done():
		err = ctx.Err()
	}
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	closeErr := p.Close(closeCtx)
	stats := p.Stats()
	out := putOutcome{Stream: stream, Records: stats.UserRecordsPut, KinesisRecords: stats.KinesisRecordsPut, Failed: stats.UserRecordsFailed}
	if o.asJSON {
		err = errors.Join(err, a.printJSON(out))
	} else {
		fmt.Fprintf(a.out, "put %s into stream %s at %s, as %s\n", count(int(out.Records), "record"), stream, a.about.Where, count(int(out.KinesisRecords), "Kinesis record"))
	}
	if first := fate.error(); first != nil && err == nil {
		err = fmt.Errorf("%s could not be put: %w: see that the server is well, then put the rest again", count(int(out.Failed), "record"), first)
	}
	if err == nil {
		err = closeErr
	}
	return err
}

// input is a named source of lines.
type input struct {
	io.ReadCloser
	name string
}

// openInputs opens all files at once, so that a wrong name is found before
// anything is put.
func (a *app) openInputs(files []string) ([]input, error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	var inputs []input
	for _, name := range files {
		if name == "-" {
			inputs = append(inputs, input{io.NopCloser(a.in), "the standard input"})
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			for _, in := range inputs {
				_ = in.Close()
			}
			return nil, err
		}
		inputs = append(inputs, input{f, name})
	}
	return inputs, nil
}

// fate remembers the first record that failed.
type fate struct {
	mu     sync.Mutex // guards err
	err    error
	failed chan struct{} // closed with the first failure
}

func newFate() *fate { return &fate{failed: make(chan struct{})} }

func (f *fate) done(r producer.Result) {
	if r.Err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = r.Err
		close(f.failed)
	}
}

func (f *fate) error() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// putAll puts every line, until one has failed.
func putAll(ctx context.Context, p *producer.Producer, inputs []input, o putOptions, fate *fate) error {
	done := fate.done // one closure for all
	for _, in := range inputs {
		defer in.Close() //nolint:errcheck // only read from
		r := bufio.NewReaderSize(in, 256<<10)
		for line := 1; ; line++ {
			text, err := r.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if len(text) == 0 {
				break // the end
			}
			text = bytes.TrimSuffix(text, []byte("\n"))
			rec := producer.UserRecord{PartitionKey: o.partitionKey, Data: text}
			if o.keyField != "" {
				if rec.PartitionKey, err = keyOf(text, o.keyField); err != nil {
					return fmt.Errorf("line %d of %s %w: correct it, or use --partition-key; the lines before it were put", line, in.name, err)
				}
			}
			if err := p.Put(ctx, rec, done); errors.Is(err, producer.ErrTooLarge) {
				return fmt.Errorf("line %d of %s is longer than the 1 MiB of a record: cut it, or leave it out; the lines before it were put", line, in.name)
			} else if err != nil {
				return fmt.Errorf("line %d of %s: %w", line, in.name, err)
			}
			select {
			case <-fate.failed:
				return nil
			default:
			}
		}
	}
	return nil
}

// keyOf returns the partition key that a field of a JSON object holds.
func keyOf(line []byte, field string) (string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return "", errors.New("is no JSON object")
	}
	raw, ok := object[field]
	if !ok {
		return "", fmt.Errorf("has no field %q", field)
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if text == "" || string(raw) == "null" {
			return "", fmt.Errorf("has nothing in field %q", field)
		}
		return text, nil
	}
	if raw[0] == '{' || raw[0] == '[' {
		return "", fmt.Errorf("has neither text nor a number in field %q", field)
	}
	return string(raw), nil
}
