package streamd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/sigv4"
)

// A Key is what clients sign requests with when Config.Auth is "verify".
type Key struct {
	ID     string // access key id
	Secret string // secret access key
	// Token is a session token that must come with each request of the key.
	// Empty means none.
	Token string
	// Account is that of the requests, twelve digits. Default 000000000000.
	Account string
	// Expires is when the key ends, by the server's clock: requests are then
	// answered with ExpiredTokenException. The zero time means never.
	Expires time.Time
	// Allow are rules of which one must fit each request. None allow every
	// operation on everything in the key's account.
	Allow []Rule
}

// A Rule allows operations on resources. In its patterns * stands for any text
// and ? for one character.
type Rule struct {
	// Operations are such as "kinesis:PutRecords", "kinesis:Get*" or
	// "dynamodb:*". Empty means all.
	Operations []string
	// Resources are names of streams and tables, or ARNs. Operations that name
	// neither, such as ListStreams, need "*". Empty means all in the key's
	// account; what belongs to another is reached only by a pattern that begins
	// with "arn:".
	Resources []string
}

// checkKeys returns what is wrong with the keys, and with their absence.
func (c Config) checkKeys(mode awsproto.AuthMode) error {
	if mode != awsproto.AuthVerify {
		if len(c.Keys) > 0 {
			return errors.New("keys are of use only with auth verify; say --auth=verify as well")
		}
		return nil
	}
	if len(c.Keys) == 0 {
		return errors.New("auth verify needs keys to verify with; name a file of them with --auth-keys")
	}
	var errs []error
	seen := make(map[string]bool)
	for i, k := range c.Keys {
		what := fmt.Sprintf("key %d", i+1)
		switch {
		case k.ID == "":
			errs = append(errs, fmt.Errorf("%s has no id; give each key an id and a secret", what))
		case strings.ContainsAny(k.ID, "/, ="):
			errs = append(errs, fmt.Errorf("the id of %s has a character that an access key id cannot have (a slash, comma, blank or equals sign)", what))
		case seen[k.ID]:
			errs = append(errs, fmt.Errorf("key %s is there twice; remove one", k.ID))
		}
		if k.ID != "" {
			what = "key " + k.ID
			seen[k.ID] = true
		}
		if k.Secret == "" {
			errs = append(errs, fmt.Errorf("%s has no secret", what))
		}
		if k.Account != "" && (len(k.Account) != 12 || strings.Trim(k.Account, "0123456789") != "") {
			errs = append(errs, fmt.Errorf("account %q of %s is not twelve digits; in YAML put it in quotes", k.Account, what))
		}
		for _, r := range k.Allow {
			for _, op := range r.Operations {
				if op != "*" && !strings.HasPrefix(op, "kinesis:") && !strings.HasPrefix(op, "dynamodb:") {
					errs = append(errs, fmt.Errorf("operation %q of %s has no service; write kinesis:%s or dynamodb:%[1]s", op, what, op))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// keyring is what is known of the keys while the server runs. They may be
// replaced under a request, which is then allowed what the new ones allow.
type keyring struct {
	keys atomic.Pointer[map[string]Key]
}

func newKeyring(keys []Key) *keyring {
	ring := new(keyring)
	ring.set(keys)
	return ring
}

func (ring *keyring) set(keys []Key) {
	byID := make(map[string]Key)
	for _, k := range keys {
		if k.Account == "" {
			k.Account = awsproto.DefaultAccount
		}
		byID[k.ID] = k
	}
	ring.keys.Store(&byID)
}

func (ring *keyring) get(id string) (Key, bool) {
	k, ok := (*ring.keys.Load())[id]
	return k, ok
}

func (ring *keyring) key(id string) (sigv4.Key, bool) {
	k, ok := ring.get(id)
	return sigv4.Key{Secret: k.Secret, Token: k.Token, Expires: k.Expires}, ok
}

func (ring *keyring) account(id string) string {
	k, _ := ring.get(id)
	return k.Account
}

// SetKeys replaces the keys of a server whose Config.Auth is "verify": requests
// that come from now on are verified by these. A subscription that is open goes
// on until its end. Errors are for the operator, and leave the keys as they were.
func (s *Server) SetKeys(keys []Key) error {
	if s.keys == nil {
		return errors.New("the server does not verify signatures; start it with --auth=verify")
	}
	if err := (Config{Keys: keys}).checkKeys(awsproto.AuthVerify); err != nil {
		return err
	}
	s.keys.set(keys)
	return nil
}

// authorize is the server's allow rules around the operations of Kinesis.
func (ring *keyring) authorize(ctx context.Context, c api.Call, do func(context.Context) (shape.Output, error)) (shape.Output, error) {
	if c.Unread != nil {
		return nil, c.Unread // an iterator that has expired, for one: nothing is told but that
	}
	resource, account := "*", ""
	if c.Stream.Name != "" {
		resource, account = c.Stream.ARN(), c.Stream.Account
	}
	if refused := ring.refuse(ctx, "kinesis:"+c.Operation, resource, c.Stream.Name, account); refused != nil {
		return nil, refused
	}
	return do(ctx)
}

// authorizeTable is the same for an operation of DynamoDB; table is empty if it
// names none.
func (ring *keyring) authorizeTable(ctx context.Context, scope arn.Scope, op, table string) *awserr.Error {
	resource, account := "*", ""
	if table != "" {
		resource, account = scope.Table(table), scope.Account
	}
	return ring.refuse(ctx, "dynamodb:"+op, resource, table, account)
}

// refuse returns an error unless a rule allows the caller the operation.
//
// Source of the wording: AWS's documentation of access denied messages.
func (ring *keyring) refuse(ctx context.Context, op, resource, name, account string) *awserr.Error {
	id, _ := sigv4.KeyID(ctx)
	k, ok := ring.get(id)
	if ok && k.allows(op, resource, name, account) {
		return nil
	}
	policy := "identity-based"
	if account != "" && account != k.Account {
		policy = "resource-based"
	}
	return awserr.New("AccessDeniedException",
		"User: arn:aws:iam::%s:user/%s is not authorized to perform: %s on resource: %s because no %s policy allows the %s action",
		k.Account, id, op, resource, policy, op)
}

func (k *Key) allows(op, resource, name, account string) bool {
	own := account == "" || account == k.Account
	if len(k.Allow) == 0 {
		return own
	}
	for _, r := range k.Allow {
		if len(r.Operations) > 0 && !matchesAny(r.Operations, op) {
			continue
		}
		if len(r.Resources) == 0 && own {
			return true
		}
		for _, p := range r.Resources {
			if strings.HasPrefix(p, "arn:") && matches(p, resource) || own && (p == "*" || name != "" && matches(p, name)) {
				return true
			}
		}
	}
	return false
}

func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if matches(p, s) {
			return true
		}
	}
	return false
}

// matches reports whether s fits a pattern in which * stands for any text and ?
// for one character. It goes back to the last star only, and so takes no longer
// than the product of both lengths.
func matches(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// protect puts signatures and rules in front of the operations.
func (s *Server) protect(ops *api.Config, proto *awsproto.Config) {
	proto.Auth = s.set.auth
	ring := s.keys
	if ring == nil {
		return
	}
	skew := s.set.MaxClockSkew
	if skew == 0 {
		skew = sigv4.DefaultSkew
	}
	proto.Now = s.clock.Now
	proto.Verifier = sigv4.New(sigv4.Config{Key: ring.key, MaxSkew: skew, Now: s.clock.Now})
	proto.Account = ring.account
	ops.Around = append([]api.Around{ring.authorize}, ops.Around...) // before limits: who may not, uses nothing up
	ops.AdmitTable = ring.authorizeTable
}
