package table

import (
	"errors"
	"fmt"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Names of the errors that this package answers with.
const (
	codeSerialization = "SerializationException"
	codeValidation    = "ValidationException"
	codeUnknown       = "UnknownOperationException"
	codeNotFound      = "ResourceNotFoundException"
	codeInUse         = "ResourceInUseException"
	codeCondition     = "ConditionalCheckFailedException"
)

// invalid returns a ValidationException.
func invalid(format string, args ...any) error {
	return awserr.New(codeValidation, format, args...)
}

// invalidParameter returns a ValidationException with the words that DynamoDB
// puts in front of most of them.
func invalidParameter(format string, args ...any) error {
	return awserr.New(codeValidation, "One or more parameter values were invalid: %s", fmt.Sprintf(format, args...))
}

// message returns what an error says, without its code.
func message(err error) string {
	if ae, ok := errors.AsType[*awserr.Error](err); ok {
		return ae.Message
	}
	return err.Error()
}

var errKeyMismatch = awserr.New(codeValidation, "The provided key element does not match the schema")
