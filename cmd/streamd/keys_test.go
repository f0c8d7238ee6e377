package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/streamd"
)

func TestKeysFile(t *testing.T) {
	file := func(mode os.FileMode, text string) string {
		name := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct{ name, file, err string }{
		{"no file", "/none/keys.yaml", "of the form"},
		{"no YAML", file(0o600, "secret: s3cr3t: x"), "of the form"},
		{"nothing in it", file(0o600, "keys: []"), "of the form"},
		{"a word that is none", file(0o600, "keys: [{id: a, secret: s3cr3t, alow: []}]"), "of the form"},
		{"no rules", file(0o600, "keys: [{id: a, secret: s3cr3t, allow: []}]"), "the list allow of key a is empty"},
		{"a day", file(0o600, "keys: [{id: a, secret: s3cr3t, expires: 2027-01-31}]"), `expires "2027-01-31" of key a is not a time such as`},
		{"an empty time", file(0o600, "keys: [{id: a, secret: s3cr3t, expires: }]"), `expires "" of key a`},
		{"no secret", file(0o600, "keys: [{id: a}]"), "key a has no secret"},
		{"an operation without service", file(0o600, "keys: [{id: a, secret: s3cr3t, allow: [{operations: [PutRecord]}]}]"), "write kinesis:PutRecord"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--auth", "verify", "--auth-keys", tt.file}, noEnv, &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%s: code %d, %s", tt.name, code, &errs)
		}
		if strings.Contains(errs.String(), "s3cr3t") {
			t.Errorf("%s: the secret is shown: %s", tt.name, &errs)
		}
	}
	writable := file(0o600, "keys: [{id: a, secret: b}]")
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--memory", "--auth", "verify", "--auth-keys", writable}, noEnv, &out, &errs); code == 0 || !strings.Contains(errs.String(), "chmod 600") {
		t.Errorf("a file that others may write: code %d, %s", code, &errs)
	}
	open := file(0o644, "keys: [{id: a, secret: b}]")
	if err := os.Chmod(open, 0o644); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "off", "--auth", "verify", "--auth-keys", open)
	p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if strings.Contains(p.stdout.String(), "AWS_ACCESS_KEY_ID=test") {
		t.Errorf("names credentials that it does not take: %s", p.stdout)
	}
	if !strings.Contains(p.stderr.String(), "chmod 600") {
		t.Errorf("no warning of a file that others may read: %s", p.stderr)
	}
}

func TestKeysExpire(t *testing.T) {
	keys, err := parseKeys("keys.yaml", []byte(`keys:
  - {id: a, secret: s, expires: 2027-01-31T12:00:00+02:00}
  - {id: b, secret: s, expires: "2027-01-31T12:00:00.5Z"}
  - {id: c, secret: s}
`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Time{
		time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC), time.Date(2027, 1, 31, 12, 0, 0, 5e8, time.UTC), {},
	} {
		if !keys[i].Expires.Equal(want) {
			t.Errorf("key %s ends %v, want %v", keys[i].ID, keys[i].Expires, want)
		}
	}
}

// TestKeysAreReadAnew changes a file of keys under a watch of it. What the
// server holds then is the ids of the last file that could be used.
func TestKeysAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		name := filepath.Join(dir, "keys.yaml")
		written := time.Now()
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		touch := func() {
			t.Helper()
			written = written.Add(time.Millisecond)
			if err := os.Chtimes(name, written, written); err != nil {
				t.Fatal(err)
			}
		}
		write("keys: [{id: first, secret: s3cr3t}]")
		touch()
		log := newOutput()
		file := &keysFile{name: name, log: slog.New(slog.NewTextHandler(log, nil))}
		var ids []string
		sets := 0
		set := func(keys []streamd.Key) error {
			sets++
			if keys[0].ID == "refused" {
				return errors.New("no such key is taken")
			}
			ids = nil
			for _, k := range keys {
				ids = append(ids, k.ID)
			}
			return nil
		}
		keys, err := file.read()
		if err != nil {
			t.Fatal(err)
		}
		if err := set(keys); err != nil {
			t.Fatal(err)
		}
		hup := make(chan os.Signal, 1) // as signal.Notify wants it
		go file.watch(t.Context(), hup, set)

		for _, step := range []struct {
			name   string
			change func()
			hup    bool
			sets   int // since the start
			ids    []string
			log    string // empty: nothing
		}{
			{"nothing", func() {}, false, 1, []string{"first"}, ""},
			{"a signal", func() {}, true, 2, []string{"first"}, "keys were read anew"},
			{"another size", func() { write("keys: [{id: first, secret: s3cr3t}, {id: second, secret: s3cr3t}]"); touch() }, false, 3, []string{"first", "second"}, "keys=2"},
			{"another time", func() { write("keys: [{id: third, secret: s3cr3t}, {id: second, secret: s3cr3t}]"); touch() }, false, 4, []string{"third", "second"}, "keys=2"},
			{"a broken file", func() { write("keys: [{id: third, secret: s3cr3t"); touch() }, false, 4, []string{"third", "second"}, "those before them stay; correct the file"},
			{"the same broken file", func() {}, false, 4, []string{"third", "second"}, ""},
			{"the same broken file, on a signal", func() {}, true, 4, []string{"third", "second"}, "is not of the form"},
			{"keys that the server refuses", func() { write("keys: [{id: refused, secret: s3cr3t}]"); touch() }, false, 5, []string{"third", "second"}, "no such key is taken"},
			{"no file", func() {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}, false, 5, []string{"third", "second"}, "cannot read the keys"},
			{"still no file", func() {}, false, 5, []string{"third", "second"}, ""},
			{"a file", func() { write("keys: [{id: fourth, secret: s3cr3t}]"); touch() }, false, 6, []string{"fourth"}, "keys=1"},
			{"another file of its size and time", func() {
				old := name
				name = filepath.Join(dir, "new.yaml")
				write("keys: [{id: fifthh, secret: s3cr3t}]")
				written = written.Add(-time.Millisecond)
				touch()
				if err := os.Rename(name, old); err != nil {
					t.Fatal(err)
				}
				name = old
			}, false, 7, []string{"fifthh"}, "keys=1"},
		} {
			before := len(log.String())
			step.change()
			if step.hup {
				hup <- syscall.SIGHUP
			} else {
				time.Sleep(keysPace)
			}
			synctest.Wait()
			said := log.String()[before:]
			if sets != step.sets || !slices.Equal(ids, step.ids) {
				t.Errorf("%s: keys %v, set %d times; want %v, %d times", step.name, ids, sets, step.ids, step.sets)
			}
			if !strings.Contains(said, step.log) || step.log == "" && said != "" {
				t.Errorf("%s: log %q, want %q", step.name, said, step.log)
			}
			if strings.Contains(said, "s3cr3t") {
				t.Errorf("%s: the log shows a secret: %s", step.name, said)
			}
		}
	})
}
