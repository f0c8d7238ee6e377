package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"streamctl": main})
}

// TestScripts runs the command lines in testdata/script, each script against a
// server of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				tb = t
			}
			srv := streamdtest.New(tb, streamdtest.Listen())
			env.Setenv("AWS_ENDPOINT_URL", srv.Endpoint())
			env.Setenv("SERVER", srv.Endpoint())
			env.Setenv("AWS_CONFIG_FILE", "/nonexistent")
			env.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
