package awsproto_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

type nothing struct{}

func (nothing) Encode(shape.Encoder) {}
func (nothing) Size() int            { return 0 }

// TestEventStreamMessages compares with messages that the encoder of
// aws-sdk-go-v2 has made.
func TestEventStreamMessages(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		got        []byte
	}{
		{
			"first", "0000007200000060ab820d9e0d3a6d6573736167652d747970650700056576656e740b3a6576656e742d74797065" +
				"070010696e697469616c2d726573706f6e73650d3a636f6e74656e742d7479706507001a6170706c69636174696f" +
				"6e2f782d616d7a2d6a736f6e2d312e317b7de16e66e4",
			awsproto.AppendEvent(nil, awsproto.JSON11, "initial-response", nothing{}),
		},
		{
			"exception", "0000008d0000006e865ee7150d3a6d6573736167652d74797065070009657863657074696f6e0f3a657863657074" +
				"696f6e2d747970650700165265736f75726365496e557365457863657074696f6e0d3a636f6e74656e742d747970" +
				"6507001a6170706c69636174696f6e2f782d616d7a2d6a736f6e2d312e317b226d657373616765223a2278227dd6edc97a",
			awsproto.AppendFailure(nil, awsproto.JSON11, awserr.New("ResourceInUseException", "x")),
		},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s message\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// one is an output with one member.
type one struct{ text string }

func (o one) Encode(e shape.Encoder) { e.String("Text", o.text) }

func (o one) Size() int { return len(o.text) }

// FuzzEventStream writes a stream of three messages and has the decoder of
// aws-sdk-go-v2 read it: each message arrives whole, with the headers and the
// payload that it was given, and damage anywhere is noticed.
func FuzzEventStream(f *testing.F) {
	f.Add("SubscribeToShardEvent", "text", "ResourceInUseException", "is in use", false, uint16(40), byte(1))
	f.Add("e", "", "ExpiredNextTokenException", "\"\\ü\x00", true, uint16(3), byte(0x80))
	f.Add("", strings.Repeat("x", 70_000), "InternalFailure", strings.Repeat("m", 70_000), true, uint16(70_100%65536), byte(7))
	f.Fuzz(func(t *testing.T, name, text, code, message string, asCBOR bool, at uint16, flip byte) {
		codec := awsproto.JSON11
		if asCBOR {
			codec = awsproto.CBOR11
		}
		if len(name) > 100 {
			name = name[:100]
		}
		stream := awsproto.AppendEvent(nil, codec, "initial-response", nothing{})
		stream = awsproto.AppendEvent(stream, codec, name, one{text})
		stream = awsproto.AppendFailure(stream, codec, awserr.New(code, "%s", message))

		decoder := eventstream.NewDecoder()
		in := bytes.NewReader(stream)
		next := func(what string) (map[string]string, []byte) {
			m, err := decoder.Decode(in, nil)
			if err != nil {
				t.Fatalf("%s message: %v", what, err)
			}
			headers := map[string]string{}
			for _, h := range m.Headers {
				headers[h.Name] = h.Value.String()
			}
			return headers, m.Payload
		}
		expect := func(what string, got map[string]string, want ...string) {
			if len(got) != len(want)/2 {
				t.Errorf("%s message has %d headers, want %d", what, len(got), len(want)/2)
			}
			for i := 0; i < len(want); i += 2 {
				if got[want[i]] != want[i+1] {
					t.Errorf("%s message has %s %q, want %q", what, want[i], got[want[i]], want[i+1])
				}
			}
		}

		headers, payload := next("first")
		expect("first", headers, ":message-type", "event", ":event-type", "initial-response", ":content-type", codec.ContentType())
		if want := codec.AppendOutput(nil, nothing{}); !bytes.Equal(payload, want) {
			t.Errorf("first message holds %x, want %x", payload, want)
		}
		headers, payload = next("second")
		expect("second", headers, ":message-type", "event", ":event-type", name, ":content-type", codec.ContentType())
		if want := codec.AppendOutput(nil, one{text}); !bytes.Equal(payload, want) {
			t.Errorf("second message holds %x, want %x", payload, want)
		}
		headers, payload = next("last")
		if headers[":message-type"] == "exception" {
			if code == "InternalFailure" {
				code = "InternalFailureException"
			}
			expect("last", headers, ":message-type", "exception", ":exception-type", code, ":content-type", codec.ContentType())
			if len(payload) == 0 {
				t.Error("an exception has no payload")
			}
		} else {
			const longest = 1<<15 - 1
			if len(message) > longest {
				message = message[:longest]
			}
			if len(code) > longest {
				code = code[:longest]
			}
			expect("last", headers, ":message-type", "error", ":error-code", code, ":error-message", message)
			if len(payload) != 0 {
				t.Errorf("an error that is not modelled has the payload %x", payload)
			}
		}
		if _, err := decoder.Decode(in, nil); !errors.Is(err, io.EOF) {
			t.Errorf("after the last message: %v, want the end", err)
		}

		// A bit that changes on the way is noticed: no message but the one with
		// it is read, and that one is not.
		if flip == 0 {
			return
		}
		damaged := bytes.Clone(stream)
		damaged[int(at)%len(damaged)] ^= flip
		in = bytes.NewReader(damaged)
		whole := 0
		for whole < 3 {
			if _, err := decoder.Decode(in, nil); err != nil {
				break
			}
			whole++
		}
		if whole == 3 {
			t.Errorf("byte %d changed by %#x, and nobody noticed", int(at)%len(damaged), flip)
		}
	})
}
