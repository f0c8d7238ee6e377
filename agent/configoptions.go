package agent

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/streamkit/streamkit/agent/internal/transform"
)

// optionKeys are the keys of an entry of dataProcessingOptions.
var optionKeys = map[string]bool{
	"optionName": true, "parseOptions": true, "customFieldNames": true, "delimiter": true, "jsonFormat": true,
	"logFormat": true, "matchPattern": true, "metadata": true, "timestamp": true, "metadataTTL": true, "className": true,
}

// refusedOptions are the options of the official agent that are not done here, and
// what to do instead.
var refusedOptions = map[string]string{
	"LOGTOJSON":      "not supported yet; remove the option and parse the lines where they are consumed",
	"ADDEC2METADATA": "not supported; ADDMETADATA adds what is written in the configuration",
	"ADDBRACKETS":    "not supported; remove the option and add the brackets where the records are consumed",
	"USINGPLUGGIN":   "Java classes cannot be loaded; remove the option",
}

// An option is one entry of dataProcessingOptions.
type option struct {
	name, delimiter, format string
	fields, parse           []string
	metadata                *node
	timestamp               bool
}

var optionSetters = map[string]key[option]{
	"optionName":       text(func(o *option) *string { return &o.name }),
	"parseOptions":     texts(func(o *option) *[]string { return &o.parse }),
	"customFieldNames": texts(func(o *option) *[]string { return &o.fields }),
	"delimiter":        text(func(o *option) *string { return &o.delimiter }),
	"jsonFormat":       text(func(o *option) *string { return &o.format }),
	"metadata":         {set: func(o *option, n *node) error { o.metadata = n; return nil }},
	"timestamp":        truth(func(o *option) *bool { return &o.timestamp }),
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
		var name string
		for _, f := range n.fields {
			if f.key == "optionName" {
				name, _ = f.value.asString()
			}
		}
		if why, ok := refusedOptions[name]; ok {
			l.fail(n.line, "%soptionName: %s: %s", where, name, why)
			continue
		}
		var o option
		known := make([]string, 0, len(optionKeys))
		for k := range optionKeys {
			known = append(known, k)
		}
		apply(l, n.fields, where, &o, optionSetters, known, func(field) bool { return false })
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

func (o *option) build() (transform.Option, error) {
	switch o.format {
	case "", "COMPACT", "PRETTYPRINT":
	default:
		return nil, fmt.Errorf("jsonFormat: %q is none of COMPACT, PRETTYPRINT", o.format)
	}
	switch o.name {
	case "SINGLELINE":
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
	case "CSVTOJSON":
		if len(o.fields) == 0 {
			return nil, errors.New("customFieldNames: missing; name the columns")
		}
		def(&o.delimiter, ",")
		c := &transform.CSVToJSON{Fields: o.fields, Delimiter: o.delimiter, Pretty: o.format == "PRETTYPRINT"}
		if err := c.Init(); err != nil {
			return nil, fmt.Errorf("delimiter: %w", err)
		}
		return c, nil
	case "ADDMETADATA":
		if o.metadata == nil {
			return nil, errors.New("metadata: missing; give the value to add")
		}
		return transform.AddMetadata{Metadata: o.metadata.appendJSON(nil), Timestamp: o.timestamp}, nil
	case "":
		return nil, errors.New("optionName: missing; it is one of SINGLELINE, CSVTOJSON, ADDMETADATA")
	}
	return nil, fmt.Errorf("optionName: %q is none of SINGLELINE, CSVTOJSON, ADDMETADATA", o.name)
}

// appendJSON appends the value as compact JSON, its fields in their order.
func (n *node) appendJSON(dst []byte) []byte {
	if n.fields != nil {
		dst = append(dst, '{')
		for i, f := range n.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(transform.AppendString(dst, []byte(f.key)), ':')
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
		return transform.AppendString(dst, []byte(v))
	case json.Number:
		return append(dst, v...)
	case bool:
		return fmt.Appendf(dst, "%t", v)
	}
	return append(dst, "null"...)
}
