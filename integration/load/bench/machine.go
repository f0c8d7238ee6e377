package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Machine is what the figures depend on.
type Machine struct {
	System     string  `json:"system"`
	CPUs       int     `json:"cpus"`
	Go         string  `json:"go"`
	FileSystem string  `json:"file_system"` // of the data
	Syncs      float64 `json:"syncs"`       // a second, of appends of 4 KB
	Load       string  `json:"load"`        // averages of 1, 5 and 15 minutes before the run
	After      string  `json:"load_after"`  // the same after it
}

// String returns it in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%d CPUs, %s, %s, data on %s with %s fsyncs/s of 4 KB appends, load average %s before the run and %s after it",
		m.CPUs, m.System, m.Go, m.FileSystem, amount(m.Syncs), m.Load, m.After)
}

// Look describes this machine, with dir as the place of the data.
func Look(dir string) (Machine, error) {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), FileSystem: "an unknown file system", Load: LoadAverage(), After: "unknown"}
	if b, err := os.ReadFile("/proc/mounts"); err == nil {
		if abs, err := filepath.Abs(dir); err == nil {
			if kind := fileSystem(string(b), abs); kind != "" {
				m.FileSystem = kind
			}
		}
	}
	var err error
	m.Syncs, err = syncs(dir)
	return m, err
}

// LoadAverage returns the averages of 1, 5 and 15 minutes. Much more than the
// number of CPUs, beyond what the run itself adds, means that others worked on
// the machine, and that rates say little.
func LoadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) >= 3 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

// fileSystem returns the kind of the file system that holds dir.
func fileSystem(mounts, dir string) string {
	best, kind := -1, ""
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/")
		if len(at) >= best && (dir == at || strings.HasPrefix(dir, at+"/")) {
			best, kind = len(at), f[2]
		}
	}
	return kind
}

// syncs returns how often a second a file takes 4 KB and an fsync.
func syncs(dir string) (rate float64, err error) {
	f, err := os.CreateTemp(dir, "streamkit-sync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	const look = 300 * time.Millisecond
	begin := time.Now()
	n := 0
	for time.Since(begin) < look {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
