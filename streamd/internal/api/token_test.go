package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// engine is as much of an engine as iterators need: a time and a key.
type engine struct {
	api.Engine
	now    time.Time
	secret [32]byte
}

func (e *engine) Now() time.Time   { return e.now }
func (e *engine) Aging() time.Time { return e.now }
func (e *engine) Secret() [32]byte { return e.secret }

var issued = time.UnixMilli(1700000000123)

func key(name string) state.StreamKey {
	return state.StreamKey{Scope: arn.Scope{Account: "123456789012"}, Name: name}
}

func TestIteratorCarriesItsPlace(t *testing.T) {
	a := api.New(&engine{now: issued}, api.Config{})
	place := state.Position{Index: 1<<63 - 1, Second: 1 << 35}
	text := a.SealIterator(issued, 1<<60, 1<<31-1, place, key(strings.Repeat("n", 128)))
	if len(text) > 512 {
		t.Errorf("an iterator of %d characters; the model allows 512", len(text))
	}
	stream, shard, from, k, err := a.OpenIterator(text)
	if err != nil || stream != 1<<60 || shard != 1<<31-1 || from != place || k != key(strings.Repeat("n", 128)) {
		t.Errorf("%d %d %v %v %v", stream, shard, from, k, err)
	}
	if again := a.SealIterator(issued, 1<<60, 1<<31-1, place, key("n")); again == text {
		t.Error("two iterators are the same text")
	}
}

// TestIteratorOfTheFuture covers a clock that was set back: what the server
// gave out before stays good for as long as it would have been.
func TestIteratorOfTheFuture(t *testing.T) {
	e := &engine{now: issued}
	a := api.New(e, api.Config{})
	text := a.SealIterator(issued, 1, 0, state.Position{}, key("n"))
	for _, tt := range []struct {
		set time.Duration
		err string
	}{
		{-300 * time.Second, ""},
		{-301 * time.Second, "InvalidArgumentException"},
		{300 * time.Second, ""},
		{300*time.Second + time.Millisecond, "ExpiredIteratorException"},
	} {
		e.now = issued.Add(tt.set)
		_, _, _, _, err := a.OpenIterator(text)
		if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("clock moved by %v: %v", tt.set, err)
		}
	}
}

// FuzzOpenIterator shows that no text but the server's own is an iterator or a
// token, however it was made of one. What opens says what was sealed, in this
// process or in another with the same key.
func FuzzOpenIterator(f *testing.F) {
	a := api.New(&engine{now: issued, secret: [32]byte{1}}, api.Config{})
	stranger := api.New(&engine{now: issued, secret: [32]byte{2}}, api.Config{})
	own := a.SealIterator(issued, 7, 3, state.Position{Index: 9, Second: 1700000000}, key("name"))
	f.Add(own)
	f.Add(`"` + own + `"`)
	f.Add(own[:len(own)-4])
	f.Add(stranger.SealIterator(issued, 7, 3, state.Position{}, key("name")))
	f.Add("")
	f.Add(`""`)
	f.Add("AAAAAAAAAAE=")
	f.Fuzz(func(t *testing.T, text string) {
		stream, shard, from, k, err := a.OpenIterator(text)
		switch {
		case err == nil && (stream != 7 || shard != 3 || from.Index != 9 || k != key("name")):
			t.Fatalf("%q opens: stream %d, shard %d, %v, %v", text, stream, shard, from, k)
		case text == own && err != nil:
			t.Fatal(err)
		}
		if _, err := a.OpenPage(text); err == nil {
			t.Fatalf("%q opens as a token", text)
		}
	})
}

func FuzzStreamARN(f *testing.F) {
	f.Add("arn:aws:kinesis:us-east-1:123456789012:stream/name")
	f.Add("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a:b")
	f.Add("arn:aws:kinesis::123456789012:stream/")
	f.Add("arn:aws:kinesis:/:000000000000:stream/0")
	f.Fuzz(func(t *testing.T, s string) {
		if api.IsStreamARN(s) && (strings.Count(s, ":") != 5 || strings.Count(s, "/") != 1 || !strings.HasPrefix(s, "arn:aws")) {
			t.Fatalf("%q was accepted", s)
		}
	})
}

// FuzzConsumerARN: what is accepted says the same when it is written again.
func FuzzConsumerARN(f *testing.F) {
	f.Add("arn:aws:kinesis:us-east-1:123456789012:stream/name/consumer/c:1700000000")
	f.Add("arn:aws:kinesis:us-east-1:123456789012:stream/name/consumer/c:1/consumer/d:2")
	f.Add("arn:aws:kinesis:us-east-1:123456789012:stream/name/consumer/")
	f.Add("/consumer/")
	f.Fuzz(func(t *testing.T, s string) {
		if k, id, err := api.ParseConsumerARN(s); err == nil && k.ARN()+"/consumer/"+id != s {
			t.Fatalf("%q is read as consumer %q of %s", s, id, k.ARN())
		}
	})
}
