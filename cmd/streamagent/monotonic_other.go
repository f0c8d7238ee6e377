//go:build !linux

package main

import "time"

// monotonic is 0 where there is no systemd to compare it.
func monotonic() time.Duration { return 0 }
