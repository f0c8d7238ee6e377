package capture

import (
	"strings"
)

// A Mapping knows under which names a second run has what a first one named
// otherwise: its iterators, tokens, sequence numbers and ARNs. It keeps only
// those that [Mapping.Need] was told of. The zero Mapping is ready.
type Mapping struct {
	need map[string]bool
	to   map[string]string
}

// Need notes what a request repeats from answers. A capture is read once for
// it, before it is sent: of all that answers hold, little is ever used.
func (m *Mapping) Need(l Line) {
	if m.need == nil {
		m.need = make(map[string]bool)
	}
	// A body that cannot be read is sent as it is.
	_ = visit(l.ContentType, l.Body, func(t text) {
		if repeatable(t.path) {
			m.need[t.value] = true
		}
	})
}

// repeatable reports whether a string of a request may be one that an answer
// gave. Data and keys are not: they are what they are; and so are the values of
// items, which lie below their types. A table may be named by its ARN.
func repeatable(path string) bool {
	name := lastName(path)
	return repeated(name) || strings.HasPrefix(name, "SequenceNumber") || name == "TableName"
}

// Learn takes an answer of the first run, and that of the second to the same
// request.
func (m *Mapping) Learn(first, second Answer) {
	for path, value := range first.Values {
		other, ok := second.Values[path]
		if !ok || !m.need[value] {
			continue
		}
		if m.to == nil {
			m.to = make(map[string]string)
		}
		m.to[value] = other
	}
}

// Rewrite returns the body of a request of the first run as the second one
// understands it. All but the names stays byte for byte.
func (m *Mapping) Rewrite(l Line) []byte {
	var out []byte
	done := 0
	err := visit(l.ContentType, l.Body, func(t text) {
		other, ok := m.to[t.value]
		if !ok || !repeatable(t.path) || other == t.value {
			return
		}
		out = append(out, l.Body[done:t.start]...)
		out = appendText(out, l.ContentType, other)
		done = t.end
	})
	if err != nil || done == 0 {
		return l.Body
	}
	return append(out, l.Body[done:]...)
}
