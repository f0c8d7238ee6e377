//go:build unix

package tail

import "syscall"

// OpenLimit returns how many files this process may have open. The Go runtime has
// raised the limit as far as it may be.
func OpenLimit() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return int(min(uint64(r.Cur), 1<<20)) //nolint:unconvert // signed on some systems
}
