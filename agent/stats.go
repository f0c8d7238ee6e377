package agent

import (
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A lossReason is why bytes of a file were not delivered.
type lossReason int

const (
	lossTruncated lossReason = iota // the file was truncated before they were read, and no copy was found
	lossMissing                     // the file was gone when the agent started, and was not found under another name
	lossOversize                    // they were behind the place where a record was cut
	lossHole                        // NUL bytes that a truncation left at the start of a file
	lossReasons
)

func (r lossReason) String() string {
	return [lossReasons]string{"truncated", "missing", "oversize", "hole"}[r]
}

var rotationKinds = []string{"rename", "move", "delete", "truncate", "copy"}

// counters are what a flow counts. They only grow, but for openFiles.
type counters struct {
	read      atomic.Uint64 // bytes cut into records, or skipped with a cause
	records   atomic.Uint64 // records handed to the sink
	acked     atomic.Uint64 // records acknowledged
	filtered  atomic.Uint64 // records left out by configuration
	unparsed  atomic.Uint64 // records sent as they were since an option failed
	oversize  atomic.Uint64 // records that were cut
	refused   atomic.Uint64 // batches that failed at least in part
	stalls    atomic.Uint64 // turns that found no memory
	openFiles atomic.Int64
	troubles  atomic.Uint64 // files or directories that could not be looked at
	lost      [lossReasons]atomic.Uint64
	rotations [5]atomic.Uint64 // as rotationKinds
}

func (c *counters) rotation(kind string) {
	if i := slices.Index(rotationKinds, kind); i >= 0 {
		c.rotations[i].Add(1)
	}
}

func (fl *flow) lost(r lossReason, n int64) {
	if n > 0 {
		fl.stats.lost[r].Add(uint64(n))
	}
}

// notes remembers which troubles were logged, so that each is logged once an hour.
type notes map[string]time.Time

const maxNotes = 1000

// trouble counts a file that cannot be read or looked at, and logs it once an hour.
func (fl *flow) trouble(path, what string, err error) {
	fl.stats.troubles.Add(1)
	if fl.notes == nil || len(fl.notes) > maxNotes {
		fl.notes = make(notes)
	}
	now := time.Now()
	key := what + "\x00" + path
	if last, ok := fl.notes[key]; ok && now.Sub(last) < time.Hour {
		return
	}
	fl.notes[key] = now
	fl.log.Warn("file is left out", slog.String("why", what), slog.String("path", path), slog.Any("err", err))
}

// Status is what an [Agent] does at a moment.
type Status struct {
	Flows []FlowStatus `json:"flows"`

	// CheckpointAge is the time since all positions were durable, in seconds.
	CheckpointAge float64 `json:"checkpointAgeSeconds"`
	// CheckpointError is why the positions could not be stored; empty if they were.
	CheckpointError string `json:"checkpointError,omitempty"`
}

// FlowStatus is the state of one flow. Its counts begin with the process.
type FlowStatus struct {
	ID     string `json:"id"`
	Stream string `json:"stream"`

	// State is "running", or "blocked" while the stream refuses records.
	State             string `json:"state"`
	LastError         string `json:"lastError,omitempty"`
	ConsecutiveErrors int    `json:"consecutiveErrors"`

	ReadBytes       uint64            `json:"readBytes"`       // cut into records or skipped with a cause
	Records         uint64            `json:"records"`         // handed to the producer
	AckedRecords    uint64            `json:"ackedRecords"`    // stored in the stream
	FilteredRecords uint64            `json:"filteredRecords"` // left out by configuration
	UnparsedRecords uint64            `json:"unparsedRecords"` // sent as they were since an option failed
	OversizeRecords uint64            `json:"oversizeRecords"` // cut to the largest size
	RefusedBatches  uint64            `json:"refusedBatches"`
	LostBytes       map[string]uint64 `json:"lostBytes"` // by reason
	Rotations       map[string]uint64 `json:"rotations"` // by kind
	Troubles        uint64            `json:"troubles"`  // looks at a file or directory that failed
	MemoryStalls    uint64            `json:"memoryStalls"`

	OpenFiles    int64     `json:"openFiles"`
	MemoryBytes  int64     `json:"memoryBytes"`
	BehindBytes  int64     `json:"behindBytes"`  // of all files, not yet acknowledged
	LastProgress time.Time `json:"lastProgress"` // last acknowledgement

	Files []FileStatus `json:"files"` // in order of path
}

// FileStatus is the state of one file.
type FileStatus struct {
	Path      string `json:"path"`
	Size      int64  `json:"size"`      // last seen
	Read      int64  `json:"read"`      // offset up to which it is cut into records
	Committed int64  `json:"committed"` // offset up to which everything is delivered
	Rotated   bool   `json:"rotated"`
}

func (fl *flow) status() FlowStatus {
	c := &fl.stats
	s := FlowStatus{
		ID: fl.cfg.ID, Stream: fl.cfg.KinesisStream, State: "running",
		ReadBytes: c.read.Load(), Records: c.records.Load(), AckedRecords: c.acked.Load(),
		FilteredRecords: c.filtered.Load(), UnparsedRecords: c.unparsed.Load(), OversizeRecords: c.oversize.Load(),
		RefusedBatches: c.refused.Load(), Troubles: c.troubles.Load(), MemoryStalls: c.stalls.Load(),
		LostBytes: make(map[string]uint64), Rotations: make(map[string]uint64),
		OpenFiles: c.openFiles.Load(), MemoryBytes: fl.pool.Used(),
		LastProgress: time.Unix(0, fl.progress.Load()),
	}
	for r := range lossReasons {
		s.LostBytes[r.String()] = c.lost[r].Load()
	}
	for i, kind := range rotationKinds {
		s.Rotations[kind] = c.rotations[i].Load()
	}
	fl.mu.Lock()
	if s.ConsecutiveErrors = fl.failures; fl.failures > 0 {
		s.State, s.LastError = "blocked", fl.lastErr.Error()
	}
	files := make([]*file, 0, len(fl.listed))
	for g := range fl.listed {
		files = append(files, g)
	}
	fl.mu.Unlock()
	for _, g := range files {
		g.mu.Lock()
		e := g.entry
		g.mu.Unlock()
		s.Files = append(s.Files, FileStatus{Path: e.Path, Size: e.Size, Read: g.readNow.Load(), Committed: e.Committed, Rotated: e.Rotated})
		s.BehindBytes += max(0, e.Size-e.Committed)
	}
	slices.SortFunc(s.Files, func(a, b FileStatus) int { return strings.Compare(a.Path, b.Path) })
	return s
}
