package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// envPrefix begins the variables that stand for flags.
const envPrefix = "STREAMD_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settingNames are the flags that are also variables and keys of the config
// file.
var settingNames = []string{
	"listen", "admin", "data", "memory", "fsync", "journal", "max-disk", "auth", "auth-keys", "max-clock-skew", "max-connections", "answer-memory", "insecure", "allow-host", "cors-origin", "create",
	"tls", "tls-dir", "tls-cert", "tls-key", "san",
	"limits", "transition-delay", "subscription-life", "capture", "capture-limit", "shutdown-timeout", "enable-faults", "faults", "pprof", "log-level", "request-log",
}

// fillFlags sets the flags that the command line has not set from the
// environment, and those that it has not either from the config file. A word
// that names no flag is an error: it would be a setting that is not obeyed.
func fillFlags(cmd *cobra.Command, config string, env func(string) (string, bool)) error {
	flags := cmd.Flags()
	if config == "" {
		config, _ = env(envName("config"))
	}
	file, err := readConfig(config)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range settingNames {
		value, where := file[name], config+": "+name
		_, given := file[name]
		delete(file, name)
		if flags.Changed(name) {
			continue
		}
		if v, ok := env(envName(name)); ok {
			value, where, given = v, envName(name), true
		}
		if !given {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s is %q: %w", where, value, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		errs = append(errs, fmt.Errorf("%s: %s is not a setting; see streamd --help for those that are", config, name))
	}
	return errors.Join(errs...)
}

// readConfig reads a YAML file of flags. A list is one value with commas.
func readConfig(name string) (map[string]string, error) {
	values := make(map[string]string)
	if name == "" {
		return values, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the config file: %w", err)
	}
	var nodes map[string]yaml.Node
	if err := yaml.Unmarshal(b, &nodes); err != nil {
		return nil, fmt.Errorf("config file %s is not YAML of the form flag: value: %w", name, err)
	}
	for key, node := range nodes {
		switch node.Kind {
		case yaml.ScalarNode:
			values[key] = node.Value
		case yaml.SequenceNode:
			var items []string
			if err := node.Decode(&items); err != nil {
				return nil, fmt.Errorf("config file %s: %s: %w", name, key, err)
			}
			values[key] = strings.Join(items, ",")
		case yaml.MappingNode: // of limits: the flag has them as a list
			if key != "limits" {
				return nil, fmt.Errorf("config file %s: %s must be a value or a list", name, key)
			}
			if values[key], err = limitsOf(&node); err != nil {
				return nil, fmt.Errorf("config file %s: limits: %w", name, err)
			}
		default:
			return nil, fmt.Errorf("config file %s: %s must be a value or a list", name, key)
		}
	}
	return values, nil
}
