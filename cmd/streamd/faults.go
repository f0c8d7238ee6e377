package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/streamkit/streamkit/streamd"
)

// readFaults reads a YAML file of fault rules. They have the members of the
// JSON that the server takes elsewhere, so it is turned into that.
func readFaults(name string) ([]streamd.Fault, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the file of --faults: %w", err)
	}
	var rules any
	if err := yaml.Unmarshal(b, &rules); err != nil {
		return nil, fmt.Errorf("faults file %s is not YAML: %w; write a list such as\n- kind: throttle\n  operation: PutRecords\n  probability: 0.2", name, err)
	}
	if rules == nil {
		return nil, nil // all of it is comments
	}
	// What JSON has no words for, such as a key that is no text, is no rule.
	if b, err = json.Marshal(rules); err != nil {
		return nil, fmt.Errorf("faults file %s is no list of rules: %w; write a list such as\n- kind: throttle\n  operation: PutRecords\n  probability: 0.2", name, err)
	}
	list, err := streamd.ParseFaults(b)
	if err != nil {
		return nil, fmt.Errorf("faults file %s: %w", name, err)
	}
	return list, nil
}
