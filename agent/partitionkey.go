package agent

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/streamkit/streamkit/agent/internal/javaregex"
	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

// Ways to choose the partition key of a record.
const (
	KeyRandom        = "random"        // the producer spreads the records over the shards
	KeyDeterministic = "deterministic" // MD5 of the record's bytes
	KeyFile          = "file"          // one for each file, so that its order is kept

	// KeyConst, KeyField and KeyRegex are followed by a colon and by what they take:
	// the key itself; the field of a JSON object, with dots between its name and those
	// of the objects it is in; a regular expression with one group that is looked for
	// in the record. A record without the field, or without a match, gets a random key;
	// a key of more than 64 bytes becomes its MD5.
	KeyConst = "const"
	KeyField = "field"
	KeyRegex = "regex"
)

// maxKeys is how many keys are remembered, so that no record makes a string of its
// own.
const maxKeys = 4096

// A keyer finds the partition key in a record.
type keyer struct {
	digest  bool // of the record
	literal string
	field   []string
	re      *regexp.Regexp

	known map[string]string
	text  []byte
}

// newKeyer returns the keyer of a PartitionKey; nil if the key does not depend on
// the record.
func newKeyer(s string) (*keyer, error) {
	kind, rest, more := strings.Cut(s, ":")
	switch {
	case s == "", s == KeyRandom, s == KeyFile:
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	case s == KeyDeterministic:
		return &keyer{digest: true}, nil
	case more && rest == "":
		return nil, fmt.Errorf("nothing follows %q", s)
	case more && kind == KeyConst:
		if len(rest) > keyReserve {
			return nil, fmt.Errorf("the key has %d bytes, at most %d are allowed", len(rest), keyReserve)
		}
		return &keyer{literal: rest}, nil
	case more && kind == KeyField:
		return &keyer{field: strings.Split(rest, "."), known: make(map[string]string)}, nil
	case more && kind == KeyRegex:
		re, err := javaregex.Find(rest)
		if err == nil && re.NumSubexp() != 1 {
			err = errors.New("it must have one group, which is the key; write (?:…) for others")
		}
		if err != nil {
			return nil, err
		}
		return &keyer{re: re, known: make(map[string]string)}, nil
	}
	return nil, fmt.Errorf("%q is none of %s, %s, %s, %s:KEY, %s:NAME, %s:PATTERN", s,
		KeyRandom, KeyDeterministic, KeyFile, KeyConst, KeyField, KeyRegex)
}

// key returns the key of a record; empty for any.
func (k *keyer) key(rec []byte) string {
	switch {
	case k.digest:
		sum := md5.Sum(rec)
		var b [2 * md5.Size]byte
		hex.Encode(b[:], sum[:])
		return string(b[:])
	case k.field != nil:
		return k.keep(k.member(rec, k.field))
	case k.re != nil:
		loc := k.re.FindSubmatchIndex(rec)
		if loc == nil || loc[2] < 0 {
			return ""
		}
		return k.keep(rec[loc[2]:loc[3]])
	}
	return k.literal
}

// member returns the text of a field of a JSON object; nil if there is none.
func (k *keyer) member(object []byte, path []string) (text []byte) {
	err := jsontext.Object(object, func(name, value []byte) bool {
		if !jsontext.Key(name, path[0]) {
			return true
		}
		switch inside, isText := jsontext.IsString(value); {
		case len(path) > 1:
			text = k.member(value, path[1:])
		case isText:
			k.text = jsontext.AppendUnescaped(k.text[:0], inside)
			text = k.text
		case value[0] != 'n': // null is no key
			text = value
		}
		return false
	})
	if err != nil {
		return nil
	}
	return text
}

// keep returns a key as a string that is made once for all records with it.
func (k *keyer) keep(b []byte) string {
	if s, ok := k.known[string(b)]; ok {
		return s
	}
	s := strings.ToValidUTF8(string(b), "\ufffd")
	if len(s) > keyReserve {
		sum := md5.Sum(b)
		s = hex.EncodeToString(sum[:])
	}
	if len(k.known) == maxKeys {
		clear(k.known)
	}
	k.known[string(b)] = s
	return s
}
