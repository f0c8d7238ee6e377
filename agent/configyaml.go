package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what aliases of a YAML text may be expanded to.
const maxNodes = 100_000

// parseYAML returns the one document of a text as the tree that a JSON text with
// the same content has.
func parseYAML(src []byte) (*node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &syntaxError{1, 1, "the file is empty; it must hold a mapping with \"flows\""}
	case err != nil:
		return nil, yamlError(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(err)
		}
		return nil, &syntaxError{1, 1, "the file holds more than one document; keep one"}
	}
	c := &yamlConverter{}
	return c.node(doc.Content[0], 0)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// yamlError gives an error of the decoder its line.
func yamlError(err error) error {
	text := err.Error()
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1]) // the pattern has digits only
	}
	text = strings.TrimPrefix(yamlLine.ReplaceAllString(text, ""), "yaml: ")
	if strings.Contains(text, "character that cannot start any token") {
		text += "; indent with blanks, not tabs, and put what begins with another sign into quotes"
	} else {
		text += "; correct it here or just before"
	}
	return &syntaxError{line, 1, text}
}

type yamlConverter struct{ nodes int }

func (c *yamlConverter) node(y *yaml.Node, depth int) (*node, error) {
	if c.nodes++; depth > maxDepth || c.nodes > maxNodes {
		return nil, &syntaxError{y.Line, y.Column, "nested too deeply, or aliases expand to too much"}
	}
	n := &node{line: y.Line, col: y.Column}
	switch y.Kind {
	case yaml.AliasNode:
		return c.node(y.Alias, depth+1)
	case yaml.SequenceNode:
		list := []*node{}
		for _, e := range y.Content {
			v, err := c.node(e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		n.value = list
		return n, nil
	case yaml.MappingNode:
		return n, c.mapping(n, y, depth)
	default:
		return n, scalar(n, y)
	}
}

// mapping reads the members of y. Those that << merges come last, and only where
// the mapping itself has no such key.
func (c *yamlConverter) mapping(n *node, y *yaml.Node, depth int) error {
	n.fields = fields{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			return &syntaxError{k.Line, k.Column, "a key must be a text"}
		}
		if k.Tag == "!!merge" {
			if v.Kind == yaml.SequenceNode {
				merged = append(merged, v.Content...)
			} else {
				merged = append(merged, v)
			}
			continue
		}
		value, err := c.node(v, depth+1)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, field{k.Value, k.Line, value})
	}
	for _, m := range merged {
		other, err := c.node(m, depth+1)
		if err != nil {
			return err
		}
		if other.fields == nil {
			return &syntaxError{m.Line, m.Column, "<< must name a mapping"}
		}
		for _, f := range other.fields {
			if !n.fields.has(f.key) {
				n.fields = append(n.fields, f)
			}
		}
	}
	return nil
}

func (fs fields) has(key string) bool {
	for _, f := range fs {
		if f.key == key {
			return true
		}
	}
	return false
}

// scalar takes the value of a scalar: what YAML has and JSON has not, such as dates
// and binary, stays the text that it was.
func scalar(n *node, y *yaml.Node) error {
	switch y.Tag {
	case "!!null":
		n.value = nil
	case "!!bool":
		var v bool
		if err := y.Decode(&v); err != nil {
			return &syntaxError{y.Line, y.Column, "neither true nor false"}
		}
		n.value = v
	case "!!int":
		var v int64
		if err := y.Decode(&v); err != nil {
			return &syntaxError{y.Line, y.Column, fmt.Sprintf("%q is no number of 64 bits", y.Value)}
		}
		n.value = json.Number(strconv.FormatInt(v, 10))
		if json.Valid([]byte(y.Value)) {
			n.value = json.Number(y.Value)
		}
	case "!!float":
		if !json.Valid([]byte(y.Value)) {
			n.value = y.Value // as JSON would have to write it
			return nil
		}
		n.value = json.Number(y.Value)
	default:
		n.value = y.Value
	}
	return nil
}

// flatten turns mappings that stand for keys with dots into those keys: kinesis:
// {region: x} is kinesis.region: x.
func flatten[T any](object fields, known map[string]key[T]) fields {
	prefixes := make(map[string]bool)
	for k := range maps.Keys(known) {
		for i := range len(k) {
			if k[i] == '.' {
				prefixes[k[:i]] = true
			}
		}
	}
	out := fields{}
	var walk func(prefix string, object fields)
	walk = func(prefix string, object fields) {
		for _, f := range object {
			f.key = prefix + f.key
			if f.value.fields != nil && prefixes[f.key] {
				walk(f.key+".", f.value.fields)
				continue
			}
			out = append(out, f)
		}
	}
	walk("", object)
	return out
}

// isYAML reports whether a file is YAML by its name.
func isYAML(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}
