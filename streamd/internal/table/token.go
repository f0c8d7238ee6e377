package table

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// tokenLife is how long a ClientRequestToken makes a transaction idempotent.
// Source: Amazon DynamoDB API Reference, TransactWriteItems: ten minutes after
// the first request was completed.
const tokenLife = 10 * time.Minute

// tokens remembers the transactions that were done under a token.
type tokens struct {
	byName btree.Map[string, doneToken] // by scopeKey and token
	byAge  btree.Map[string, struct{}]  // ageKey: the time, and then the name
}

// doneToken is a transaction that was done.
type doneToken struct {
	at     int64 // ms
	digest [sha256.Size]byte
}

func ageKey(at int64, name string) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(at))
	return string(b[:]) + name
}

func (t *tokens) clone() tokens { return tokens{*t.byName.Copy(), *t.byAge.Copy()} }

// expire forgets what is too old at the given time.
func (t *tokens) expire(at int64) {
	for {
		key, _, ok := t.byAge.Min()
		if !ok || int64(binary.BigEndian.Uint64([]byte(key[:8]))) > at-tokenLife.Milliseconds() {
			return
		}
		t.byAge.Delete(key)
		t.byName.Delete(key[8:])
	}
}

// find reports whether the transaction was done before under its token. The
// error is that of a token that another transaction has used.
func (t *tokens) find(at time.Time, scope arn.Scope, r *Request) (done bool, err error) {
	if r.p.token == "" {
		return false, nil
	}
	t.expire(at.UnixMilli())
	old, ok := t.byName.Get(scopeKey(scope) + r.p.token)
	if ok && old.digest != r.digest() {
		return false, awserr.New("IdempotentParameterMismatchException", "")
	}
	return ok, nil
}

// add remembers a transaction that was done.
func (t *tokens) add(at time.Time, scope arn.Scope, r *Request) {
	if r.p.token != "" {
		t.put(scopeKey(scope)+r.p.token, doneToken{at.UnixMilli(), r.digest()})
	}
}

func (t *tokens) put(name string, x doneToken) {
	t.byName.Set(name, x)
	t.byAge.Set(ageKey(x.at, name), struct{}{})
}

// digest returns what two transactions that ask for the same have in common:
// clients may write the members of a map in another order each time.
func (r *Request) digest() [sha256.Size]byte {
	var b []byte
	for _, q := range r.p.subs {
		p := &q.p
		b = binary.AppendUvarint(b, uint64(q.op))
		for _, s := range []string{p.tableName, p.conditionExpr.text, p.updateExpr.text, p.returnOnFail} {
			b = appendText(b, s)
		}
		for _, attrs := range [][]attr{p.key, p.item, p.ph.names, p.ph.values} {
			b = appendSnapshotAttrs(b, attrs, true)
		}
	}
	return sha256.Sum256(b)
}

func (t *tokens) appendSnapshot(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.byAge.Len()))
	t.byAge.Scan(func(key string, _ struct{}) bool {
		name := key[8:]
		x, _ := t.byName.Get(name)
		for range 2 {
			i := strings.IndexByte(name, '/')
			dst = appendText(dst, name[:i])
			name = name[i+1:]
		}
		dst = appendText(dst, name)
		dst = binary.AppendUvarint(dst, uint64(x.at))
		dst = append(dst, x.digest[:]...)
		return true
	})
	return dst
}

// tokens reads the tokens of a snapshot.
func (r *snapshotReader) tokens(t *tokens) {
	for range r.count() {
		scope := arn.Scope{Account: r.text(), Region: r.text()}
		name := r.text()
		x := doneToken{at: int64(r.number())}
		if len(r.s) < len(x.digest) || strings.Contains(scope.Account+scope.Region, "/") || x.at < 0 {
			r.fail()
			return
		}
		r.s = r.s[copy(x.digest[:], r.s):]
		key := scopeKey(scope) + name
		if _, twice := t.byName.Get(key); twice {
			r.fail()
			return
		}
		t.put(key, x)
	}
}
