//go:build !windows

package peers

import (
	"errors"
	"syscall"
)

// refused reports whether a call failed because nobody listens there: the host
// has answered, and said so.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
