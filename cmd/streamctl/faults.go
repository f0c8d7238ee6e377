package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// defaultAdmin is the admin address of streamd on this machine.
const defaultAdmin = "127.0.0.1:4568"

// faultTimeout bounds a call of the admin address, which answers at once.
const faultTimeout = 10 * time.Second

// faultAdmin is the admin address of a server.
type faultAdmin struct{ addr string }

func (a *app) newFaults() *cobra.Command {
	var at faultAdmin
	cmd := group(&cobra.Command{
		Use:   "faults",
		Short: "Have requests to streamd fail by rule",
		Long: `Have requests to streamd fail by rule, to see what its clients make of it. The
server must have been started with --enable-faults. The rules are tried in their
order: a latency is added to those before it, any other fault that fires ends
the search.`,
	})
	cmd.PersistentFlags().StringVar(&at.addr, "admin", defaultAdmin, "admin address of the server")
	cmd.AddCommand(a.newFaultsList(&at), a.newFaultsAdd(&at), a.newFaultsRemove(&at), a.newFaultsClear(&at))
	return cmd
}

func (a *app) newFaultsList(at *faultAdmin) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Show the rules, and how often each was at work",
		Example: "  streamctl faults list",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rules []map[string]any
			if err := at.call(cmd.Context(), http.MethodGet, "/faults", nil, &rules); err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(rules)
			}
			if len(rules) == 0 {
				_, err := fmt.Fprintf(a.err, "no fault rules at %s: add one with \"streamctl faults add KIND\"\n", at.addr)
				return err
			}
			return a.printFaults(rules)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// The members of a rule by the column that shows them, in their order.
var (
	faultMatch = []string{"service", "operation", "stream", "shard", "consumer"}
	faultWhen  = []string{"probability", "every", "first", "max", "after", "for", "seed"}
	faultHow   = []string{"latency", "share", "code", "message", "status", "events", "lifetime", "reset"}
)

func (a *app) printFaults(rules []map[string]any) error {
	t := newTable("ID", "KIND", "REQUESTS", "WHEN", "HOW", "MATCHED", "INJECTED")
	for _, r := range rules {
		cells := []string{fmt.Sprint(r["id"]), fmt.Sprint(r["kind"]), members(r, faultMatch, "all"), members(r, faultWhen, "always"), members(r, faultHow, "-")}
		t.row(append(cells, fmt.Sprint(r["matched"]), fmt.Sprint(r["injected"]))...)
	}
	return t.write(a.out)
}

// members writes those of a rule that it has.
func members(r map[string]any, names []string, none string) string {
	var words []string
	for _, name := range names {
		if v, ok := r[name]; ok {
			words = append(words, fmt.Sprintf("%s=%v", name, v))
		}
	}
	if words == nil {
		return none
	}
	return strings.Join(words, " ")
}

// number writes a flag of a number as JSON: the server says what is wrong with
// one that is none.
func number(s string) any {
	if _, err := strconv.ParseFloat(s, 64); err == nil && json.Valid([]byte(s)) {
		return json.Number(s)
	}
	return s
}

func word(s string) any { return s }

func (a *app) newFaultsAdd(at *faultAdmin) *cobra.Command {
	rule := make(map[string]any)
	cmd := &cobra.Command{
		Use:   "add KIND",
		Short: "Add a rule, and print its id",
		Long: `Add a rule behind those that are there, and print its id. KIND is one of

  throttle          refuse as coming too fast
  internal          500 InternalFailure
  unavailable       503 ServiceUnavailable
  latency           delay by --latency 50ms, or by 50ms..200ms
  partial           have a --share of the records of PutRecords fail
  reply-lost        carry the request out, then cut the connection
  cut               cut the connection before the request is carried out
  expired-iterator  have GetRecords answer that its iterator has expired
  fan-out-cut       end subscriptions after --events or a --lifetime
  error             answer with --code, --message and --status

The flags that say which requests and when must all hold.`,
		Example: `  streamctl faults add throttle --operation 'Put*' --stream orders --probability 0.2
  streamctl faults add reply-lost --operation PutRecords --every 20 --max 5
  streamctl faults add latency --latency 50ms..200ms --for 1m`,
		Args: exactArgs("KIND"),
		RunE: func(cmd *cobra.Command, args []string) error {
			rule["kind"] = args[0]
			body, err := json.Marshal(rule)
			if err != nil {
				return err
			}
			var added []map[string]any
			if err := at.call(cmd.Context(), http.MethodPost, "/faults", body, &added); err != nil {
				return err
			}
			for _, r := range added {
				if _, err := fmt.Fprintln(a.out, r["id"]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	for _, flag := range []struct {
		name, kind, usage string
		value             func(string) any
	}{
		{"id", "NAME", "name of the rule (default fault-1 and so on)", word},
		{"service", "NAME", "only requests of kinesis, or of dynamodb", word},
		{"operation", "PATTERN", "only these operations: PutRecords, or Put*", word},
		{"stream", "PATTERN", "only this stream or table: orders, or orders-*", word},
		{"shard", "SHARD", "only this shard: shardId-000000000001, or 1", word},
		{"consumer", "PATTERN", "only this consumer of fan-out", word},
		{"probability", "SHARE", "for this share of them, such as 0.2", number},
		{"every", "N", "for each Nth of them", number},
		{"first", "N", "for the first N of them", number},
		{"max", "N", "no more than N times", number},
		{"after", "TIME", "not before this time has passed, such as 30s", word},
		{"for", "TIME", "for this long, such as 1m", word},
		{"seed", "N", "number that decides what is left to chance (default: made of the id)", number},
		{"latency", "TIME", "latency: the delay, 50ms, or one between two, 50ms..200ms", word},
		{"share", "SHARE", "partial: share of the records that fail, such as 0.3", number},
		{"code", "CODE", "error, partial: name of the error", word},
		{"message", "TEXT", "error, partial: its text", word},
		{"status", "N", "error: its HTTP status (default 400)", number},
		{"events", "N", "fan-out-cut: how many events are sent", number},
		{"lifetime", "TIME", "fan-out-cut: how long a subscription lives", word},
	} {
		f.Var(&faultFlag{rule: rule, name: flag.name, kind: flag.kind, value: flag.value}, flag.name, flag.usage)
	}
	f.Var(&faultFlag{rule: rule, name: "reset", kind: "bool", value: func(s string) any { return s != "false" }}, "reset", "fan-out-cut: break the connection, not end as usual")
	f.Lookup("reset").NoOptDefVal = "true"
	return cmd
}

// faultFlag is a flag, a pflag.Value, that becomes a member of a rule.
type faultFlag struct {
	rule       map[string]any
	name, kind string
	value      func(string) any
}

func (f *faultFlag) Set(s string) error {
	f.rule[f.name] = f.value(s)
	return nil
}

func (f *faultFlag) String() string { return "" }
func (f *faultFlag) Type() string   { return f.kind }

func (a *app) newFaultsRemove(at *faultAdmin) *cobra.Command {
	return &cobra.Command{
		Use:     "remove ID",
		Short:   "Remove a rule",
		Example: "  streamctl faults remove fault-1",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.call(cmd.Context(), http.MethodDelete, "/faults/"+url.PathEscape(args[0]), nil, nil)
		},
	}
}

func (a *app) newFaultsClear(at *faultAdmin) *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Remove all rules",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer struct{ Removed int }
			if err := at.call(cmd.Context(), http.MethodDelete, "/faults", nil, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.err, "removed %d rules\n", answer.Removed)
			return err
		},
	}
}

// call asks the admin address and reads its answer, unless out is nil. Errors
// say what to do.
func (at *faultAdmin) call(ctx context.Context, method, path string, body []byte, out any) error {
	base := at.addr
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" {
		return fmt.Errorf("--admin %q is no address: write one such as %s", at.addr, defaultAdmin)
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+u.Host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at the admin address %s: start the server with \"streamd --enable-faults\", or name its admin address with --admin", u.Host)
	case err != nil:
		return fmt.Errorf("the admin address %s does not answer: %w: check --admin", u.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %w: try again", u.Host, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var refused struct{ Error string }
		if json.Unmarshal(b, &refused) == nil && refused.Error != "" {
			return errors.New(strings.TrimPrefix(refused.Error, "faults: "))
		}
		return notAdmin(u.Host)
	}
	if out == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return notAdmin(u.Host)
	}
	return nil
}

func notAdmin(host string) error {
	return fmt.Errorf("%s does not answer as the admin address of streamd: check --admin; the address is printed when the server starts, behind \"metrics:\"", host)
}
