package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/streamd"
)

// dataFlag adds --data to a command. dir returns the directory that it names,
// or that of the server.
func dataFlag(cmd *cobra.Command, env func(string) (string, bool)) (dir func() (string, error)) {
	var data string
	cmd.Flags().StringVar(&data, "data", "", "data directory (default: that of streamd)")
	return func() (string, error) {
		if v, ok := env(envName("data")); ok && data == "" {
			data = v
		}
		return dataDir(data, env)
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func newCheck(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for damage in a data directory that no server uses",
		Long: `Read all of a data directory that no server uses, and change nothing in it: its
identity, the snapshots, the files of records, the journal. A line for each thing
that is found, with its file and byte, and a summary. A note is nothing wrong.

The exit code is 0 if all is well, 3 if something is damaged, and 1 if the
directory cannot be looked at.`,
		Example: `  streamd check
  streamd check --data /var/lib/streamd --json`,
		Args: cobra.NoArgs,
	}
	dir := dataFlag(cmd, env)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		name, err := dir()
		if err != nil {
			return err
		}
		report, err := streamd.Check(name)
		if err != nil {
			return err
		}
		if *asJSON {
			if err := printJSON(cmd.OutOrStdout(), report); err != nil {
				return err
			}
		} else {
			fmt.Fprint(cmd.OutOrStdout(), report)
		}
		if !report.Clean {
			return fmt.Errorf("%w; restore a copy with streamd restore, or see what streamd repair would do", streamd.ErrCorrupt)
		}
		return nil
	}
	return cmd
}

func newRepair(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Make a damaged data directory one that a server starts from",
		Long: `Say what a repair of a data directory would do, and what would be lost by it; with
--apply, do it. Nothing is thrown away: what is taken out goes to the folder "lost"
of the directory first. A repair that was cut off is begun again.

A copy from streamd snapshot is the better way, if there is one.`,
		Example: `  streamd repair --data /var/lib/streamd
  streamd repair --data /var/lib/streamd --apply`,
		Args: cobra.NoArgs,
	}
	dir := dataFlag(cmd, env)
	apply := cmd.Flags().Bool("apply", false, "do it")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		name, err := dir()
		if err != nil {
			return err
		}
		plan, err := streamd.Repair(name, *apply)
		if plan == nil {
			return err
		}
		switch {
		case *asJSON:
			err = errors.Join(err, printJSON(cmd.OutOrStdout(), plan))
		default:
			fmt.Fprint(cmd.OutOrStdout(), plan)
		}
		if err == nil && !*apply && len(plan.Steps) > 0 && !*asJSON {
			fmt.Fprintln(cmd.OutOrStdout(), "nothing was done; say --apply to do it")
		}
		return err
	}
	return cmd
}

func newDump(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump [records|journal|state]",
		Short: "Print what a data directory holds, as JSON lines",
		Long: `Print what a data directory holds that no server uses, as JSON lines, and change
nothing in it: the records of each shard in order, with their data in base64; the
frames of the journal behind the last snapshot; or streams, shards and tables. Of a
damaged directory what is whole is printed, and what is not is told on standard
error.`,
		Example: `  streamd dump records --stream orders > orders.jsonl
  streamd dump state --data /var/lib/streamd`,
		ValidArgs: []string{"records", "journal", "state"},
		Args:      cobra.MaximumNArgs(1),
	}
	dir := dataFlag(cmd, env)
	var o streamd.DumpOptions
	cmd.Flags().StringVar(&o.Stream, "stream", "", "only the records of this stream")
	cmd.Flags().StringVar(&o.Shard, "shard", "", "only the records of this shard, such as shardId-000000000000")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("say what to dump: records, journal or state")
		}
		name, err := dir()
		if err != nil {
			return err
		}
		o.What = args[0]
		if o.What != "records" && (o.Stream != "" || o.Shard != "") {
			return fmt.Errorf("--stream and --shard choose records; dump %s has none", o.What)
		}
		o.Skipped = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
		return streamd.Dump(name, cmd.OutOrStdout(), o)
	}
	return cmd
}

func newSnapshot(env func(string) (string, bool)) *cobra.Command {
	admin := streamd.DefaultAdmin
	if v, ok := env(envName("admin")); ok {
		admin = v
	}
	var out string
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Take a copy of what a running server has stored",
		Long: `Have the server whose admin address is given write a checkpoint, and copy it to a
file: everything that was acknowledged before, at one position of the journal. The
server goes on meanwhile. A name that ends with .zst is compressed. streamd restore
makes a data directory of it.

The copy holds all records and tables, and the secret that iterators are made
with: keep it as you keep the data directory. Certificates are not in it.`,
		Example: `  streamd snapshot --out streamd.tar.zst
  streamd snapshot --out - | ssh host streamd restore --in - --data /var/lib/streamd`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch out {
			case "":
				return errors.New("say where to with --out FILE, or --out - for standard output")
			case "-":
				return streamd.FetchSnapshot(cmd.Context(), admin, cmd.OutOrStdout(), false)
			}
			return fetchTo(cmd, admin, out)
		},
	}
	cmd.Flags().StringVar(&admin, "admin", admin, "admin address of the server")
	cmd.Flags().StringVar(&out, "out", "", "file to write, or - for standard output")
	return cmd
}

// fetchTo writes a snapshot to a file, which has its name once all of it is on
// disk.
func fetchTo(cmd *cobra.Command, admin, name string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp") // only the owner can read it
	if err != nil {
		return fmt.Errorf("cannot write the snapshot: %w; name another file with --out", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // err says more
		}
	}()
	err = streamd.FetchSnapshot(cmd.Context(), admin, file, strings.HasSuffix(name, ".zst"))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

func newRestore(env func(string) (string, bool)) *cobra.Command {
	var in string
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Make a data directory of a copy that streamd snapshot has taken",
		Long: `Make a data directory, which must be empty or not exist, of a copy that streamd
snapshot has taken, compressed or not. All of it is verified, and on disk, before
the directory has its name. A server that starts from it has the same streams,
records, sequence numbers and tables, and takes iterators that were handed out.`,
		Example: `  streamd restore --in streamd.tar.zst --data /var/lib/streamd`,
		Args:    cobra.NoArgs,
	}
	dir := dataFlag(cmd, env)
	cmd.Flags().StringVar(&in, "in", "", "file to read, or - for standard input")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if in == "" {
			return errors.New("say where from with --in FILE, or --in - for standard input")
		}
		name, err := dir()
		if err != nil {
			return err
		}
		from := cmd.InOrStdin()
		if in != "-" {
			file, err := os.Open(in)
			if err != nil {
				return fmt.Errorf("cannot read the snapshot: %w", err)
			}
			defer file.Close()
			from = file
		}
		report, err := streamd.Restore(name, from)
		if err != nil {
			return err
		}
		fmt.Fprint(cmd.OutOrStdout(), report)
		return nil
	}
	return cmd
}
