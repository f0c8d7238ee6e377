package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/agent/internal/transform"
	"github.com/streamkit/streamkit/internal/vfs"
)

// A lossReason is why bytes of a file were not delivered.
type lossReason int

const (
	lossTruncated lossReason = iota // the file was truncated before they were read, and no copy was found
	lossMissing                     // the file was gone when the agent started, and was not found under another name
	lossOversize                    // they were behind the place where a record was cut
	lossHole                        // NUL bytes that a truncation left at the start of a file
	lossUnparsed                    // an option could not convert the record, and the configuration drops it
	lossDeleted                     // the file was deleted, and held open for CloseDeletedAfter without being read
	lossExpired                     // the stream did not take them in time (RecordTTL)
	lossReasons
)

func (r lossReason) String() string {
	return [lossReasons]string{"truncated", "missing", "oversize", "hole", "unparsed", "deleted", "expired"}[r]
}

var rotationKinds = []string{"rename", "move", "delete", "truncate", "copy", "compress"}

// counters are what a flow counts. They only grow, but for openFiles.
type counters struct {
	read     atomic.Uint64 // bytes cut into records, or skipped with a cause
	records  atomic.Uint64 // records handed to the sink
	acked    atomic.Uint64 // records acknowledged
	filtered atomic.Uint64 // records left out by configuration
	unparsed atomic.Uint64 // records that an option could not convert
	oversize atomic.Uint64 // records that were too large
	refused  atomic.Uint64 // batches that failed at least in part

	ackedBytes    atomic.Uint64 // data of records acknowledged
	attempts      atomic.Uint64 // records whose fate the sink has told, also those that failed
	failedRecords atomic.Uint64 // records that failed, each time
	latency       histogram     // from cut to acknowledged, by span

	expired     atomic.Uint64 // records that the stream did not take in time
	deletedDone atomic.Uint64 // files deleted since they were delivered
	deadLetters atomic.Uint64 // records that went to the dead letter file
	stalls      atomic.Uint64 // turns that found no memory
	heldNanos   atomic.Int64  // that reading waited for memory or the sink
	waits       atomic.Uint64 // files that were not opened since too many are
	openFiles   atomic.Int64
	protected   atomic.Int64  // files that have a second name
	unprotected atomic.Uint64 // files that could not have one, or not keep it
	overflows   atomic.Uint64 // times that file events were lost
	scans       atomic.Uint64
	scanNanos   atomic.Int64 // spent in scans
	// Directories by how changes in them are noticed.
	watchedDirs, polledDirs atomic.Int64
	lost                    [lossReasons]atomic.Uint64
	rotations               [6]atomic.Uint64 // as rotationKinds
	troubles                [5]atomic.Uint64 // files or directories that could not be looked at, as troubleReasons
}

// troubleReasons are why a file or directory could not be looked at.
var troubleReasons = []string{
	"not_regular", // a directory, a pipe, a socket, a device
	"permission",
	"limit", // too many files are open, or the disk is full
	"missing",
	"other",
}

// troubleReason returns the index of the reason; nil stands for what is no regular file.
func troubleReason(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrPermission):
		return 1
	case vfs.Passing(err):
		return 2
	case errors.Is(err, fs.ErrNotExist):
		return 3
	}
	return 4
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

// latencyBounds are the upper bounds of the buckets of a histogram.
var latencyBounds = [...]time.Duration{
	time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

// A histogram counts times.
type histogram struct {
	counts [len(latencyBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Histogram is a count of times.
type Histogram struct {
	Counts map[float64]uint64 // by upper bound in seconds, each with all below
	Count  uint64
	Sum    float64 // seconds
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{Counts: make(map[float64]uint64, len(latencyBounds)), Sum: time.Duration(h.sum.Load()).Seconds()}
	for i := range h.counts {
		s.Count += h.counts[i].Load()
		if i < len(latencyBounds) {
			s.Counts[latencyBounds[i].Seconds()] = s.Count
		}
	}
	return s
}

// notes remembers which troubles were logged, so that each is logged once an hour, and
// no more than maxNotes of them.
type notes map[string]time.Time

const (
	maxNotes = 1000
	noteFor  = time.Hour
)

// first reports whether what happened to path is to be logged: not within an hour
// of the last time.
func (fl *flow) first(what, path string, now time.Time) bool {
	key := what + "\x00" + path
	if last, ok := fl.notes[key]; ok && now.Sub(last) < noteFor {
		return false
	}
	if len(fl.notes) >= maxNotes {
		if now.Sub(fl.muted) < noteFor {
			return false
		}
		fl.muted = now
		maps.DeleteFunc(fl.notes, func(_ string, at time.Time) bool { return now.Sub(at) >= noteFor })
		if len(fl.notes) >= maxNotes {
			fl.log.Warn("files and directories in trouble are more than are named here; streamagent_troubles_total counts them",
				slog.Int("named", len(fl.notes)))
			return false
		}
	}
	if fl.notes == nil {
		fl.notes = make(notes)
	}
	fl.notes[key] = now
	return true
}

// trouble counts a file that cannot be read or looked at, and logs it once an hour. err is
// nil if it is no regular file.
func (fl *flow) trouble(path, what string, err error) {
	fl.stats.troubles[troubleReason(err)].Add(1)
	if !fl.first(what, path, time.Now()) {
		return
	}
	fl.log.Warn("file is left out", slog.String("why", what), slog.String("path", path), slog.Any("err", err))
}

// miss is trouble with what should be read and cannot be looked at.
func (fl *flow) miss(path, what string, err error) {
	fl.trouble(path, what, err)
	if fl.once && !errors.Is(err, fs.ErrNotExist) {
		fl.missed[path] = err
	}
}

// unread returns an error that names what could not be read, or nil. The flow has ended.
func (fl *flow) unread() error {
	for _, g := range fl.byID {
		if fl.once && g.failed != nil {
			fl.missed[g.path] = g.failed
		}
	}
	const most = 10
	var errs []error
	for i, path := range slices.Sorted(maps.Keys(fl.missed)) {
		if i == most {
			errs = append(errs, fmt.Errorf("%w: %d more; the log has them", ErrUnread, len(fl.missed)-most))
			break
		}
		err := fl.missed[path]
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err
		}
		errs = append(errs, fmt.Errorf("%w: %s: %w; see that this user can read it, and run again: what was read is not read again",
			ErrUnread, path, err))
	}
	return errors.Join(errs...)
}

// Status is what an [Agent] does at a moment.
type Status struct {
	Flows []FlowStatus `json:"flows"`

	// CheckpointAge is the time since all positions were durable, in seconds.
	CheckpointAge float64 `json:"checkpointAgeSeconds"`
	// CheckpointError is why the positions could not be stored; empty if they were.
	// Delivery goes on meanwhile, and a crash would repeat records.
	CheckpointError string `json:"checkpointError,omitempty"`
	// CheckpointFailures is how often that has happened.
	CheckpointFailures uint64 `json:"checkpointFailures"`
	// CheckpointPersist is the time that storing changed positions takes.
	CheckpointPersist Histogram `json:"-"`
	// ConfigError is why the last change of the configuration was not taken; empty
	// if it was, or there was none.
	ConfigError string `json:"configError,omitempty"`
}

// FlowStatus is the state of one flow. Its counts begin with the process.
type FlowStatus struct {
	ID          string `json:"id"`
	Stream      string `json:"stream"`
	Destination string `json:"destination"` // as KinesisStream:NAME

	// State is "running", "blocked" while the stream refuses records, or "stalled"
	// if it does not answer: records wait, and nothing was acknowledged for half a
	// minute more than they may wait for others (MaxBufferAge).
	State             string `json:"state"`
	LastError         string `json:"lastError,omitempty"`
	ConsecutiveErrors int    `json:"consecutiveErrors"`

	ReadBytes       uint64            `json:"readBytes"`       // cut into records or skipped with a cause
	Records         uint64            `json:"records"`         // handed to the producer
	AckedRecords    uint64            `json:"ackedRecords"`    // stored in the stream
	FilteredRecords uint64            `json:"filteredRecords"` // left out by configuration
	UnparsedRecords uint64            `json:"unparsedRecords"` // not converted by an option; left out or sent as they were
	OversizeRecords uint64            `json:"oversizeRecords"` // too large; cut, split or left out
	ExpiredRecords  uint64            `json:"expiredRecords"`  // not taken by the stream in time
	DeadLetters     uint64            `json:"deadLetters"`     // of the last three: appended to the dead letter file
	DeletedFiles    uint64            `json:"deletedFiles"`    // deleted after they were delivered
	Protected       int64             `json:"protectedFiles"`  // that have a second name
	Unprotected     uint64            `json:"unprotected"`     // that could not have one, or not keep it
	RefusedBatches  uint64            `json:"refusedBatches"`
	LostBytes       map[string]uint64 `json:"lostBytes"`   // by reason
	Rotations       map[string]uint64 `json:"rotations"`   // by kind
	Troubles        uint64            `json:"troubles"`    // looks at a file or directory that failed
	TroublesBy      map[string]uint64 `json:"troublesBy"`  // by reason
	WatchedDirs     int64             `json:"watchedDirs"` // directories whose changes are told by the system
	PolledDirs      int64             `json:"polledDirs"`  // directories that are looked at again and again
	WatchOverflows  uint64            `json:"watchOverflows"`
	Scans           uint64            `json:"scans"`
	ScanSeconds     float64           `json:"scanSeconds"` // spent in scans
	MemoryStalls    uint64            `json:"memoryStalls"`
	// Backpressure is how long reading has waited for memory or for the producer,
	// in seconds.
	Backpressure float64 `json:"backpressureSeconds"`

	Options []OptionStatus `json:"options,omitempty"` // in the order of the configuration
	Samples []Sample       `json:"samples,omitempty"` // the last records that were not converted

	AckedBytes     uint64 `json:"ackedBytes"`     // data of acknowledged records
	RecordAttempts uint64 `json:"recordAttempts"` // records whose fate the producer has told
	RecordFailures uint64 `json:"recordFailures"` // records that failed, counted each time

	// ReadToAck is the time from the reading of records to their acknowledgement.
	ReadToAck Histogram `json:"-"`

	OpenFiles   int64 `json:"openFiles"`
	MemoryBytes int64 `json:"memoryBytes"`
	BehindBytes int64 `json:"behindBytes"` // of all files, not yet acknowledged
	BehindFiles int   `json:"behindFiles"` // those with such bytes

	// OldestUnacked is how long the oldest records wait for their acknowledgement.
	OldestUnacked float64 `json:"oldestUnackedSeconds"`
	// Blocked is how long the stream has refused records; 0 if it takes them.
	Blocked float64 `json:"blockedSeconds"`
	// Stalled is how long nothing was acknowledged though records wait; 0 if the
	// state is another.
	Stalled float64 `json:"stalledSeconds"`

	LastProgress time.Time `json:"lastProgress"` // last acknowledgement

	Files []FileStatus `json:"files"` // in order of path
}

// flowStates are the values of FlowStatus.State.
var flowStates = []string{"running", "blocked", "stalled"}

// watchModes are the values of FileStatus.Mode.
var watchModes = []string{"events", "poll"}

// stalledAfter is how long a stream may be silent, besides the time for which
// records wait for others.
const stalledAfter = 30 * time.Second

// OptionStatus is what an entry of dataProcessingOptions did.
type OptionStatus = transform.OptionStatus

// Sample is a record that an option could not convert.
type Sample = transform.Sample

// FileStatus is the state of one file.
type FileStatus struct {
	Path      string `json:"path"`
	Size      int64  `json:"size"`      // last seen
	Read      int64  `json:"read"`      // offset up to which it is cut into records
	Committed int64  `json:"committed"` // offset up to which everything is delivered
	Behind    int64  `json:"behindBytes"`
	Rotated   bool   `json:"rotated"`
	Mode      string `json:"mode"`   // how growth is noticed at rest: "events" or "poll"
	FileID    string `json:"fileId"` // device and inode
	// Unacked is how long the oldest records of the file wait for their
	// acknowledgement.
	Unacked float64 `json:"oldestUnackedSeconds"`
}

func (fl *flow) status() FlowStatus {
	c := &fl.stats
	s := FlowStatus{
		ID: fl.cfg.ID, Stream: fl.cfg.Stream(), Destination: fl.cfg.Destination(), State: "running",
		ReadBytes: c.read.Load(), Records: c.records.Load(), AckedRecords: c.acked.Load(),
		FilteredRecords: c.filtered.Load(), UnparsedRecords: c.unparsed.Load(), OversizeRecords: c.oversize.Load(),
		DeadLetters: c.deadLetters.Load(), ExpiredRecords: c.expired.Load(), DeletedFiles: c.deletedDone.Load(),
		Protected: c.protected.Load(), Unprotected: c.unprotected.Load(),
		RefusedBatches: c.refused.Load(), MemoryStalls: c.stalls.Load(),
		LostBytes: make(map[string]uint64), Rotations: make(map[string]uint64), TroublesBy: make(map[string]uint64),
		OpenFiles: c.openFiles.Load(), MemoryBytes: fl.pool.Used(),
		LastProgress: time.Unix(0, fl.progress.Load()),
		WatchedDirs:  c.watchedDirs.Load(), PolledDirs: c.polledDirs.Load(), WatchOverflows: c.overflows.Load(),
		Scans: c.scans.Load(), ScanSeconds: time.Duration(c.scanNanos.Load()).Seconds(),
		AckedBytes: c.ackedBytes.Load(), RecordAttempts: c.attempts.Load(), RecordFailures: c.failedRecords.Load(),
		ReadToAck: c.latency.snapshot(), Backpressure: time.Duration(c.heldNanos.Load()).Seconds(),
	}
	if fl.cutter.run != nil {
		s.Options, s.Samples = fl.cutter.run.Status()
	}
	for r := range lossReasons {
		s.LostBytes[r.String()] = c.lost[r].Load()
	}
	for i, kind := range rotationKinds {
		s.Rotations[kind] = c.rotations[i].Load()
	}
	for i, reason := range troubleReasons {
		n := c.troubles[i].Load()
		s.TroublesBy[reason] = n
		s.Troubles += n
	}
	fl.mu.Lock()
	if s.ConsecutiveErrors = fl.failures; fl.failures > 0 {
		s.State, s.LastError = "blocked", fl.lastErr.Error()
		s.Blocked = time.Since(fl.blockedAt).Seconds()
	}
	files := make([]*file, 0, len(fl.listed))
	for g := range fl.listed {
		files = append(files, g)
	}
	fl.mu.Unlock()
	for _, g := range files {
		var unacked float64
		g.mu.Lock()
		e := g.entry
		if len(g.spans) > 0 {
			unacked = time.Since(g.spans[0].born).Seconds()
		}
		g.mu.Unlock()
		fs := FileStatus{
			Path: e.Path, Size: e.Size, Read: g.readNow.Load(), Committed: e.Committed, Behind: max(0, e.Size-e.Committed),
			Rotated: e.Rotated, Mode: watchModes[btoi(!g.watched.Load())], FileID: fileID(e.ID), Unacked: unacked,
		}
		s.Files = append(s.Files, fs)
		if fs.Behind > 0 {
			s.BehindBytes += fs.Behind
			s.BehindFiles++
		}
		s.OldestUnacked = max(s.OldestUnacked, unacked)
	}
	// Acknowledgements of other files show that the stream answers.
	if silent := min(s.OldestUnacked, time.Since(s.LastProgress).Seconds()); s.State == "running" &&
		silent >= (fl.cfg.MaxBufferAge+stalledAfter).Seconds() {
		s.State, s.Stalled = "stalled", silent
	}
	slices.SortFunc(s.Files, func(a, b FileStatus) int { return strings.Compare(a.Path, b.Path) })
	return s
}
