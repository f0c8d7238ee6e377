package table

// Doors for the tests of parts that have no outside of their own.

// Canonical returns the canonical form of a number.
func Canonical(s string) (string, error) { return canonical(s) }

// CompareNumbers orders two canonical numbers.
func CompareNumbers(a, b string) int { return compareNumbers(a, b) }

// AddNumbers returns a+b or a−b of canonical numbers.
func AddNumbers(a, b string, minus bool) (string, error) { return addNumbers(a, b, minus) }

// NumberKey returns the form of a canonical number in a place.
func NumberKey(s string) string { return string(appendNumberKey(nil, s)) }

// TextKey returns the form of a string in a place.
func TextKey(s string) string {
	return string(appendKeyPart(nil, &value{kind: kindS, text: s}))
}

// TextKeyPrefix returns what the forms of strings that begin with s begin with.
func TextKeyPrefix(s string) string { return string(appendKeyPrefix(nil, s)) }

// ParseExpressions parses src as each kind of expression, without
// placeholders.
func ParseExpressions(src string) {
	ph := &placeholders{}
	parseCondition(src, ph)
	parseUpdate(src, ph)
	parseProjection(src, ph)
}

// ItemSize returns the size of the item that a PutItem request has.
func ItemSize(r *Request) int { return sizeOf(r.p.item) }

// Tokens returns how many transactions are remembered under a token.
func Tokens(s *Set) int { return s.tokens.byAge.Len() }
