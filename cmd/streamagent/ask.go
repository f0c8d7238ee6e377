package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
)

// errNoAgent means that nobody answers on the socket.
var errNoAgent = errors.New("no agent answers")

// errPending means that a file is not delivered.
var errPending = errors.New("not delivered yet")

// askTimeout bounds one question to a running agent.
const askTimeout = 10 * time.Second

// ask gets a path of the running agent's socket and decodes the answer into v.
func (a *app) ask(ctx context.Context, cfg *agent.Config, path string, v any) error {
	socket := a.socketPath(cfg)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://streamagent"+path, http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s; start it, or name its socket with --socket", errNoAgent, socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("may not ask the agent on %s; run as its user or as root", socket)
	case err != nil:
		return fmt.Errorf("ask the agent on %s: %w", socket, err)
	}
	defer func() { _ = res.Body.Close() }() // read or given up
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("ask the agent on %s: %w", socket, err)
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(strings.TrimPrefix(strings.TrimSpace(string(body)), "agent: "))
	}
	return json.Unmarshal(body, v)
}

// load loads the configuration for a command that does not run the agent.
func (a *app) load() (*agent.Config, error) {
	cfg, _, err := agent.LoadConfig(a.config)
	return cfg, err
}

// loadToAsk is load for a command that asks the running agent. If --socket names it,
// a configuration that cannot be read is in the way of nothing: it is nil, and why is
// for the one who needs it after all.
func (a *app) loadToAsk() (cfg *agent.Config, why, err error) {
	if cfg, err = a.load(); err != nil && a.socket != "" && a.socket != noSocket {
		return nil, err, nil
	}
	return cfg, nil, err
}

func (a *app) newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running agent does",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := a.loadToAsk()
			if err != nil {
				return err
			}
			if asJSON {
				var raw json.RawMessage
				if err := a.ask(cmd.Context(), cfg, "/status", &raw); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s\n", raw)
				return err
			}
			var s agent.Status
			if err := a.ask(cmd.Context(), cfg, "/status", &s); err != nil {
				return err
			}
			return a.printStatus(&s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything, as JSON")
	return cmd
}

func (a *app) printStatus(s *agent.Status) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, f := range s.Flows {
		lost := uint64(0)
		for _, n := range f.LostBytes {
			lost += n
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d sent\t%d bytes behind\t%d bytes lost\n", f.ID, f.State, f.AckedRecords, f.BehindBytes, lost)
		if f.LastError != "" {
			_, _ = fmt.Fprintf(w, "  %s\n", f.LastError)
		}
		for _, g := range f.Files {
			_, _ = fmt.Fprintf(w, "  %s\t\t%d of %d bytes\t\t\n", g.Path, g.Committed, g.Size)
		}
	}
	if s.CheckpointError != "" {
		_, _ = fmt.Fprintf(w, "positions cannot be stored: %s\n", s.CheckpointError)
	}
	if s.ConfigError != "" {
		_, _ = fmt.Fprintf(w, "the last change of the configuration was not taken: %s\n", s.ConfigError)
	}
	return w.Flush() // which has the error of the writes before
}

func (a *app) newDrained() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "drained FILE...",
		Short: "Say whether files are wholly delivered; the exit code is 0 only if all are",
		Long: "Drained says whether every byte of the files is acknowledged by the stream, and exits with 0 only\n" +
			"then; with 2 if some are not, and with 1 if that cannot be said. A FILE may be a pattern. It asks\n" +
			"the running agent, or reads the checkpoint file if none runs.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no file is named; name one, as in \"streamagent drained /var/log/app/app.log.1\"")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, why, err := a.loadToAsk()
			if err != nil {
				return err
			}
			files, err := expand(args)
			if err != nil {
				return err
			}
			deadline := time.Now().Add(wait)
			for {
				pending, err := a.pending(cmd.Context(), cfg, why, files)
				if err != nil || len(pending) == 0 {
					return err
				}
				if time.Until(deadline) <= 0 {
					for _, d := range pending {
						_, _ = fmt.Fprintf(a.errOut, "%s: %d of %d bytes are not delivered by flow %s\n", d.Path, d.Pending, d.Size, d.Flow)
					}
					return errPending
				}
				if !pause(cmd.Context(), 200*time.Millisecond) {
					return cmd.Context().Err()
				}
			}
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for the rest, as in 30s")
	return cmd
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// expand returns the files that the arguments name. A pattern that names none is
// an error: what is not there is not delivered.
func expand(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		names := []string{arg}
		if strings.ContainsAny(arg, "*?[") {
			var err error
			if names, err = filepath.Glob(arg); err != nil {
				return nil, fmt.Errorf("pattern %q: %w", arg, err)
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("no file matches %q", arg)
			}
		}
		for _, name := range names {
			abs, err := filepath.Abs(name)
			if err != nil {
				return nil, err
			}
			files = append(files, abs)
		}
	}
	return files, nil
}

// pending returns the files that are not wholly delivered. Without a configuration,
// unread says why there is none.
func (a *app) pending(ctx context.Context, cfg *agent.Config, unread error, files []string) (out []agent.Delivery, err error) {
	for _, file := range files {
		var d agent.Delivery
		err := a.ask(ctx, cfg, "/drained?path="+url.QueryEscape(file), &d)
		if errors.Is(err, errNoAgent) && cfg == nil {
			return nil, errors.Join(err, unread)
		}
		if errors.Is(err, errNoAgent) {
			d, err = agent.ReadDelivery(cfg, file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if !d.Drained() {
			out = append(out, d)
		}
	}
	return out, nil
}
