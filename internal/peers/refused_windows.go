package peers

import (
	"errors"
	"syscall"
)

// refused reports whether a call failed because nobody listens there: the host
// has answered, and said so.
func refused(err error) bool {
	const connectionRefused = syscall.Errno(10061) // WSAECONNREFUSED
	return errors.Is(err, connectionRefused) || errors.Is(err, syscall.ECONNREFUSED)
}
