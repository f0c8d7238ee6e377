package table

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Limits of numbers. Source: Amazon DynamoDB Developer Guide, "Data types for
// attributes": 38 digits of precision, magnitudes from 1E-130 to
// 9.9999999999999999999999999999999999999E+125.
const (
	maxDigits   = 38
	maxExponent = 125
	minExponent = -130
)

// decimal is a number: 0 if digits is empty, otherwise d.ddd × 10^exp.
type decimal struct {
	neg    bool
	exp    int
	digits string // without leading or trailing zeros
}

// parseDecimal reads a number in decimal or scientific notation. ok is false
// if s is none.
func parseDecimal(s string) (d decimal, ok bool) {
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		d.neg = s[i] == '-'
		i++
	}
	var (
		buf      [64]byte
		digits   = buf[:0]
		count    int // digits seen
		integral = -1
		first    int // ordinal of the first digit that is not 0
	)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && integral < 0 {
			integral = count
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		if len(digits) == 0 {
			first = count
		}
		if c != '0' || len(digits) > 0 {
			digits = append(digits, c)
		}
		count++
	}
	if count == 0 {
		return decimal{}, false
	}
	if integral < 0 {
		integral = count
	}
	exp := 0
	if i < len(s) {
		if s[i] != 'e' && s[i] != 'E' {
			return decimal{}, false
		}
		var err error
		if exp, err = strconv.Atoi(s[i+1:]); err != nil || exp > 1<<31-1 || exp < -1<<31 {
			return decimal{}, false
		}
	}
	for len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	if len(digits) == 0 {
		return decimal{}, true
	}
	d.digits = string(digits)
	d.exp = integral - 1 - first + exp
	return d, true
}

// check returns the error for a number that is out of DynamoDB's limits.
func (d decimal) check() error {
	switch {
	case d.digits == "":
		return nil
	case d.exp > maxExponent:
		return awserr.New(codeValidation, "Number overflow. Attempting to store a number with magnitude larger than supported range")
	case d.exp < minExponent:
		return awserr.New(codeValidation, "Number underflow. Attempting to store a number with magnitude smaller than supported range")
	case len(d.digits) > maxDigits:
		return awserr.New(codeValidation, "Attempting to store more than 38 significant digits in a Number")
	}
	return nil
}

// String returns the one form in which numbers are kept, and in which DynamoDB
// prints them: no exponent, no zeros at either end beyond what the value needs.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	b := make([]byte, 0, len(d.digits)+max(d.exp, -d.exp)+3)
	if d.neg {
		b = append(b, '-')
	}
	switch {
	case d.exp < 0:
		b = append(b, "0."...)
		b = appendZeros(b, -d.exp-1)
		b = append(b, d.digits...)
	case d.exp+1 >= len(d.digits):
		b = append(b, d.digits...)
		b = appendZeros(b, d.exp+1-len(d.digits))
	default:
		b = append(b, d.digits[:d.exp+1]...)
		b = append(b, '.')
		b = append(b, d.digits[d.exp+1:]...)
	}
	return string(b)
}

func appendZeros(b []byte, n int) []byte {
	for range n {
		b = append(b, '0')
	}
	return b
}

// canonical returns the canonical form of a number as a client wrote it.
func canonical(s string) (string, error) {
	if isPlainInteger(s) {
		return s, nil // already canonical, the usual case of counters
	}
	d, ok := parseDecimal(s)
	if !ok {
		if s == "" {
			return "", awserr.New(codeValidation, "The parameter cannot be converted to a numeric value")
		}
		return "", awserr.New(codeValidation, "The parameter cannot be converted to a numeric value: %s", s)
	}
	if err := d.check(); err != nil {
		return "", err
	}
	return d.String(), nil
}

// isPlainInteger reports whether s is the canonical form of an integer of at
// most 38 digits.
func isPlainInteger(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > maxDigits || digits[0] == '0' && s != "0" {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// compareNumbers orders two canonical numbers.
func compareNumbers(a, b string) int {
	an, bn := strings.HasPrefix(a, "-"), strings.HasPrefix(b, "-")
	switch {
	case an && bn:
		return compareMagnitudes(b[1:], a[1:])
	case an:
		return -1
	case bn:
		return 1
	}
	return compareMagnitudes(a, b)
}

// compareMagnitudes orders two canonical numbers without sign.
func compareMagnitudes(a, b string) int {
	ai, af, _ := strings.Cut(a, ".")
	bi, bf, _ := strings.Cut(b, ".")
	if len(ai) != len(bi) {
		return len(ai) - len(bi)
	}
	if c := strings.Compare(ai, bi); c != 0 {
		return c
	}
	return strings.Compare(af, bf) // no trailing zeros, so a prefix is smaller
}

// addNumbers returns a+b, or a−b, of canonical numbers.
func addNumbers(a, b string, minus bool) (string, error) {
	const safe = 18 // digits whose sum fits an int64
	if len(a) <= safe && len(b) <= safe {
		x, errA := strconv.ParseInt(a, 10, 64)
		y, errB := strconv.ParseInt(b, 10, 64)
		if errA == nil && errB == nil {
			if minus {
				y = -y
			}
			return strconv.FormatInt(x+y, 10), nil
		}
	}
	x, xs := coefficient(a)
	y, ys := coefficient(b)
	scale := min(xs, ys)
	shift(x, xs-scale)
	shift(y, ys-scale)
	if minus {
		x.Sub(x, y)
	} else {
		x.Add(x, y)
	}
	d, _ := parseDecimal(x.String())
	d.exp += scale
	if err := d.check(); err != nil {
		return "", err
	}
	return d.String(), nil
}

// coefficient returns c and e such that s is c × 10^e.
func coefficient(s string) (c *big.Int, e int) {
	d, _ := parseDecimal(s)
	c = new(big.Int)
	if d.digits == "" {
		return c, 0
	}
	c.SetString(d.digits, 10)
	if d.neg {
		c.Neg(c)
	}
	return c, d.exp - len(d.digits) + 1
}

// shift multiplies x by 10^n.
func shift(x *big.Int, n int) {
	x.Mul(x, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil))
}

// numberSize returns the size of a canonical number as DynamoDB counts it: a
// byte, a byte for each pair of decimal digits, one more if it is negative.
func numberSize(s string) int {
	d, _ := parseDecimal(s)
	n := len(d.digits)
	if n > 0 && d.exp&1 == 0 {
		n++ // pairs start at even powers of ten
	}
	n = 1 + (n+1)/2
	if d.neg {
		n++
	}
	return n
}

// appendNumberKey appends a form of a canonical number whose byte order is the
// numeric order, and of which no other number's form is a prefix.
func appendNumberKey(dst []byte, s string) []byte {
	const negative, zero, positive = 1, 2, 3
	d, _ := parseDecimal(s)
	switch {
	case d.digits == "":
		return append(dst, zero)
	case d.neg:
		dst = append(dst, negative, byte(maxExponent-d.exp))
		for i := range len(d.digits) {
			dst = append(dst, ^d.digits[i])
		}
		return append(dst, 0xFF)
	}
	dst = append(dst, positive, byte(d.exp-minExponent))
	dst = append(dst, d.digits...)
	return append(dst, 0)
}
