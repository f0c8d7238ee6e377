//go:build !linux

package demo

import "time"

// sharedClock returns nanoseconds of a clock that all processes share.
func sharedClock() int64 { return time.Now().UnixNano() }
