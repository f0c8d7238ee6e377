package table

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// maxNesting is how many levels an attribute value may have. Source: Amazon
// DynamoDB Developer Guide, "Service quotas": nested attributes up to 32.
const maxNesting = 32

// attrs reads a map of attribute values. Its result is sorted by name, and not
// nil unless the map is null. What DynamoDB calls invalid, though the JSON is
// right, is kept in *invalid, the first such thing only.
func (r *reader) attrs(invalid *error) []attr {
	return r.attrMap(invalid, 0)
}

func (r *reader) attrMap(invalid *error, level int) []attr {
	var buf [16]attr // most maps are small, and the result is allocated at its size
	attrs := buf[:0]
	if !r.optObject(func(name string) {
		if v, ok := r.value(invalid, level); ok {
			attrs = append(attrs, attr{name, v})
		}
	}) {
		return nil
	}
	return sortAttrs(append(make([]attr, 0, len(attrs)), attrs...))
}

// value reads an attribute value; ok is false for null. level is the number of
// lists and maps around it.
func (r *reader) value(invalid *error, level int) (v value, ok bool) {
	note := func(err error) {
		if *invalid == nil {
			*invalid = err
		}
	}
	types := 0
	if !r.optObject(func(name string) {
		k, known := kindOf(name)
		if !known {
			r.skip()
			return
		}
		if r.null() {
			return
		}
		types++
		v = r.typed(k, note, invalid, level)
	}) {
		return value{}, false
	}
	switch {
	case types == 0:
		note(awserr.New(codeValidation, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"))
	case types > 1:
		note(awserr.New(codeValidation, "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"))
	}
	return v, true
}

// typed reads what stands beside a type name.
func (r *reader) typed(k kind, note func(error), invalid *error, level int) value {
	v := value{kind: k}
	switch k {
	case kindS:
		v.text, _ = r.optString()
	case kindB:
		v.text = r.binary()
	case kindN:
		v.text = r.decimal(note)
	case kindBOOL:
		v.yes, _ = r.optBool()
	case kindNULL:
		if yes, _ := r.optBool(); !yes {
			note(invalidParameter("Null attribute value types must have the value of true"))
		}
	case kindSS, kindNS, kindBS:
		v.kids = r.set(k, note)
	case kindL, kindM:
		if level++; level > maxNesting {
			note(awserr.New(codeValidation, "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"))
			r.skip()
			return v
		}
		if k == kindM {
			v.kids = r.attrMap(invalid, level)
			break
		}
		r.optArray(func() {
			if e, ok := r.value(invalid, level); ok {
				v.kids = append(v.kids, attr{value: e})
			}
		})
	}
	return v
}

// decimal reads the text of a number and returns its canonical form.
func (r *reader) decimal(note func(error)) string {
	s, ok := r.optString()
	if !ok {
		return "0"
	}
	n, err := canonical(s)
	if err != nil {
		note(err)
	}
	return n
}

// binary reads base64 and returns the bytes.
func (r *reader) binary() string {
	if r.peek() != tokenString {
		r.mismatch("Blob")
		return ""
	}
	s := r.text()
	if r.err != nil {
		return ""
	}
	if len(s)%4 != 0 {
		r.fail("Base64 encoded length is expected a multiple of 4 bytes but found: " + strconv.Itoa(len(s)))
		return ""
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		r.fail("Invalid Base64 character or padding")
		return ""
	}
	return string(b)
}

// set reads the members of a set of type k.
func (r *reader) set(k kind, note func(error)) []attr {
	e := k.element()
	var members []attr
	empty := false
	r.optArray(func() {
		if r.null() {
			return
		}
		m := value{kind: e}
		switch k {
		case kindNS:
			m.text = r.decimal(note)
		case kindBS:
			m.text = r.binary()
		default:
			m.text, _ = r.optString()
		}
		empty = empty || m.text == ""
		members = append(members, attr{value: m})
	})
	if r.err != nil {
		return nil
	}
	switch {
	case len(members) == 0 && k == kindSS:
		note(invalidParameter("An string set  may not be empty"))
	case len(members) == 0 && k == kindNS:
		note(invalidParameter("An number set  may not be empty"))
	case len(members) == 0:
		note(invalidParameter("Binary sets should not be empty"))
	case empty && k == kindSS:
		note(invalidParameter("An string set may not have a empty string as a member"))
	case empty && k == kindBS:
		note(invalidParameter("Binary sets may not contain null or empty values"))
	}
	sorted, ok := sortSet(k, members)
	if !ok {
		note(duplicates(k, members))
	}
	return sorted
}

// duplicates returns the error for a set with two equal members.
func duplicates(k kind, members []attr) error {
	if k == kindNS {
		return awserr.New(codeValidation, "Input collection contains duplicates")
	}
	texts := make([]string, len(members))
	for i, m := range members {
		texts[i] = m.text
		if k == kindBS {
			texts[i] = base64.StdEncoding.EncodeToString([]byte(m.text))
		}
	}
	list := "[" + strings.Join(texts, ", ") + "]"
	if k == kindBS {
		return invalidParameter("Input collection %sof type BS contains duplicates.", list)
	}
	return invalidParameter("Input collection %s contains duplicates.", list)
}

// clampedInt returns the integer part of the JSON number s, held within ±limit.
func clampedInt(s string, limit float64) int64 {
	f, _ := strconv.ParseFloat(s, 64) // s is a number; out of range gives an infinity
	return int64(max(-limit, min(limit, f)))
}

// appendAttrs appends a map of attribute values.
func appendAttrs(dst []byte, attrs []attr) []byte {
	dst = append(dst, '{')
	for i := range attrs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, attrs[i].name)
		dst = append(dst, ':')
		dst = appendValue(dst, &attrs[i].value)
	}
	return append(dst, '}')
}

// appendValue appends an attribute value.
func appendValue(dst []byte, v *value) []byte {
	dst = append(dst, `{"`...)
	dst = append(dst, v.kind.String()...)
	dst = append(dst, `":`...)
	switch v.kind {
	case kindBOOL:
		dst = strconv.AppendBool(dst, v.yes)
	case kindNULL:
		dst = append(dst, "true"...)
	case kindM:
		dst = appendAttrs(dst, v.kids)
	case kindL, kindSS, kindNS, kindBS:
		dst = append(dst, '[')
		for i := range v.kids {
			if i > 0 {
				dst = append(dst, ',')
			}
			if v.kind == kindL {
				dst = appendValue(dst, &v.kids[i].value)
			} else {
				dst = appendScalar(dst, &v.kids[i].value)
			}
		}
		dst = append(dst, ']')
	case kindS, kindN, kindB:
		dst = appendScalar(dst, v)
	}
	return append(dst, '}')
}

// appendScalar appends the text of a string, number or binary.
func appendScalar(dst []byte, v *value) []byte {
	if v.kind != kindB {
		return appendString(dst, v.text)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, []byte(v.text))
	return append(dst, '"')
}

// appendString appends a JSON string.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
