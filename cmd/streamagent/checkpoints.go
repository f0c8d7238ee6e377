package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

func (a *app) newCheckpoints() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoints",
		Short: "Look at, set, forget, export and import the positions in files",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("what to do with them is missing; \"%s --help\" lists the commands", cmd.CommandPath())
		},
	}
	cmd.AddCommand(a.newCheckpointsList(), a.newCheckpointsShow(), a.newCheckpointsSet(), a.newCheckpointsReset(),
		a.newCheckpointsExport(), a.newCheckpointsImport())
	return cmd
}

func (a *app) newCheckpointsList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the positions, as a running agent has them or as they are stored",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, why, err := a.loadToAsk()
			if err != nil {
				return err
			}
			list, err := a.checkpoints(cmd.Context(), cfg, why)
			if err != nil {
				return err
			}
			if asJSON {
				return encodeLines(a.out, list)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "FLOW\tPATH\tOFFSET\tSIZE\tSTATE\tUPDATED")
			for _, c := range list {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", c.Flow, c.Path, c.Offset, c.Size, c.State, c.Updated.Format(time.RFC3339))
			}
			return w.Flush() // which has the error of the writes before
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return cmd
}

// checkpoints returns the positions, as a running agent has them or as they are
// stored. Without a configuration, unread says why there is none.
func (a *app) checkpoints(ctx context.Context, cfg *agent.Config, unread error) (list []agent.Checkpoint, err error) {
	err = a.ask(ctx, cfg, "/checkpoints", &list)
	if errors.Is(err, errNoAgent) && cfg == nil {
		return nil, errors.Join(err, unread)
	}
	if errors.Is(err, errNoAgent) {
		list, err = agent.ReadCheckpoints(vfs.OS, checkpointFile(cfg))
	}
	return list, err
}

// encodeLines writes a line of JSON for each of list.
func encodeLines[T any](w io.Writer, list []T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) newCheckpointsShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show the positions of a file, and whether it still is the one that they are of",
		Args:  oneArg("the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			list, err := a.checkpoints(cmd.Context(), cfg, nil)
			if err != nil {
				return err
			}
			now, nowErr := agent.FileIDOf(vfs.OS, path)
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			found := false
			for _, c := range list {
				if c.Path != path && (nowErr != nil || c.FileID != now) {
					continue
				}
				found = true
				is := "this is the file"
				switch {
				case nowErr != nil:
					is = nowErr.Error()
				case c.FileID != now:
					is = "another file has the name now: " + now
				case c.Path != path:
					is = "it has the name " + path + " now"
				}
				_, _ = fmt.Fprintf(w, "flow\t%s\npath\t%s\nfile\t%s, %s\noffset\t%d of %d\nstate\t%s\nupdated\t%s\n\n",
					c.Flow, c.Path, c.FileID, is, c.Offset, c.Size, c.State, c.Updated.Format(time.RFC3339))
			}
			if err := w.Flush(); err != nil { // which has the error of the writes before
				return err
			}
			if !found {
				return fmt.Errorf("there is no position of %s; \"streamagent checkpoints list\" shows all", path)
			}
			return nil
		},
	}
}

func (a *app) newCheckpointsSet() *cobra.Command {
	var flow string
	cmd := &cobra.Command{
		Use:   "set FILE OFFSET|start|end",
		Short: "Set the position in a file; the agent must not run",
		Long: "Set makes an offset the position in a file: what is before it is not read again, what is behind it\n" +
			"is. A line must begin there; \"start\" is the beginning of the file, \"end\" is behind its last whole\n" +
			"line. Every flow that reads the file has it, or the one that is named. The agent must not run.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return fmt.Errorf("%q takes two arguments, the file and the offset; \"%s --help\" shows how it is used", cmd.CommandPath(), cmd.CommandPath())
		},
		RunE: func(_ *cobra.Command, args []string) error {
			offset := int64(agent.LastLine)
			switch args[1] {
			case "end":
			case "start":
				offset = 0
			default:
				var err error
				if offset, err = strconv.ParseInt(args[1], 10, 64); err != nil || offset < 0 {
					return fmt.Errorf("offset %q is neither a number of bytes nor \"start\" or \"end\"", args[1])
				}
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			list, err := agent.SetCheckpoint(cfg, flow, args[0], offset)
			if err != nil {
				return err
			}
			for _, c := range list {
				if _, err := fmt.Fprintf(a.out, "%s %s is at %d of %d bytes\n", c.Flow, c.Path, c.Offset, c.Size); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&flow, "flow", "", "only of the flow with this id")
	return cmd
}

func (a *app) newCheckpointsExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Print the positions as lines of JSON that import reads",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			list, err := a.checkpoints(cmd.Context(), cfg, nil)
			if err != nil {
				return err
			}
			return encodeLines(a.out, agent.ExportCheckpoints(list))
		},
	}
}

func (a *app) newCheckpointsReset() *cobra.Command {
	var (
		flow string
		all  bool
	)
	cmd := &cobra.Command{
		Use:   "reset [FILE...]",
		Short: "Forget the positions of files, of a flow, or all; the agent must not run",
		Long: "Reset forgets positions. A flow that has others left reads the files from their beginning; one that\n" +
			"has none left does as on its first start, by initialPosition. The agent must not run.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && flow == "" && !all {
				return errors.New("nothing is named; name files, a flow with --flow, or --all")
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			paths := make(map[string]bool)
			for _, arg := range args {
				abs, err := filepath.Abs(arg)
				if err != nil {
					return err
				}
				paths[abs] = true
			}
			n, err := agent.ResetCheckpoints(vfs.OS, checkpointFile(cfg), func(c agent.Checkpoint) bool {
				return all || (flow == "" || c.Flow == flow) && (len(paths) == 0 || paths[c.Path])
			})
			if err == nil && n == 0 {
				err = errors.New("no position is like that; see them with \"streamagent checkpoints list\"")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%d positions are forgotten\n", n)
			return err
		},
	}
	cmd.Flags().StringVar(&flow, "flow", "", "only of the flow with this id")
	cmd.Flags().BoolVar(&all, "all", false, "all positions")
	return cmd
}

func (a *app) newCheckpointsImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Take over positions that export, or javaimport of the official agent's, has printed; the agent must not run",
		Args:  oneArg("the file, or - for the standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := openFile(args[0])
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }() // it was only read
				in = f
			}
			var rows []agent.Import
			dec := json.NewDecoder(in)
			dec.DisallowUnknownFields()
			for {
				var row agent.Import
				if err := dec.Decode(&row); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return fmt.Errorf("%s is not what export or javaimport prints: %w; a SQLite file must go through javaimport first", args[0], err)
				}
				rows = append(rows, row)
			}
			result, err := agent.ImportCheckpoints(cfg, rows)
			if err != nil {
				return err
			}
			refused := 0
			for _, r := range result {
				if r.Refused != "" {
					refused++
					_, _ = fmt.Fprintf(a.out, "refused   %s %s: %s\n", r.Flow, r.Path, r.Refused)
					continue
				}
				_, _ = fmt.Fprintf(a.out, "imported  %s %s at %d\n", r.Flow, r.Path, r.Offset)
			}
			_, err = fmt.Fprintf(a.out, "%d imported, %d refused\n", len(result)-refused, refused)
			return err
		},
	}
}
