package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"

	"go.yaml.in/yaml/v3"

	"github.com/streamkit/streamkit/streamd"
)

// keysForm is shown to those whose file is another.
const keysForm = `
keys:
  - id: AKIDEXAMPLE
    secret: a-long-random-text
    account: "123456789012"           # default 000000000000
    allow:                            # default: everything in the account
      - operations: ["kinesis:Put*", "kinesis:DescribeStreamSummary", "kinesis:ListShards"]
        resources: ["orders", "clicks-*"]
`

// readKeys reads a file of keys. An empty name means none.
func readKeys(name string, log *slog.Logger) ([]streamd.Key, error) {
	if name == "" {
		return nil, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the keys: %w; --auth-keys names a YAML file of the form\n%s", err, keysForm)
	}
	const others, write = fs.FileMode(0o077), fs.FileMode(0o022)
	if info.Mode().Perm()&write != 0 && info.Mode().IsRegular() && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others on this machine may write keys of their own to %s; take that from them with chmod 600", name)
	}
	if info.Mode().Perm()&others != 0 && info.Mode().IsRegular() {
		log.Warn("others on this machine may read the file of keys; take that from them with chmod 600", slog.String("file", name), slog.String("mode", info.Mode().String()))
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the keys: %w", err)
	}
	return parseKeys(name, b)
}

func parseKeys(name string, b []byte) ([]streamd.Key, error) {
	var file struct {
		Keys []struct {
			ID      string `yaml:"id"`
			Secret  string `yaml:"secret"`
			Token   string `yaml:"token"`
			Account string `yaml:"account"`
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
