package api

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// tokenLife is how long iterators and paging tokens are valid.
const tokenLife = 300 * time.Second

// Kinds of sealed texts. One kind is never accepted as another.
const (
	sealIterator  = "iterator"
	sealShards    = "shards"
	sealStreams   = "streams"
	sealChannels  = "channels"
	sealConsumers = "consumers"
)

// sealPrefix begins every sealed text, as it does on AWS: a version.
const sealPrefix = "\x00\x00\x00\x00\x00\x00\x00\x01"

// sealer makes opaque texts that only it can make. The key is the store's, so
// texts outlive a restart, and are worthless on another server.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret [32]byte) sealer {
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never refused
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // nor is AES
	}
	return sealer{aead}
}

// seal writes content as opaque text.
func (s sealer) seal(kind string, content []byte) string {
	sealed := s.aead.Seal([]byte(sealPrefix), nil, content, []byte(kind))
	return base64.StdEncoding.EncodeToString(sealed)
}

var errNotSealed = errors.New("api: not a text of this server")

// open returns the content of a text that seal made.
func (s sealer) open(kind, text string) ([]byte, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !strings.HasPrefix(string(sealed), sealPrefix) {
		return nil, errNotSealed
	}
	content, err := s.aead.Open(nil, nil, sealed[len(sealPrefix):], []byte(kind))
	if err != nil {
		return nil, errNotSealed
	}
	return content, nil
}

// iterator is the content of a shard iterator. It names the stream by its id,
// so that it ends with the stream; the name is only for messages.
type iterator struct {
	Issued time.Time // millisecond precision
	Stream uint64
	Shard  int
	From   state.Position
	Key    state.StreamKey // the region is left out
}

const iteratorFixed = 8 + 8 + 4 + 8 + 8 + 12

func (a *API) sealIterator(it iterator) string {
	b := make([]byte, 0, iteratorFixed+len(it.Key.Name))
	b = binary.BigEndian.AppendUint64(b, uint64(it.Issued.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, it.Stream)
	b = binary.BigEndian.AppendUint32(b, uint32(it.Shard))
	b = binary.BigEndian.AppendUint64(b, it.From.Index)
	b = binary.BigEndian.AppendUint64(b, uint64(it.From.Second))
	b = append(b, it.Key.Account...) // always twelve digits
	b = append(b, it.Key.Name...)
	return a.sealer.seal(sealIterator, b)
}

// openIterator checks and reads an iterator.
//
// Source of the wording: errors recorded from AWS.
func (a *API) openIterator(text string) (iterator, error) {
	invalid := awserr.New("InvalidArgumentException", "Invalid ShardIterator.")
	// AWS takes an iterator in quotes, which is how shell scripts cut it out of
	// an answer.
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	b, err := a.sealer.open(sealIterator, text)
	if err != nil || len(b) < iteratorFixed {
		return iterator{}, invalid
	}
	it := iterator{
		Issued: time.UnixMilli(int64(binary.BigEndian.Uint64(b))),
		Stream: binary.BigEndian.Uint64(b[8:]),
		Shard:  int(binary.BigEndian.Uint32(b[16:])),
		From:   state.Position{Index: binary.BigEndian.Uint64(b[20:]), Second: int64(binary.BigEndian.Uint64(b[28:]))},
		Key:    state.StreamKey{Scope: arn.Scope{Account: string(b[36:48])}, Name: string(b[48:])},
	}
	now := a.engine.Now()
	switch age := now.Sub(it.Issued); {
	case age > tokenLife:
		return iterator{}, IteratorExpired(it.Issued, now)
	case age < -tokenLife:
		// From the future. Up to its own life it is taken: the clock may have
		// been set back since, and the iterator is ours.
		return iterator{}, invalid
	}
	return it, nil
}

// IteratorExpired is the error for an iterator made at issued.
func IteratorExpired(issued, now time.Time) *awserr.Error {
	const layout = "Mon Jan 02 15:04:05 UTC 2006"
	return awserr.New("ExpiredIteratorException",
		"Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of 300000 milliseconds.",
		issued.UTC().Format(layout), now.UTC().Format(layout))
}

// pageToken is the content of a NextToken.
type pageToken struct {
	Issued time.Time
	Stream uint64 // 0 for ListStreams
	Filter shardFilter
	After  string // the last name listed, or the last shard's index in decimal
}

func (a *API) sealPage(kind string, t pageToken) string {
	b := make([]byte, 0, 64+len(t.After))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Issued.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, t.Stream)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Filter.At.UnixMilli()))
	b = append(b, byte(t.Filter.Kind))
	b = append(b, t.After...)
	return a.sealer.seal(kind, b)
}

func (a *API) openPage(kind, text string) (pageToken, error) {
	b, err := a.sealer.open(kind, text)
	if err != nil || len(b) < 25 {
		return pageToken{}, invalidArgument("Invalid NextToken.")
	}
	t := pageToken{
		Issued: time.UnixMilli(int64(binary.BigEndian.Uint64(b))),
		Stream: binary.BigEndian.Uint64(b[8:]),
		Filter: shardFilter{At: time.UnixMilli(int64(binary.BigEndian.Uint64(b[16:]))), Kind: filterKind(b[24])},
		After:  string(b[25:]),
	}
	if age := a.engine.Now().Sub(t.Issued); age > tokenLife {
		return pageToken{}, awserr.New("ExpiredNextTokenException", "NextToken expired. It is valid for 300 seconds.")
	}
	return t, nil
}
