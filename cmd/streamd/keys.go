package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/streamkit/streamkit/streamd"
)

// keysForm is shown to those whose file is another.
const keysForm = `
keys:
  - id: AKIDEXAMPLE
    secret: a-long-random-text
    account: "123456789012"           # default 000000000000
    expires: 2027-01-31T00:00:00Z     # default never
    allow:                            # default: everything in the account
      - operations: ["kinesis:Put*", "kinesis:DescribeStreamSummary", "kinesis:ListShards"]
        resources: ["orders", "clicks-*"]
`

// A keysFile is a file of keys, and what it was when it was last read.
type keysFile struct {
	name string // empty means that there is none
	log  *slog.Logger
	seen fs.FileInfo // nil if it was not there
}

// read reads the keys.
func (f *keysFile) read() ([]streamd.Key, error) {
	if f.name == "" {
		return nil, nil
	}
	info, err := os.Stat(f.name)
	if f.seen = info; err != nil {
		f.seen = nil
		return nil, fmt.Errorf("cannot read the keys: %w; --auth-keys names a YAML file of the form\n%s", err, keysForm)
	}
	const others, write = fs.FileMode(0o077), fs.FileMode(0o022)
	if info.Mode().Perm()&write != 0 && info.Mode().IsRegular() && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others on this machine may write keys of their own to %s; take that from them with chmod 600", f.name)
	}
	if info.Mode().Perm()&others != 0 && info.Mode().IsRegular() {
		f.log.Warn("others on this machine may read the file of keys; take that from them with chmod 600", slog.String("file", f.name), slog.String("mode", info.Mode().String()))
	}
	b, err := os.ReadFile(f.name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the keys: %w", err)
	}
	return parseKeys(f.name, b)
}

// changed reports whether the file is another than when it was last read, as
// far as can be told without reading it. Whoever puts another file in its place
// under the same name and time is seen as well.
func (f *keysFile) changed() bool {
	info, err := os.Stat(f.name)
	if err != nil || f.seen == nil {
		return (err != nil) != (f.seen == nil)
	}
	return info.Size() != f.seen.Size() || !info.ModTime().Equal(f.seen.ModTime()) ||
		info.Mode() != f.seen.Mode() || !os.SameFile(info, f.seen)
}

// keysPace is how often a file of keys is looked at.
const keysPace = time.Second

// watch hands the keys to set when the file has changed, and when now says so,
// until ctx ends. Keys that cannot be used leave the old ones as they are.
func (f *keysFile) watch(ctx context.Context, now <-chan os.Signal, set func([]streamd.Key) error) {
	tick := time.NewTicker(keysPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-now:
		case <-tick.C:
			if !f.changed() {
				continue
			}
		}
		keys, err := f.read()
		if err == nil {
			err = set(keys)
		}
		if err != nil {
			f.log.Error("the new keys cannot be used, and those before them stay; correct the file, and it is read again within a second", slog.String("file", f.name), slog.Any("err", err))
			continue
		}
		f.log.Info("keys were read anew", slog.String("file", f.name), slog.Int("keys", len(keys)))
	}
}

func parseKeys(name string, b []byte) ([]streamd.Key, error) {
	var file struct {
		Keys []struct {
			ID      string    `yaml:"id"`
			Secret  string    `yaml:"secret"`
			Token   string    `yaml:"token"`
			Account string    `yaml:"account"`
			Expires yaml.Node `yaml:"expires"`
			Allow   []struct {
				Operations []string `yaml:"operations"`
				Resources  []string `yaml:"resources"`
			} `yaml:"allow"`
		} `yaml:"keys"`
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true) // a rule that is misspelt must not allow more than was meant
	if err := d.Decode(&file); err != nil || len(file.Keys) == 0 {
		// The error of the decoder can show what it could not read: secrets.
		return nil, fmt.Errorf("file of keys %s is not of the form\n%s", name, keysForm)
	}
	var keys []streamd.Key
	for _, k := range file.Keys {
		key := streamd.Key{ID: k.ID, Secret: k.Secret, Token: k.Token, Account: k.Account}
		if !k.Expires.IsZero() { // one that is there and empty must not mean never
			var err error
			if key.Expires, err = time.Parse(time.RFC3339, k.Expires.Value); err != nil {
				return nil, fmt.Errorf("file of keys %s: expires %q of key %s is not a time such as 2027-01-31T00:00:00Z", name, k.Expires.Value, k.ID)
			}
		}
		for _, r := range k.Allow {
			key.Allow = append(key.Allow, streamd.Rule{Operations: r.Operations, Resources: r.Resources})
		}
		if k.Allow != nil && len(k.Allow) == 0 {
			return nil, fmt.Errorf("file of keys %s: the list allow of key %s is empty, which would allow everything; leave it out, or write rules", name, k.ID)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
