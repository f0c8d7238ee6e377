package main

import (
	_ "embed"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/streamd"
)

// trustText says how each client is told to trust the certificate in ca.pem.
//
//go:embed trust.txt
var trustText string

func newCA(env func(string) (string, bool)) *cobra.Command {
	var data, tlsDir string
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate that clients of https must trust",
		Long: `Print the certificate of the server's own authority, in PEM, which clients that
connect with TLS must trust. How they are told goes to standard error:

` + trustText,
		Example: `  streamd ca > ca.pem
  streamd ca --data /var/lib/streamd > ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := streamd.Config{TLSDir: tlsDir}
			if v, ok := env(envName("tls-dir")); ok && tlsDir == "" && data == "" {
				cfg.TLSDir = v
			}
			if cfg.TLSDir == "" {
				if v, ok := env(envName("data")); ok && data == "" {
					data = v
				}
				var err error
				if cfg.DataDir, err = dataDir(data, env); err != nil {
					return err
				}
			}
			text, err := cfg.CACertificate()
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.ErrOrStderr(), trustText)
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the server (default: that of streamd)")
	cmd.Flags().StringVar(&tlsDir, "tls-dir", "", "TLS directory of the server, if it has one of its own")
	cmd.MarkFlagsMutuallyExclusive("data", "tls-dir")
	return cmd
}
