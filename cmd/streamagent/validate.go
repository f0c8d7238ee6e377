package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
)

func (a *app) newValidate() *cobra.Command {
	var online bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration file, and which files it finds",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, warnings, err := agent.LoadConfig(a.config)
			for _, w := range warnings {
				if _, werr := fmt.Fprintln(a.out, "warning:", w); werr != nil {
					return werr
				}
			}
			if err := errors.Join(err, a.refuseWarnings(warnings)); err != nil {
				return err
			}
			unreadable := 0
			for _, f := range cfg.Flows {
				text, not := found(f)
				if _, err := fmt.Fprintf(a.out, "%s -> %s: %s\n", f.FilePattern, destination(f), text); err != nil {
					return err
				}
				for _, why := range not {
					if _, err := fmt.Fprintf(a.out, "warning: %s\n", why); err != nil {
						return err
					}
				}
				unreadable += len(not)
			}
			if a.strict && unreadable > 0 {
				return fmt.Errorf("%d files or directories cannot be read by this user, and --strict lets none pass", unreadable)
			}
			if online {
				if err := a.checkOnline(cmd.Context(), cfg); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(a.out, "%s is valid: %d flows, checkpoints in %s\n", a.config, len(cfg.Flows), checkpointFile(cfg))
			return err
		},
	}
	cmd.Flags().BoolVar(&online, "online", false, "ask the services whether the streams exist")
	cmd.Flags().BoolVar(&a.strict, "strict", false, "take warnings for errors")
	return cmd
}

func (a *app) checkOnline(ctx context.Context, cfg *agent.Config) error {
	log, err := a.logger(cfg)
	if err != nil {
		return err
	}
	svc, err := connect(ctx, cfg, log)
	if err != nil {
		return err
	}
	svc.online = true
	return svc.checkStreams(ctx, cfg.Flows)
}

func destination(f agent.FlowConfig) string {
	if f.Firehose() {
		return "delivery stream " + f.DeliveryStream
	}
	return "stream " + f.KinesisStream
}

// found says how many files a flow has now. What it will not be able to read is in
// unreadable, each with the reason.
func found(f agent.FlowConfig) (text string, unreadable []string) {
	names, err := f.Files()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("no files: %v; they are read once they are there", err), nil
	case err != nil:
		return "no files that this user may see", []string{fmt.Sprintf("%v; this user must be able to list the directory", err)}
	}
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			unreadable = append(unreadable, fmt.Sprintf("%v; this user must be able to read it", err))
			continue
		}
		if err := file.Close(); err != nil {
			unreadable = append(unreadable, err.Error())
		}
	}
	if len(names) == 1 {
		return "1 file", unreadable
	}
	return fmt.Sprintf("%d files", len(names)), unreadable
}
