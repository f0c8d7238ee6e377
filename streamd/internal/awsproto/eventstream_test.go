package awsproto_test

import (
	"encoding/hex"
	"testing"

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
