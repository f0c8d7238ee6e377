package awsproto

import (
	"context"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/sigv4"
)

// AuthMode says what a request must prove.
type AuthMode uint8

// The modes of authentication.
const (
	// AuthOpen takes unsigned requests. A signature that is there must be
	// well-formed.
	AuthOpen AuthMode = iota
	// AuthShape asks for a well-formed signature, and does not check it.
	AuthShape
	// AuthVerify asks for a signature by one of the keys of Config.Verifier.
	AuthVerify
)

// The scope of requests that do not name another.
const (
	DefaultAccount = "000000000000"
	DefaultRegion  = "us-east-1"
)

// caller is who a request is from, as far as it has been found out.
type caller struct {
	claim   *sigv4.Claim // nil if the request is not signed
	account string       // of the key of AuthVerify
	err     *awserr.Error
}

// meet reads what the request says of its signer, before its body is read.
// early is true if that is an end of it: who has no key here is not to make the
// server read bodies. In the other modes the order of errors is AWS's, whose
// tests want those of the body first.
func (x *exchange) meet(service string) (c caller, early bool) {
	c.claim, c.err = sigv4.Parse(x.r)
	if c.claim != nil {
		x.keyID = c.claim.KeyID
	}
	mode := x.h.cfg.Auth
	if c.err == nil && c.claim == nil && mode != AuthOpen {
		c.err = awserr.New("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	if c.err == nil && mode == AuthVerify {
		// Before the signature is checked: should the keys be replaced meanwhile,
		// the old secret of an id does not get at the account it has now.
		c.account = x.h.cfg.Account(c.claim.KeyID)
		c.err = x.h.cfg.Verifier.Open(c.claim, x.r, service)
	}
	return c, c.err != nil && mode == AuthVerify
}

// prove verifies the signature over the body, which must not have been decoded:
// codecs write over it.
func (x *exchange) prove(c *caller, body []byte) {
	if x.h.cfg.Auth == AuthVerify && c.err == nil {
		c.err = x.h.cfg.Verifier.Check(c.claim, x.r, body)
	}
}

// scope returns the account and region of the caller, and a context that knows
// its key.
func (x *exchange) scope(c *caller) (context.Context, arn.Scope) {
	ctx := x.r.Context()
	if c.claim == nil {
		return ctx, arn.Scope{Account: DefaultAccount, Region: DefaultRegion}
	}
	scope := arn.Scope{Account: DefaultAccount, Region: c.claim.Region}
	if x.h.cfg.Auth == AuthVerify {
		ctx = sigv4.WithKeyID(ctx, c.claim.KeyID)
		if c.account != "" {
			scope.Account = c.account
		}
	} else if isAccount(c.claim.KeyID) {
		scope.Account = c.claim.KeyID
	}
	return ctx, scope
}

// isAccount reports whether an access key is an account: that is how emulators
// of AWS tell tenants apart.
func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}
