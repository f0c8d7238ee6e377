package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/agent/internal/javaregex"
	"github.com/streamkit/streamkit/agent/internal/jsontext"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

// optionKeys are the keys of an entry of dataProcessingOptions.
var optionKeys = map[string]bool{
	"optionName": true, "parseOptions": true, "customFieldNames": true, "delimiter": true, "jsonFormat": true,
	"logFormat": true, "matchPattern": true, "metadata": true, "timestamp": true, "metadataTTL": true, "className": true,
	"metadataEndpoint": true, "keep": true, "drop": true, "rename": true, "include": true, "exclude": true,
}

// An option is one entry of dataProcessingOptions.
type option struct {
	name, delimiter, format string
	logFormat, pattern      string
	fields, parse           []string
	metadata                *node
	timestamp               bool
	metadataTTL             time.Duration
	metadataEndpoint        string
	keep, drop              []string
	include, exclude        []string
	rename                  map[string]string
	warn                    func(key, text string) // of a key that has no effect or an odd one
}

var optionSetters = map[string]key[option]{
	"optionName":       text(func(o *option) *string { return &o.name }),
	"parseOptions":     texts(func(o *option) *[]string { return &o.parse }),
	"customFieldNames": texts(func(o *option) *[]string { return &o.fields }),
	"delimiter":        text(func(o *option) *string { return &o.delimiter }),
	"jsonFormat":       text(func(o *option) *string { return &o.format }),
	"logFormat":        text(func(o *option) *string { return &o.logFormat }),
	"matchPattern":     text(func(o *option) *string { return &o.pattern }),
	"metadata":         {set: func(o *option, n *node) error { o.metadata = n; return nil }},
	"timestamp":        truth(func(o *option) *bool { return &o.timestamp }),
	"metadataTTL":      span64(time.Second, func(o *option) *time.Duration { return &o.metadataTTL }),
	"metadataEndpoint": text(func(o *option) *string { return &o.metadataEndpoint }),
	"keep":             texts(func(o *option) *[]string { return &o.keep }),
	"drop":             texts(func(o *option) *[]string { return &o.drop }),
	"include":          texts(func(o *option) *[]string { return &o.include }),
	"exclude":          texts(func(o *option) *[]string { return &o.exclude }),
	"rename": {set: func(o *option, n *node) error {
		o.rename = make(map[string]string)
		for _, f := range n.fields {
			s, ok := f.value.value.(string)
			if !ok {
				return fmt.Errorf("%q must be the new name, a text", f.key)
			}
			o.rename[f.key] = s
		}
		if len(o.rename) == 0 {
			return errors.New("must be an object with the old names as keys and the new ones as values")
		}
		return nil
	}},
}

// options reads dataProcessingOptions.
func (l *loader) options(f field, prefix string, fc *FlowConfig) {
	list, ok := f.value.value.([]*node)
	if !ok {
		l.fail(f.line, "%sdataProcessingOptions: must be a list; put the object into brackets", prefix)
		return
	}
	chain := &transform.Chain{}
	for i, n := range list {
		where := fmt.Sprintf("%sdataProcessingOptions[%d].", prefix, i)
		var o option
		known := make([]string, 0, len(optionKeys))
		for k := range optionKeys {
			known = append(known, k)
		}
		apply(l, n.fields, where, &o, optionSetters, known, func(field) bool { return false })
		o.warn = func(key, text string) { l.warn(n.line, "%s%s: %s", where, key, text) }
		for _, f := range n.fields {
			if kind, ok := optionKinds[o.name]; ok && optionKeys[f.key] && f.key != "optionName" && !slices.Contains(kind.keys, f.key) {
				l.warn(f.line, "%s%s: no effect with %s", where, f.key, o.name)
			}
		}
		t, err := o.build()
		if err != nil {
			l.fail(n.line, "%s%v", where, err)
			continue
		}
		chain.Options = append(chain.Options, t)
	}
	if len(chain.Options) > 0 {
		fc.DataProcessing = chain
	}
}

// An optionKind is one of the options: the keys that it has beside optionName, and
// what it is made of.
type optionKind struct {
	keys  []string
	build func(o *option) (transform.Option, error)
}

// optionKinds are the options of the official agent, and our own ADDFILEINFO,
// JSONFIELDS and GREP.
var optionKinds = map[string]optionKind{
	"SINGLELINE":  {[]string{"parseOptions"}, (*option).singleLine},
	"CSVTOJSON":   {[]string{"customFieldNames", "delimiter", "jsonFormat"}, (*option).csv},
	"LOGTOJSON":   {[]string{"logFormat", "matchPattern", "customFieldNames", "jsonFormat"}, (*option).log},
	"ADDMETADATA": {[]string{"metadata", "timestamp", "jsonFormat"}, (*option).addMetadata},
	// logFormat is wanted by the official agent, and means nothing to it.
	"ADDEC2METADATA": {[]string{"logFormat", "metadataTTL", "metadataEndpoint", "jsonFormat"}, (*option).addEC2Metadata},
	"ADDBRACKETS":    {nil, func(*option) (transform.Option, error) { return transform.AddBrackets{}, nil }},
	"ADDFILEINFO":    {[]string{"jsonFormat"}, (*option).addFileInfo},
	"JSONFIELDS":     {[]string{"keep", "drop", "rename", "jsonFormat"}, (*option).jsonFields},
	"GREP":           {[]string{"include", "exclude"}, (*option).grep},
}

func (o *option) build() (transform.Option, error) {
	names := strings.Join(slices.Sorted(maps.Keys(optionKinds)), ", ")
	kind, ok := optionKinds[o.name]
	switch {
	case o.name == "":
		return nil, fmt.Errorf("optionName: missing; it is one of %s", names)
	case o.name == "USINGPLUGGIN":
		return nil, errors.New("optionName: USINGPLUGGIN: Java classes cannot be loaded; remove the option")
	case !ok:
		return nil, fmt.Errorf("optionName: %q is none of %s", o.name, names)
	}
	switch o.format {
	case "", "COMPACT", "PRETTYPRINT":
	default:
		return nil, fmt.Errorf("jsonFormat: %q is none of COMPACT, PRETTYPRINT", o.format)
	}
	return kind.build(o)
}

func (o *option) pretty() bool { return o.format == "PRETTYPRINT" }

func (o *option) singleLine() (transform.Option, error) {
	var s transform.SingleLine
	for _, p := range o.parse {
		switch p {
		case "NO_TRIM":
			s.NoTrim = true
		case "ESCAPE_NEW_LINE":
			s.EscapeNewLine = true
		default:
			return nil, fmt.Errorf("parseOptions: %q is none of NO_TRIM, ESCAPE_NEW_LINE", p)
		}
	}
	return s, nil
}

func (o *option) csv() (transform.Option, error) {
	if len(o.fields) == 0 {
		return nil, errors.New("customFieldNames: missing; name the columns")
	}
	def(&o.delimiter, ",")
	c, err := transform.NewCSVToJSON(o.fields, o.delimiter, o.pretty())
	if err != nil {
		return nil, fmt.Errorf("delimiter: %w", err)
	}
	if len(o.delimiter) == 1 && strings.Contains("|.+*?^$([{", o.delimiter) {
		o.warn("delimiter", fmt.Sprintf(`%q is a regular expression, and does not mean the character; write "\\%s" for that`, o.delimiter, o.delimiter))
	}
	return c, nil
}

func (o *option) log() (transform.Option, error) {
	t, err := transform.NewLogToJSON(o.logFormat, o.pattern, o.fields, o.pretty())
	if err != nil {
		return nil, err
	}
	if o.pattern != "" && javaregex.Open(o.pattern) {
		o.warn("matchPattern", "must match the whole line, and lines that go on behind it are left out; add .* to its end if they are wanted")
	}
	return t, nil
}

func (o *option) addMetadata() (transform.Option, error) {
	m := transform.AddMetadata{Metadata: []byte("null"), Timestamp: o.timestamp, Pretty: o.pretty()}
	if o.metadata != nil {
		m.Metadata = o.metadata.appendJSON(nil)
	} else {
		o.warn("metadata", "missing; null is added")
	}
	return m, nil
}

func (o *option) addEC2Metadata() (transform.Option, error) {
	return &transform.AddEC2Metadata{TTL: o.metadataTTL, Endpoint: o.metadataEndpoint, Pretty: o.pretty()}, nil
}

func (o *option) addFileInfo() (transform.Option, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("cannot tell the host's name: %w", err)
	}
	return &transform.AddFileInfo{Host: host, Pretty: o.pretty()}, nil
}

func (o *option) jsonFields() (transform.Option, error) {
	if o.keep == nil && o.drop == nil && o.rename == nil {
		return nil, errors.New("keep: missing, and drop and rename too; say which fields to keep, to drop or to rename")
	}
	return &transform.JSONFields{Keep: o.keep, Drop: o.drop, Rename: o.rename, Pretty: o.pretty()}, nil
}

func (o *option) grep() (transform.Option, error) {
	g := &transform.Grep{}
	for _, list := range []struct {
		key      string
		patterns []string
		to       *[]*regexp.Regexp
	}{{"include", o.include, &g.Include}, {"exclude", o.exclude, &g.Exclude}} {
		for _, p := range list.patterns {
			re, err := javaregex.Find(p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list.key, err)
			}
			*list.to = append(*list.to, re)
		}
	}
	if g.Include == nil && g.Exclude == nil {
		return nil, errors.New("include: missing, and exclude too; give a list of patterns in one of them")
	}
	return g, nil
}

// appendJSON appends the value as compact JSON, its fields in their order.
func (n *node) appendJSON(dst []byte) []byte {
	if n.fields != nil {
		dst = append(dst, '{')
		for i, f := range n.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(jsontext.AppendString(dst, []byte(f.key)), ':')
			dst = f.value.appendJSON(dst)
		}
		return append(dst, '}')
	}
	switch v := n.value.(type) {
	case []*node:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.appendJSON(dst)
		}
		return append(dst, ']')
	case string:
		return jsontext.AppendString(dst, []byte(v))
	case json.Number:
		return append(dst, v...)
	case bool:
		return fmt.Appendf(dst, "%t", v)
	}
	return append(dst, "null"...)
}
