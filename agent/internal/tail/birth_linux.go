package tail

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/streamkit/streamkit/internal/vfs"
)

// Birth returns the time of birth of an open file in Unix nanoseconds, or 0 if
// the file system does not know it.
func Birth(f vfs.File) int64 {
	d, ok := f.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	var st unix.Statx_t
	if err := unix.Statx(int(d.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).UnixNano()
}
