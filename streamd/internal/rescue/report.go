// Package rescue looks at data directories that no server uses, repairs what
// can be repaired, and takes copies out of them and into them.
//
// Nothing here changes a directory but [Repair] with Apply and [Restore], and
// they drop nothing: what a repair takes out of the store goes to the folder
// "lost" of the data directory first.
package rescue

import (
	"fmt"
	"strings"
	"time"
)

// Finding is something that a look at a data directory has found.
type Finding struct {
	Damage bool   `json:"damage"` // else it is a remark, and nothing is wrong
	File   string `json:"file"`
	Offset int64  `json:"offset"` // of the byte, -1 if it is the file as such
	What   string `json:"what"`
}

func (f Finding) String() string {
	kind, at := "note", ""
	if f.Damage {
		kind = "damage"
	}
	if f.Offset >= 0 {
		at = fmt.Sprintf(" at byte %d", f.Offset)
	}
	return fmt.Sprintf("%-6s %s%s: %s", kind, f.File, at, f.What)
}

// Summary is what a data directory holds, as far as it can be read.
type Summary struct {
	Streams    int       `json:"streams"`
	Shards     int       `json:"shards"` // open ones
	Records    uint64    `json:"records"`
	Bytes      uint64    `json:"bytes"` // of records, with their keys, as they are stored
	Tables     int       `json:"tables"`
	Items      int       `json:"items"`
	Runs       int       `json:"runs"`
	Position   uint64    `json:"position"`            // where the journal ends
	Snapshot   uint64    `json:"snapshot"`            // position of the snapshot that a start begins from
	LastRecord time.Time `json:"lastRecord,omitzero"` // arrival of the newest record; zero if there is none
}

// Report is what [Check] finds.
type Report struct {
	Dir      string    `json:"dir"`
	Clean    bool      `json:"clean"` // no finding is damage
	Findings []Finding `json:"findings"`
	Summary  Summary   `json:"summary"`
}

// String returns the report for people, in lines.
func (r *Report) String() string {
	var w strings.Builder
	for _, f := range r.Findings {
		w.WriteString(f.String() + "\n")
	}
	s := r.Summary
	last := "there is no record"
	if !s.LastRecord.IsZero() {
		last = "the last record is of " + s.LastRecord.UTC().Format(time.RFC3339Nano)
	}
	w.WriteString(fmt.Sprintf("%s: %d streams with %d open shards, %d records of %d bytes in %d runs and the journal, %d tables with %d items\n",
		r.Dir, s.Streams, s.Shards, s.Records, s.Bytes, s.Runs, s.Tables, s.Items))
	w.WriteString(fmt.Sprintf("the journal ends at position %d, the snapshot is at %d, %s\n", s.Position, s.Snapshot, last))
	if r.Clean {
		w.WriteString("clean\n")
	}
	return w.String()
}

func millis(ms int64) time.Time { return time.UnixMilli(ms) }
