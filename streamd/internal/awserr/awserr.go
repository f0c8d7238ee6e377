// Package awserr holds the error type that every operation of streamd answers
// with: a name from the AWS API, a message and an HTTP status.
package awserr

import "fmt"

// Error is an error as an AWS client sees it.
type Error struct {
	Code    string // __type, without a namespace: "ResourceNotFoundException"
	Message string // empty where AWS sends none
	Status  int    // HTTP status; 0 means 400

	// Members is JSON that follows "message" in the body, each member with a
	// leading comma, as `,"Item":{…}`. Empty in almost every error.
	Members string
}

// New returns an error with HTTP status 400.
func New(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: 400}
}

// Internal returns the error that hides a fault of the server. The cause
// belongs in the server's log.
func Internal() *Error {
	return &Error{Code: "InternalFailure", Message: "Internal service failure.", Status: 500}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// HTTPStatus returns the status to answer with.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return 400
	}
	return e.Status
}
