package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/explain"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/follow"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
)

// tailOptions are the flags of "tail".
type tailOptions struct {
	from          string
	untilCaughtUp bool
	limit         int
	asJSON, long  bool
	raw, all      bool
}

func (a *app) newTail() *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail STREAM",
		Short: "Print the records of a stream as they come",
		Long: `Print the records of a stream, one a line, from all shards; through splits and
merges, a shard's parents before itself. Aggregated records are taken apart.

A record that is not printable text is printed as a quoted string. With --json
each line is an object; bytes that are not text are then in "dataBase64".

--from is trim_horizon, latest, or a time: RFC 3339, or how long ago (15m).`,
		Example: "  streamctl tail orders\n  streamctl tail orders --from trim_horizon --until-caught-up --json\n  streamctl tail orders --from 10m --limit 100",
		Args:    exactArgs("STREAM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.tail(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "latest", "where to start: trim_horizon, latest or a time")
	f.BoolVar(&o.untilCaughtUp, "until-caught-up", false, "end when every shard was read to its end")
	f.IntVar(&o.limit, "limit", 0, "end after this many records")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVarP(&o.long, "long", "l", false, "print arrival time, shard, sequence number and key before the data")
	f.BoolVar(&o.raw, "raw", false, "do not take aggregated records apart")
	f.BoolVar(&o.all, "all", false, "also print copies that consumers leave out: of records put across a reshard")
	cmd.MarkFlagsMutuallyExclusive("json", "long")
	return cmd
}

func (a *app) tail(ctx context.Context, stream string, o tailOptions) error {
	cfg := follow.Config{UntilCaughtUp: o.untilCaughtUp, Raw: o.raw, KeepAll: o.all}
	var err error
	if cfg.From, cfg.Timestamp, err = parseFrom(o.from, time.Now()); err != nil {
		return err
	}
	if o.limit < 0 {
		return fmt.Errorf("--limit %d: write a number from 1", o.limit)
	}
	a.about.Stream = stream
	k, err := a.kinesis(ctx)
	if err != nil {
		return err
	}
	if a.about.Where.Loopback() {
		cfg.Poll = 100 * time.Millisecond // no limit of five reads a second here
	}
	cfg.Warn = func(id string, err error) {
		fmt.Fprintf(a.err, "streamctl: reading %s is held up, and goes on by itself: %s\n", id, explain.Sentence(err, a.about))
	}
	out := bufio.NewWriterSize(a.out, 64<<10)
	printed := 0
	err = follow.Stream(ctx, k, stream, cfg, func(rs []follow.Record) error {
		for i := range rs {
			if err := printRecord(out, stream, &rs[i], o); err != nil {
				return err
			}
			if printed++; printed == o.limit {
				if err := out.Flush(); err != nil {
					return err
				}
				return follow.ErrStop
			}
		}
		return out.Flush() // a person may be watching
	})
	if ctx.Err() != nil {
		return nil // ctrl-C is how a tail ends
	}
	return err
}

// parseFrom reads the value of --from.
func parseFrom(text string, now time.Time) (types.ShardIteratorType, time.Time, error) {
	switch strings.ToLower(text) {
	case "trim_horizon":
		return types.ShardIteratorTypeTrimHorizon, time.Time{}, nil
	case "latest":
		return types.ShardIteratorTypeLatest, time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return types.ShardIteratorTypeAtTimestamp, t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return types.ShardIteratorTypeAtTimestamp, now.Add(-d), nil
	}
	return "", time.Time{}, fmt.Errorf("--from %q is none of trim_horizon, latest, a time like %s, a duration like 15m", text, now.UTC().Format(time.RFC3339))
}

// recordJSON is the JSON form of a record.
type recordJSON struct {
	Stream            string  `json:"stream"`
	ShardID           string  `json:"shardId"`
	SequenceNumber    string  `json:"sequenceNumber"`
	SubSequenceNumber int     `json:"subSequenceNumber"`
	Aggregated        bool    `json:"aggregated"`
	PartitionKey      string  `json:"partitionKey"`
	ExplicitHashKey   string  `json:"explicitHashKey,omitempty"`
	OutOfRange        bool    `json:"outOfRange,omitempty"`
	Arrival           string  `json:"approximateArrivalTimestamp"`
	Data              *string `json:"data,omitempty"`
	DataBase64        []byte  `json:"dataBase64,omitempty"`
}

func printRecord(w *bufio.Writer, stream string, r *follow.Record, o tailOptions) error {
	arrival := r.Arrival.UTC().Format("2006-01-02T15:04:05.000Z")
	switch {
	case o.asJSON:
		j := recordJSON{
			Stream: stream, ShardID: r.ShardID, SequenceNumber: r.SequenceNumber, SubSequenceNumber: r.SubSequenceNumber,
			Aggregated: r.Aggregated, PartitionKey: r.PartitionKey, ExplicitHashKey: r.ExplicitHashKey, OutOfRange: r.OutOfRange, Arrival: arrival,
		}
		if utf8.Valid(r.Data) {
			text := string(r.Data)
			j.Data = &text
		} else {
			j.DataBase64 = r.Data
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(j)
	case o.long:
		if _, err := fmt.Fprintf(w, "%s %s %s/%d %s ", arrival, shard.Short(r.ShardID), r.SequenceNumber, r.SubSequenceNumber, printable([]byte(r.PartitionKey))); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(w, printable(r.Data)); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

// printable returns data as one line that cannot upset a terminal: as it is,
// less one line end, or else quoted.
func printable(data []byte) string {
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	for _, c := range text {
		if c == utf8.RuneError || (c != '\t' && !unicode.IsPrint(c)) {
			return strconv.Quote(string(data))
		}
	}
	return text
}
