package table

import (
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Limits of keys. Source: Amazon DynamoDB Developer Guide, "Service quotas".
const (
	maxHashKey  = 2048
	maxRangeKey = 1024
)

// keyPart is one attribute of a key.
type keyPart struct {
	name string
	kind kind
}

// keySchema is the key of a table or an index: the hash key and, if there is
// one, the range key.
type keySchema []keyPart

// has reports whether the attribute of that name is part of the key.
func (s keySchema) has(name string) bool {
	for _, p := range s {
		if p.name == name {
			return true
		}
	}
	return false
}

// of returns the attributes of an item that are its key, sorted by name.
func (s keySchema) of(item []attr) []attr {
	key := make([]attr, 0, len(s))
	for _, p := range s {
		if v := find(item, p.name); v != nil {
			key = append(key, attr{p.name, *v})
		}
	}
	return sortAttrs(key)
}

// appendKey appends the place of an item whose key was checked. hash is the
// length of what the hash key takes.
func (s keySchema) appendKey(dst []byte, item []attr) (key []byte, hash int) {
	start := len(dst)
	for i, p := range s {
		dst = appendKeyPart(dst, find(item, p.name))
		if i == 0 {
			hash = len(dst) - start
		}
	}
	return dst, hash
}

// appendKeyPart appends a form of a value whose byte order is the order of the
// values of its type, and of which no other value's form is a prefix.
func appendKeyPart(dst []byte, v *value) []byte {
	if v.kind == kindN {
		return appendNumberKey(dst, v.text)
	}
	// 0 ends the text; a 0 inside is followed by what is greater than the
	// byte after the end.
	return append(appendKeyPrefix(dst, v.text), 0, 1)
}

// appendKeyPrefix appends what the forms of all texts that begin with s begin
// with.
func appendKeyPrefix(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(append(dst, s[:i]...), 0, 0xFF)
		s = s[i+1:]
	}
}

// successor returns the least string that is greater than all that begin with
// prefix, or "" if there is none.
func successor(prefix []byte) string {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xFF {
		n--
	}
	if n == 0 {
		return ""
	}
	b := append([]byte(nil), prefix[:n]...)
	b[n-1]++
	return string(b)
}

// checkKey returns the error for a Key that does not fit the schema.
func (s keySchema) checkKey(key []attr) error {
	if len(key) != len(s) {
		return errKeyMismatch
	}
	for i, p := range s {
		v := find(key, p.name)
		if v == nil || v.kind != p.kind {
			return errKeyMismatch
		}
		if err := checkKeyValue(p.name, v, i == 0); err != nil {
			return err
		}
	}
	return nil
}

// fits reports whether an item has the attributes of the key, in their types.
func (s keySchema) fits(item []attr) bool {
	for _, p := range s {
		if v := find(item, p.name); v == nil || v.kind != p.kind {
			return false
		}
	}
	return true
}

// checkItem returns the error for an item that lacks a proper key.
func (s keySchema) checkItem(item []attr) error {
	for i, p := range s {
		v := find(item, p.name)
		if v == nil {
			return invalidParameter("Missing the key %s in the item", p.name)
		}
		if v.kind != p.kind {
			return invalidParameter("Type mismatch for key %s expected: %s actual: %s", p.name, p.kind, v.kind)
		}
		if err := checkKeyValue(p.name, v, i == 0); err != nil {
			return err
		}
	}
	return nil
}

func checkKeyValue(name string, v *value, hash bool) error {
	switch {
	case v.kind == kindN:
	case v.text == "":
		what := "string"
		if v.kind == kindB {
			what = "binary"
		}
		return awserr.New(codeValidation, "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", what, name)
	case hash && len(v.text) > maxHashKey:
		return invalidParameter("Size of hashkey has exceeded the maximum size limit of2048 bytes") // sic
	case !hash && len(v.text) > maxRangeKey:
		return invalidParameter("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return nil
}
