package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// DefaultSkew is how far apart the clocks of signer and server may be.
const DefaultSkew = 15 * time.Minute

// maxExpires is the longest life of a signature in a query.
//
// Source: AWS General Reference, X-Amz-Expires.
const maxExpires = 7 * 24 * time.Hour

// timeLayout is that of X-Amz-Date.
const timeLayout = "20060102T150405Z"

// A Key is what requests are signed with.
type Key struct {
	Secret string
	// Token belongs to the key of a session, and must come with each of its
	// requests. Empty for a key that lasts.
	Token string
	// Expires is when the key ends; zero means never.
	Expires time.Time
}

// Config holds the settings of a [Verifier]. All are required.
type Config struct {
	// Key returns the key of an id.
	Key func(id string) (Key, bool)
	// MaxSkew is how far a request's time may be from Now, in both directions.
	MaxSkew time.Duration
	Now     func() time.Time
}

// A Verifier checks signatures. It is safe for concurrent use.
type Verifier struct {
	cfg   Config
	cache cache
}

// New returns a Verifier.
func New(cfg Config) *Verifier { return &Verifier{cfg: cfg} }

// Open checks of a claim what can be checked without the body of its request:
// that the signature is for this service and this time, that it covers what it
// must, and that there is such a key.
func (v *Verifier) Open(c *Claim, r *http.Request, service string) *awserr.Error {
	if c.Algorithm != algorithm {
		return incomplete("Unsupported AWS 'algorithm': '" + c.Algorithm + "'.")
	}
	if err := c.covers(r); err != nil {
		return err
	}
	signed, err := c.signedAt()
	if err != nil {
		return err
	}
	if err := c.inScope(signed, service); err != nil {
		return err
	}
	now := v.cfg.Now()
	if err := v.current(c, signed, now); err != nil {
		return err
	}
	key, ok := v.cfg.Key(c.KeyID)
	if !ok || subtle.ConstantTimeCompare([]byte(c.token), []byte(key.Token)) == 0 {
		return awserr.New(codeUnrecognized, "The security token included in the request is invalid.")
	}
	if !key.Expires.IsZero() && !now.Before(key.Expires) {
		return awserr.New("ExpiredTokenException", "The security token included in the request is expired")
	}
	return nil
}

// Check verifies the signature of a claim that Open has not refused.
func (v *Verifier) Check(c *Claim, r *http.Request, body []byte) *awserr.Error {
	key, ok := v.cfg.Key(c.KeyID)
	signed, err := c.signedAt()
	if !ok || err != nil {
		return mismatch() // the key has been taken away since
	}
	sum := sha256.Sum256(body)
	bodyHash := hex.EncodeToString(sum[:])
	if said := c.said(r, nameContent); said != "" && said != bodyHash {
		return mismatch()
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf, ok = c.appendCanonical((*buf)[:0], r, bodyHash)
	if !ok {
		return mismatch()
	}
	canonical := sha256.Sum256(*buf)
	toSign := append((*buf)[:0], algorithm+"\n"...)
	toSign = append(signed.AppendFormat(toSign, timeLayout), '\n')
	toSign = append(append(toSign, c.Date+"/"+c.Region+"/"+c.Service+"/"+c.Terminator...), '\n')
	toSign = hex.AppendEncode(toSign, canonical[:])
	*buf = toSign

	id := cacheKey{c.KeyID, key.Secret, c.Date, c.Region, c.Service}
	signing, cached := v.cache.get(id)
	if !cached {
		signing = derive(key.Secret, c.Date, c.Region, c.Service)
	}
	want := mac(signing[:], toSign)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], want[:])
	if subtle.ConstantTimeCompare(text[:], []byte(c.Signature)) == 0 {
		return mismatch()
	}
	if !cached {
		// Only now: who cannot sign cannot fill the cache with regions that
		// nobody has.
		v.cache.put(id, signing)
	}
	return nil
}

// buffers holds []byte for canonical requests.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func mismatch() *awserr.Error {
	return awserr.New(codeInvalid, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// covers returns an error if the signature leaves out what the server acts on,
// or if one of these headers comes twice: which of the two counts could be
// understood in two ways.
func (c *Claim) covers(r *http.Request) *awserr.Error {
	for _, name := range []string{"Authorization", nameDate, nameToken, nameTarget, nameContent} {
		if len(r.Header[name]) > 1 {
			return awserr.New(codeInvalid, "The header '%s' must not be sent more than once.", name)
		}
	}
	required := []string{nameTarget, nameContent}
	if c.header != "" {
		required = append(required, c.header)
	}
	if !c.signs(nameHost) && !c.signs(nameAuthority) {
		return awserr.New(codeInvalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for _, name := range required {
		value := r.Header.Get(name)
		// Presigning moves such headers into the query, which is signed whole.
		if value != "" && !c.signs(name) && (c.header != "" || c.query.get(name) != value) {
			return awserr.New(codeInvalid, "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
		}
	}
	return nil
}

// signs reports whether the signature covers a header.
func (c *Claim) signs(header string) bool {
	for name := range strings.SplitSeq(c.SignedHeaders, ";") {
		if strings.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// said returns the value of a header, or of the parameter of the query that
// stands for it.
func (c *Claim) said(r *http.Request, name string) string {
	if v := r.Header.Get(name); v != "" || c.header != "" {
		return v
	}
	return c.query.get(name)
}

// signedAt returns the time of the signature.
func (c *Claim) signedAt() (time.Time, *awserr.Error) {
	t, err := time.Parse(timeLayout, c.time)
	if err != nil && c.header == "Date" {
		t, err = http.ParseTime(c.time)
	}
	if err != nil {
		return t, incomplete("Date must be in ISO-8601 'basic format'. Got '" + c.time + "'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	return t.UTC(), nil
}

// inScope checks what the credential is for. Each region has the same keys.
func (c *Claim) inScope(signed time.Time, service string) *awserr.Error {
	if c.Terminator != terminator {
		return awserr.New(codeInvalid, "Credential should be scoped with a valid terminator: '%s', not '%s'.", terminator, c.Terminator)
	}
	if c.Service != service {
		return awserr.New(codeInvalid, "Credential should be scoped to correct service: '%s'. ", service)
	}
	if day := signed.Format("20060102"); c.Date != day {
		return awserr.New(codeInvalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", c.Date, day, signed.Format(timeLayout))
	}
	return nil
}

// current checks the time of a signature.
func (v *Verifier) current(c *Claim, signed, now time.Time) *awserr.Error {
	life := v.cfg.MaxSkew
	if c.expires != "" {
		n, err := strconv.ParseUint(c.expires, 10, 32)
		if err != nil || n == 0 || time.Duration(n)*time.Second > maxExpires {
			return incomplete("X-Amz-Expires must be a number of seconds between 1 and 604800. Got '" + c.expires + "'.")
		}
		life = time.Duration(n) * time.Second
	}
	now = now.UTC()
	switch {
	case now.Sub(signed) > life:
		return awserr.New(codeInvalid, "Signature expired: %s is now earlier than %s (%s - %s)",
			signed.Format(timeLayout), now.Add(-life).Format(timeLayout), now.Format(timeLayout), minutes(life))
	case signed.Sub(now) > v.cfg.MaxSkew:
		return awserr.New(codeInvalid, "Signature not yet current: %s is still later than %s (%s + %s)",
			signed.Format(timeLayout), now.Add(v.cfg.MaxSkew).Format(timeLayout), now.Format(timeLayout), minutes(v.cfg.MaxSkew))
	}
	return nil
}

// minutes writes a duration as AWS's messages have it.
func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min.", d/time.Minute)
	}
	return fmt.Sprintf("%d sec.", d/time.Second)
}

// derive returns the key that signs for one day, region and service.
func derive(secret, date, region, service string) [sha256.Size]byte {
	k := mac([]byte("AWS4"+secret), []byte(date))
	k = mac(k[:], []byte(region))
	k = mac(k[:], []byte(service))
	return mac(k[:], []byte(terminator))
}

func mac(key, text []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

type contextKey struct{}

// WithKeyID returns a context that says by which key a request is signed.
func WithKeyID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// KeyID returns the key of a request whose signature has been verified.
func KeyID(ctx context.Context) (id string, ok bool) {
	id, ok = ctx.Value(contextKey{}).(string)
	return id, ok
}
