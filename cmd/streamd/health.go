package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/streamd"
)

// healthTimeout is how long health waits for an answer.
const healthTimeout = 3 * time.Second

func newHealth(env func(string) (string, bool)) *cobra.Command {
	admin := streamd.DefaultAdmin
	if v, ok := env(envName("admin")); ok {
		admin = v
	}
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a server on this machine whether it is ready",
		Long: `Ask the server whose admin address is given whether it is ready. The exit code
is 0 if it is, which is what container health checks look at.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url := "http://" + admin + "/readyz"
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, nil)
			if err != nil {
				return fmt.Errorf("admin address %q is not of the form host:port", admin)
			}
			client := http.Client{Timeout: healthTimeout}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("no answer from %s: %w; is streamd running with this --admin address?", url, err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("not ready: %s", strings.TrimSpace(string(text)))
			}
			fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(text)))
			return nil
		},
	}
	cmd.Flags().StringVar(&admin, "admin", admin, "admin address of the server")
	return cmd
}
