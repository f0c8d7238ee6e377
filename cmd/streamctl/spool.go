package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

func (a *app) newSpool() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "spool",
		Short: "Look into the disk spool of a producer, or send what one has left",
		Long: `A producer with a spool keeps records in a directory while its stream does not
take them. The next producer on the directory sends them; these commands show what
is there, and send it where no producer will.`,
	})
	cmd.AddCommand(a.newSpoolLs(), a.newSpoolCat(), a.newSpoolReplay())
	return cmd
}

// spoolIdentity returns what the directory is; an error says that it is no spool.
func spoolIdentity(dir string) (spool.Identity, error) {
	id, err := spool.ReadIdentity(vfs.OS, dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is not the directory of a spool: name the one that Spool.Dir of the producer has", dir)
	}
	return id, err
}

// spoolListing is the JSON form of a spool.
type spoolListing struct {
	Stream       string         `json:"stream"`
	Segments     []spoolSegment `json:"segments"`
	Records      int64          `json:"records"`
	Acknowledged int64          `json:"acknowledged"`
	Bytes        int64          `json:"bytes"`
}

type spoolSegment struct {
	Name         string     `json:"name"`
	Records      int64      `json:"records"`
	Acknowledged int64      `json:"acknowledged"`
	Bytes        int64      `json:"bytes"`
	Oldest       *time.Time `json:"oldest,omitempty"`
	Newest       *time.Time `json:"newest,omitempty"`
	Missing      int64      `json:"missing,omitempty"` // records that the file has lost
	Fault        string     `json:"fault,omitempty"`
}

func (a *app) newSpoolLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls DIR",
		Short: "Show the files of a spool: records, bytes, age, what is acknowledged",
		Long: `Show the files of a spool in the order in which they will be sent. A producer may
be using the directory. Acknowledged records have been stored, or have failed; the
file goes when all of its records have.`,
		Args: exactArgs("DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return a.spoolLs(args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) spoolLs(dir string, asJSON bool) error {
	id, err := spoolIdentity(dir)
	if err != nil {
		return err
	}
	segs, err := spool.Inspect(vfs.OS, dir, nil)
	if err != nil {
		return err
	}
	l := spoolListing{Stream: id.Stream, Segments: []spoolSegment{}}
	rows := newTable("SEGMENT", "RECORDS", "ACKNOWLEDGED", "BYTES", "AGE", "STATE")
	for _, s := range segs {
		l.Records += s.Records
		l.Acknowledged += s.Acked
		l.Bytes += s.Bytes
		j := spoolSegment{Name: s.Name, Records: s.Records, Acknowledged: s.Acked, Bytes: s.Bytes}
		age, state := "-", "whole"
		if !s.Oldest.IsZero() {
			j.Oldest, j.Newest = &s.Oldest, &s.Newest
			age = time.Since(s.Oldest).Round(time.Second).String()
		}
		if s.Missing > 0 {
			j.Missing = s.Missing
			state = "has lost " + count(int(s.Missing), "record")
		}
		if s.Fault != nil {
			j.Fault = s.Fault.Error()
			state = j.Fault
		}
		l.Segments = append(l.Segments, j)
		rows.row(s.Name, fmt.Sprint(s.Records), fmt.Sprint(s.Acked), fmt.Sprint(s.Bytes), age, state)
	}
	if asJSON {
		return a.printJSON(l)
	}
	if len(segs) > 0 {
		if err := rows.write(a.out); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "%s for stream %s, %d of them acknowledged\n", count(int(l.Records), "record"), l.Stream, l.Acknowledged)
	return nil
}

func (a *app) newSpoolCat() *cobra.Command {
	var raw, all bool
	cmd := &cobra.Command{
		Use:   "cat DIR",
		Short: "Print the records of a spool that are not acknowledged",
		Long: `Print the records of a spool that are not acknowledged, in the order in which they
will be sent: a line of JSON for each, with the data in base64, or with --raw the data
alone, each followed by a line end. Files that were put aside as damaged come last,
as far as they can be read.`,
		Args: exactArgs("DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return a.spoolCat(args[0], raw, all) },
	}
	f := cmd.Flags()
	f.BoolVar(&raw, "raw", false, "print the data alone")
	f.BoolVar(&all, "all", false, "print acknowledged records, too")
	return cmd
}

// spoolRecord is the JSON form of a record.
type spoolRecord struct {
	Segment         string    `json:"segment"`
	Number          uint64    `json:"number"`
	Time            time.Time `json:"time"`
	PartitionKey    string    `json:"partitionKey,omitempty"`
	ExplicitHashKey string    `json:"explicitHashKey,omitempty"`
	Acknowledged    bool      `json:"acknowledged,omitempty"`
	Data            []byte    `json:"data"`
}

func (a *app) spoolCat(dir string, raw, all bool) error {
	if _, err := spoolIdentity(dir); err != nil {
		return err
	}
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	segs, err := spool.Inspect(vfs.OS, dir, func(r *spool.Record) error {
		if r.Acked && !all {
			return nil
		}
		if raw {
			_, err := fmt.Fprintf(a.out, "%s\n", r.Data)
			return err
		}
		j := spoolRecord{Segment: r.Segment, Number: r.Number, Time: r.Time.UTC(), PartitionKey: r.PartitionKey, Acknowledged: r.Acked, Data: r.Data}
		if r.Explicit {
			j.ExplicitHashKey = r.Hash.String()
		}
		return enc.Encode(j)
	})
	for _, s := range segs {
		switch {
		case s.Fault != nil:
			fmt.Fprintf(a.err, "streamctl: %s could not be read to its end: %v\n", s.Name, s.Fault)
		case s.Missing > 0:
			fmt.Fprintf(a.err, "streamctl: %s has lost %s\n", s.Name, count(int(s.Missing), "record"))
		}
	}
	return err
}

// spoolReplayOptions are the flags of "spool replay".
type spoolReplayOptions struct {
	stream  string
	dryRun  bool
	timeout time.Duration
}

func (a *app) newSpoolReplay() *cobra.Command {
	var o spoolReplayOptions
	cmd := &cobra.Command{
		Use:   "replay DIR",
		Short: "Send what a dead producer has left in its spool",
		Long: `Send the records of a spool that are not acknowledged to their stream, in their
order, and remove them. No producer may be using the directory. What cannot be sent
in the time given stays there.`,
		Example: "  streamctl spool replay /var/spool/orders --dry-run\n  streamctl spool replay /var/spool/orders",
		Args:    exactArgs("DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.spoolReplay(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.stream, "stream", "", "name or ARN of the stream, if the directory does not say it")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be sent, and send nothing")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to try")
	return cmd
}

func (a *app) spoolReplay(ctx context.Context, dir string, o spoolReplayOptions) error {
	id, err := spoolIdentity(dir)
	if err != nil {
		return err
	}
	stream := o.stream
	if stream == "" {
		stream = id.Stream
	}
	if stream == "" {
		return fmt.Errorf("%s does not say which stream its records are for: name it with --stream", dir)
	}
	a.about.Stream = stream
	segs, err := spool.Inspect(vfs.OS, dir, nil)
	if err != nil {
		return err
	}
	var left, bytes int64
	for _, s := range segs {
		if !strings.HasSuffix(s.Name, ".damaged") {
			left += s.Records - s.Acked
			bytes += s.Bytes
		}
	}
	if o.dryRun {
		fmt.Fprintf(a.out, "would send %s, from files of %s, to stream %s\n", count(int(left), "record"), count(int(bytes), "byte"), stream)
		return nil
	}
	k, err := a.kinesis(ctx)
	if err != nil {
		return err
	}
	in := &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)}
	if strings.HasPrefix(stream, "arn:") {
		in = &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(stream)}
	}
	if _, err := k.DescribeStreamSummary(ctx, in); err != nil {
		return err
	}
	p, err := producer.New(k, stream, producer.Config{
		Spool: producer.SpoolConfig{Dir: dir},
		// As large as any producer can have put.
		MaxUserRecordSize: 10 << 20,
		Logger:            slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err = p.Close(ctx)
	s := p.Stats()
	fmt.Fprintf(a.out, "sent %s to stream %s at %s\n", count(int(s.UserRecordsPut), "record"), stream, a.about.Where)
	if unsent, ok := errors.AsType[*producer.UnsentError](err); ok {
		return fmt.Errorf("%s could not be sent in %v, and stay in %s: %w", count(int(unsent.Spooled), "record"), o.timeout, dir, err)
	}
	if err == nil && s.UserRecordsFailed > 0 {
		err = fmt.Errorf("%s were refused by the stream", count(int(s.UserRecordsFailed), "record"))
	}
	if err == nil && s.SpoolDamaged > 0 {
		err = fmt.Errorf("%s damaged, and put aside: see \"streamctl spool ls %s\"", count(int(s.SpoolDamaged), "file"), dir)
	}
	if err == nil && s.SpoolMissing > 0 {
		err = fmt.Errorf("%s missing: a file in %s was cut short, or was not on the disk yet when the machine lost its power", count(int(s.SpoolMissing), "record"), dir)
	}
	return err
}
