package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// openFile is os.Open with an error that says what to do.
func openFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; name a file that this user may read", err)
	}
	return f, nil
}

// printed is a record as dry-run shows it.
type printed struct {
	Flow         string `json:"flow"`
	Stream       string `json:"stream"`
	PartitionKey string `json:"partitionKey,omitempty"` // empty: the producer draws one
	Data         string `json:"data,omitempty"`
	Binary       []byte `json:"dataBase64,omitempty"` // instead, if it is no UTF-8
}

// printer is a sink that prints records and acknowledges them.
type printer struct {
	shared *printShared
	flow   agent.FlowConfig
}

type printShared struct {
	mu   sync.Mutex // guards what follows
	out  *json.Encoder
	left int // records still to be printed; negative: all
	err  error
	stop context.CancelFunc
}

// PutBatch implements [agent.Sink].
func (p *printer) PutBatch(_ context.Context, records []producer.UserRecord, done func(producer.BatchResult)) error {
	s := p.shared
	s.mu.Lock()
	for _, r := range records {
		if s.left == 0 || s.err != nil {
			break
		}
		s.left--
		line := printed{Flow: p.flow.ID, Stream: p.flow.Stream(), PartitionKey: r.PartitionKey}
		if utf8.Valid(r.Data) {
			line.Data = string(r.Data)
		} else {
			line.Binary = r.Data
		}
		s.err = s.out.Encode(line)
	}
	over := s.left == 0 || s.err != nil
	s.mu.Unlock()
	if over {
		s.stop()
	}
	done(producer.BatchResult{Records: len(records)})
	return nil
}

// Flush implements [agent.Sink].
func (p *printer) Flush(context.Context) error { return nil }

// Close implements [agent.Sink].
func (p *printer) Close(context.Context) error { return nil }

func (a *app) newDryRun() *cobra.Command {
	var (
		follow bool
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "dry-run",
		Short: "Print the records that the files make; send nothing and save nothing",
		Long: "Dry-run reads the files of all flows from their beginning and prints a line of JSON for each record:\n" +
			"its flow, stream, partition key and data. It calls no service, leaves the positions alone, deletes no\n" +
			"file and writes no dead letter, so an agent may run meanwhile.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return fmt.Errorf("--limit %d is less than nothing; 0 is all records", limit)
			}
			cfg, warnings, err := agent.LoadConfig(a.config)
			log, logErr := a.logger(cfg)
			if err := errors.Join(logErr, err); err != nil {
				return err
			}
			for _, w := range warnings {
				_, _ = fmt.Fprintln(a.errOut, "warning:", w)
			}
			cfg.Logger, cfg.Once, cfg.Ephemeral = log, !follow, true
			for i := range cfg.Flows {
				cfg.Flows[i].StartOfFile = true
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			enc := json.NewEncoder(a.out)
			enc.SetEscapeHTML(false)
			if limit == 0 {
				limit = -1
			}
			shared := &printShared{out: enc, left: limit, stop: stop}
			ag, err := agent.New(cfg, func(f agent.FlowConfig, _ int64) (agent.Sink, error) {
				return &printer{shared, f}, nil
			})
			if err != nil {
				return err
			}
			err = ag.Run(ctx)
			if ctx.Err() != nil && errors.Is(err, agent.ErrNotDrained) {
				err = nil // nothing waits for these records
			}
			shared.mu.Lock()
			defer shared.mu.Unlock()
			return errors.Join(err, shared.err)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written, until a signal")
	cmd.Flags().IntVarP(&limit, "limit", "n", 0, "print so many records at most; 0 is all")
	return cmd
}

func (a *app) newConvert() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "convert [FILE]",
		Short: "Print the configuration as YAML if it is JSON, and as JSON if it is YAML",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return oneArg("the file")(cmd, args)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			path := a.config
			if len(args) > 0 {
				path = args[0]
			}
			text, err := agent.Convert(path)
			if err != nil {
				return err
			}
			if output != "" {
				return writeNew(output, text)
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this file, which must not exist")
	return cmd
}

// writeNew makes a file that only its owner may read: there may be keys in it.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w; name a new file in a directory that this user may write", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
