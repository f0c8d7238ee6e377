package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
)

func (a *app) newValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration file, and which files it finds",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, warnings, err := agent.LoadConfig(a.config)
			for _, w := range warnings {
				if _, werr := fmt.Fprintln(a.out, "warning:", w); werr != nil {
					return werr
				}
			}
			if err != nil {
				return err
			}
			for _, f := range cfg.Flows {
				if _, err := fmt.Fprintf(a.out, "%s -> stream %s: %s\n", f.FilePattern, f.KinesisStream, found(f)); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(a.out, "%s is valid: %d flows, checkpoints in %s\n", a.config, len(cfg.Flows), checkpointFile(cfg))
			return err
		},
	}
}

// found says how many files a flow has now, and which of them cannot be read.
func found(f agent.FlowConfig) string {
	names, err := f.Files()
	if err != nil {
		return fmt.Sprintf("no files: %v; this user must be able to list the directory", err)
	}
	for _, name := range names {
		file, err := os.Open(filepath.Join(filepath.Dir(f.FilePattern), name))
		if err != nil {
			return fmt.Sprintf("%d files, but %v; this user must be able to read them", len(names), err)
		}
		if err := file.Close(); err != nil {
			return err.Error()
		}
	}
	if len(names) == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", len(names))
}
