package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

// Convert returns the configuration at path in the other language: an agent.json
// as YAML, a file whose name ends in .yaml or .yml as JSON. Every key is kept in
// its place, also those without effect; comments are not. Records that are not
// aggregated by the default of the one language are not by what is written in the
// other.
func Convert(path string) ([]byte, error) {
	src, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	n, language, err := parseConfig(path, src)
	if err != nil {
		se, _ := errors.AsType[*syntaxError](err)
		return nil, fmt.Errorf("%s:%d:%d: no %s: %s", path, se.line, se.col, language, se.text)
	}
	if n.fields == nil {
		return nil, fmt.Errorf("%s:%d: must hold an object with \"flows\"", path, n.line)
	}
	n.fields = flatten(n.fields, agentKeys)
	for _, f := range n.fields {
		list, ok := f.value.value.([]*node)
		if f.key != "flows" || !ok {
			continue
		}
		for _, flow := range list {
			if flow.fields == nil {
				continue
			}
			flow.fields = flatten(flow.fields, flowKeys)
			if !flow.fields.has("aggregation") && !flow.fields.has("deliveryStream") {
				flow.fields = append(flow.fields, field{key: "aggregation", value: &node{value: language == "YAML"}})
			}
		}
	}
	if language == "YAML" {
		return append(n.appendIndented(nil, ""), '\n'), nil
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(n.yaml()), enc.Close()); err != nil {
		return nil, fmt.Errorf("agent: write YAML: %w", err)
	}
	return out.Bytes(), nil
}

// yaml returns the value as YAML would have it read.
func (n *node) yaml() *yaml.Node {
	if n.fields != nil {
		y := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range n.fields {
			y.Content = append(y.Content, yamlText(f.key), f.value.yaml())
		}
		return y
	}
	switch v := n.value.(type) {
	case []*node:
		y := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			y.Content = append(y.Content, e.yaml())
		}
		return y
	case string:
		return yamlText(v)
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: v.String()}
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: v.String()}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// yamlText is a text in quotes wherever it could be read as anything else.
func yamlText(s string) *yaml.Node {
	y := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !plain(s) {
		y.Style = yaml.DoubleQuotedStyle
	}
	return y
}

// plain reports whether a text means itself in every version of YAML: letters and
// what stands in names and paths, and no word that some version takes for more.
func plain(s string) bool {
	if s == "" || !letter(s[0]) && s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !letter(c) && (c < '0' || c > '9') && !bytes.ContainsRune([]byte("/._-"), rune(c)) {
			return false
		}
	}
	switch string(bytes.ToLower([]byte(s))) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return false
	}
	return true
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// appendIndented appends the value as JSON for people to read.
func (n *node) appendIndented(dst []byte, indent string) []byte {
	inner := indent + "  "
	list, isList := n.value.([]*node)
	switch {
	case len(n.fields) > 0:
		dst = append(dst, "{\n"...)
		for i, f := range n.fields {
			dst = append(dst, inner...)
			dst = append(jsontext.AppendString(dst, []byte(f.key)), ": "...)
			dst = f.value.appendIndented(dst, inner)
			if i < len(n.fields)-1 {
				dst = append(dst, ',')
			}
			dst = append(dst, '\n')
		}
		return append(append(dst, indent...), '}')
	case isList && len(list) > 0:
		dst = append(dst, "[\n"...)
		for i, e := range list {
			dst = e.appendIndented(append(dst, inner...), inner)
			if i < len(list)-1 {
				dst = append(dst, ',')
			}
			dst = append(dst, '\n')
		}
		return append(append(dst, indent...), ']')
	}
	return n.appendJSON(dst)
}
