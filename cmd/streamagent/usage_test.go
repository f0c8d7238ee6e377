package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// A wrong command line is refused with what to do instead.
func TestWrongCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"flag", []string{"run", "--wat"}, `unknown flag: --wat; "streamagent run --help" lists the flags`},
		{"flag of another command", []string{"status", "--once"}, `"streamagent status --help" lists the flags`},
		{"mistyped command", []string{"validat"}, `did you mean "validate"? "streamagent --help" lists the commands`},
		{"no such command", []string{"start"}, `unknown command "start" for "streamagent"; "streamagent --help" lists`},
		{"argument too many", []string{"status", "x"}, `"streamagent status" takes no arguments, and "x" is one; "streamagent status --help" shows`},
		{"two files to convert", []string{"convert", "a", "b"}, `"streamagent convert" takes one argument, the file; `},
		{"no file to import", []string{"checkpoints", "import"}, `takes one argument, the file, or - for the standard input`},
		{"no subcommand", []string{"checkpoints"}, `what to do with them is missing; "streamagent checkpoints --help" lists the commands`},
		{"no such subcommand", []string{"checkpoints", "lst"}, `unknown command "lst" for "streamagent checkpoints"; did you mean "list"?`},
		{"negative limit", []string{"dry-run", "-n", "-1"}, "--limit -1 is less than nothing; 0 is all records"},
		{"log format", []string{"--log-format", "xml"}, "none of text, json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config, _ := setUp(t, "http://127.0.0.1:1", "")
			var errOut buffer
			if code := run(t.Context(), append(tt.args, "-c", config), io.Discard, &errOut); code != exitError {
				t.Errorf("exit code %d, want %d", code, exitError)
			}
			if got := errOut.String(); !strings.HasPrefix(got, "streamagent: ") || !strings.Contains(got, tt.want) {
				t.Errorf("output %q, want %q", got, tt.want)
			}
		})
	}
}

// Without a flag the configuration of the package is used if there is one.
func TestFirstThere(t *testing.T) {
	dir := t.TempDir()
	ours, official := filepath.Join(dir, "agent.yaml"), filepath.Join(dir, "agent.json")
	if got := firstThere(ours, official); got != official {
		t.Errorf("with neither: %s", got)
	}
	write(t, official, "{}")
	if got := firstThere(ours, official); got != official {
		t.Errorf("with the official one: %s", got)
	}
	write(t, ours, "")
	if got := firstThere(ours, official); got != ours {
		t.Errorf("with both: %s", got)
	}
}

// What is wrong with the configuration file itself.
func TestConfigurationFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T) string
		want string
	}{
		{"a directory", func(t *testing.T) string { t.Helper(); return t.TempDir() }, "is a directory; name another with -c"},
		{"empty", func(t *testing.T) string {
			t.Helper()
			path := filepath.Join(t.TempDir(), "agent.json")
			write(t, path, "")
			return path
		}, "agent.json:1:1: no JSON: the file is empty; it must hold"},
		{"wrong JSON", func(t *testing.T) string {
			t.Helper()
			path := filepath.Join(t.TempDir(), "agent.json")
			write(t, path, "{\n  \"flows\": [\n    {\"filePattern\": \"/x/*\"\n  ]\n}\n")
			return path
		}, "agent.json:4:3: no JSON: invalid character ']' after object key:value pair; correct it here or just before"},
		{"wrong YAML", func(t *testing.T) string {
			t.Helper()
			path := filepath.Join(t.TempDir(), "agent.yaml")
			write(t, path, "flows:\n - a: [\n")
			return path
		}, "agent.yaml:2:1: no YAML: did not find expected node content; correct it here or just before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var errOut buffer
			if code := run(t.Context(), []string{"validate", "-c", tt.make(t)}, io.Discard, &errOut); code != exitError {
				t.Errorf("exit code %d, want %d", code, exitError)
			}
			if got := errOut.String(); !strings.Contains(got, tt.want) {
				t.Errorf("output %q, want %q", got, tt.want)
			}
		})
	}
}

// Without credentials the agent starts and waits, and says what to set.
func TestNoCredentials(t *testing.T) {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	config, _ := setUp(t, "", `"kinesis.region": "eu-west-1",`)
	const want = "set awsAccessKeyId and awsSecretAccessKey in the configuration"
	var errOut buffer
	if code := run(t.Context(), []string{"validate", "--online", "-c", config}, io.Discard, &errOut); code != exitError {
		t.Errorf("validate --online: exit code %d", code)
	}
	if got := errOut.String(); !strings.Contains(got, "no AWS credentials are found") || !strings.Contains(got, want) {
		t.Errorf("validate --online: %q, want %q", got, want)
	}
	var logged buffer
	if code := run(t.Context(), []string{"run", "--once", "-c", config}, io.Discard, &logged); code != exitOK { // there are no files
		t.Errorf("run --once: exit code %d:\n%s", code, logged.String())
	}
	if got := logged.String(); !strings.Contains(got, "the files wait until there are some; "+want) {
		t.Errorf("run: %q, want %q", got, want)
	}
}

// What a flow will not find or may not read is said before it runs.
func TestValidateFiles(t *testing.T) {
	config, logs := setUp(t, "http://127.0.0.1:1", "")
	check := func(code int, want string, args ...string) {
		t.Helper()
		var out buffer
		if got := run(t.Context(), append([]string{"validate", "-c", config}, args...), &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("validate %q: exit code %d, want %d; output %s, want %q", args, got, code, out.String(), want)
		}
	}
	if err := os.Symlink(filepath.Join(logs, "gone"), filepath.Join(logs, "a.log")); err != nil {
		t.Fatal(err)
	}
	check(exitOK, "-> stream s: 1 file\nwarning: open "+filepath.Join(logs, "a.log"))
	if err := os.RemoveAll(logs); err != nil {
		t.Fatal(err)
	}
	check(exitOK, "they are read once they are there")
}

// A run to the end of the files that could not read a directory has failed, though what
// it could read is delivered.
func TestRunOnceUnreadable(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(logs, "loop") // no user can read what leads to itself, not even root
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.Replace(string(text), `"filePattern"`, `"include": ["`+loop+`/*.log"], "filePattern"`, 1))
	write(t, filepath.Join(logs, "a.log"), "one\n")
	var errOut buffer
	if code := run(t.Context(), []string{"run", "--once", "-c", config}, io.Discard, &errOut); code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
	if want := "streamagent: not read: " + loop + ": too many levels of symbolic links; see that this user can read it, and run again"; !strings.Contains(errOut.String(), want) {
		t.Errorf("output %q, want %q", errOut.String(), want)
	}
	if got := stored(t, srv); len(got) != 1 {
		t.Errorf("stored %q, want one record", got)
	}
}
