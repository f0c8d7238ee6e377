package api

import (
	"context"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// The kinds of encryption, in the API's words.
const (
	noEncryption  = "NONE"
	kmsEncryption = "KMS"
)

type encryptionInput struct {
	streamRef
	Type  shape.String
	KeyID shape.String
}

var encryptionShape = streamMembers(func(in *encryptionInput) *streamRef { return &in.streamRef },
	shape.Of("EncryptionType", func(in *encryptionInput) *shape.String { return &in.Type }, shape.OneOf(noEncryption, kmsEncryption).Req()),
	shape.Of("KeyId", func(in *encryptionInput) *shape.String { return &in.KeyID }, shape.Length(1, 2048).Req()))

// startEncryption keeps the key's name. There is no KMS to ask for the key:
// records are marked as encrypted, and stored as they are.
func (a *API) startEncryption(ctx context.Context, scope arn.Scope, in *encryptionInput) (shape.Output, error) {
	return nil, a.changeEncryption(ctx, scope, in, in.KeyID.V)
}

// stopEncryption needs a key's name, as on AWS, and does not compare it.
func (a *API) stopEncryption(ctx context.Context, scope arn.Scope, in *encryptionInput) (shape.Output, error) {
	return nil, a.changeEncryption(ctx, scope, in, "")
}

func (a *API) changeEncryption(ctx context.Context, scope arn.Scope, in *encryptionInput, key string) error {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return err
	}
	if in.Type.V != kmsEncryption {
		return invalidArgument("EncryptionType must be %s. Requested: %s.", kmsEncryption, in.Type.V)
	}
	_, err = a.engine.Command(ctx, state.ChangeEncryption{Key: s.Key, KeyID: key, Delay: a.cfg.TransitionDelay, Daily: a.cfg.Quotas.EncryptionChanges})
	return apiError(err)
}

// encodeEncryption writes how a stream is encrypted, for descriptions.
func encodeEncryption(e shape.Encoder, s *state.Stream) {
	if s.KeyID == "" {
		e.String("EncryptionType", noEncryption)
		return
	}
	e.String("EncryptionType", kmsEncryption)
	e.String("KeyId", s.KeyID)
}

// encodeEncrypted marks a record, or the answer to a put, as encrypted. Those
// that are not have no mark.
func encodeEncrypted(e shape.Encoder, encrypted bool) {
	if encrypted {
		e.String("EncryptionType", kmsEncryption)
	}
}
