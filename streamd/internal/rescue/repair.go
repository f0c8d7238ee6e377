package rescue

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// ErrHopeless is wrapped by the error of a repair that would leave nothing worth
// the name.
var ErrHopeless = errors.New("cannot be repaired")

// Step is one thing that a repair does.
type Step struct {
	What  string   `json:"what"`
	Loses []string `json:"loses,omitempty"` // what can be read no more
}

// Plan is what a repair does, in order.
type Plan struct {
	Steps []Step `json:"steps"`
	Lost  string `json:"lost,omitempty"` // the folder that what was dropped is in, once it was done
}

// String returns the plan for people, in lines.
func (p *Plan) String() string {
	var w strings.Builder
	if len(p.Steps) == 0 {
		w.WriteString("there is nothing to repair\n")
	}
	for _, s := range p.Steps {
		w.WriteString(s.What + "\n")
		for _, l := range s.Loses {
			w.WriteString("  lost: " + l + "\n")
		}
	}
	if p.Lost != "" {
		w.WriteString("what was dropped is in " + p.Lost + "\n")
	}
	return w.String()
}

// repair is a plan with what it takes to carry it out. The order in which that
// is done makes a crash harmless: copies of what is dropped, what takes its
// place, and only then the originals go. So what a crash leaves is damaged as
// before, or repaired.
type repair struct {
	*directory
	Plan
	now time.Time

	meta     *store.Meta // to be written
	rewrites []rewrite
	live     []string // names of the runs that the snapshot has to name
	snapshot bool     // it has to be written anew
	adopt    []runs.Loss
	cut      bool
	skip     uint64
	copies   []string // of files that go or change
	drops    []string // of files that go
}

// rewrite makes one run of what is worth keeping of another.
type rewrite struct {
	from string
	id   runs.ID
	name string
	keep func(runs.Key, runs.Batch) bool
}

// Repair makes a data directory one that a server can start from. Without apply
// it only says what it would do. now is for the name of the folder of what is
// dropped.
func Repair(fsys vfs.FS, dir string, apply bool, now time.Time) (*Plan, error) {
	unlock, err := open(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d, err := look(fsys, dir)
	if err != nil {
		return nil, err
	}
	r := &repair{directory: d, now: now}
	if err := r.plan(); err != nil {
		return nil, err
	}
	plan := &r.Plan
	if !apply || len(r.Steps) == 0 {
		return plan, nil
	}
	if err := r.carryOut(); err != nil {
		return plan, fmt.Errorf("the repair has not come to its end, and can be begun again: %w", err)
	}
	plan = &Plan{r.Steps, r.Lost} // and all that was known of the directory goes
	after, err := look(fsys, dir)
	if err != nil {
		return plan, err
	}
	if report := after.report(); !report.Clean {
		return plan, fmt.Errorf("%s is still damaged after the repair: run streamd check: %w", dir, store.ErrDamaged)
	}
	return plan, nil
}

func (r *repair) step(what string, loses ...string) {
	r.Steps = append(r.Steps, Step{what, loses})
}

// plan decides what is done.
func (r *repair) plan() error {
	if r.applyErr != nil {
		return fmt.Errorf("%w: %w; run the version that wrote it", ErrHopeless, r.applyErr)
	}
	if err := r.planBase(); err != nil {
		return err
	}
	r.planMeta()
	if err := r.planRuns(); err != nil {
		return err
	}
	if r.snapshot && r.hasBase {
		r.copies = append(r.copies, r.path(store.SnapshotDir, store.SnapshotName(r.base.LSN)))
	}
	r.planJournal()
	for _, s := range r.bad {
		r.drop(s.name)
	}
	for _, s := range r.snaps { // those before the base stand in for it
		if s.err != nil && s.lsn < r.base.LSN {
			r.step("take away " + s.name + ", which is damaged and older than what is used")
			r.drop(s.name)
		}
	}
	return nil
}

// drop notes that a file is to go.
func (r *repair) drop(name string) {
	r.copies = append(r.copies, name)
	r.drops = append(r.drops, name)
}

func (r *repair) planBase() error {
	gap := r.gap() > r.journal.Head
	switch {
	case len(r.bad) == 0 && (r.hasBase || r.journal.Damage == nil):
		return nil
	case !r.hasBase && (gap || r.journal.Damage != nil && len(r.journal.Frames) == 0):
		return fmt.Errorf("%w: no snapshot can be read, and the journal does not reach back to the beginning, so that nothing says which streams there were; restore a copy with streamd restore, or save what there is with streamd dump records and start with an empty directory", ErrHopeless)
	case len(r.bad) == 0:
		return nil
	}
	from := "the beginning"
	if r.hasBase {
		from = r.path(store.SnapshotDir, store.SnapshotName(r.base.LSN))
	}
	for _, s := range r.bad {
		if s.lsn <= r.journal.Head {
			r.step(fmt.Sprintf("take away %s, and begin from %s: the journal has all that came between", s.name, from))
			continue
		}
		r.step(fmt.Sprintf("take away %s, and begin from %s", s.name, from),
			fmt.Sprintf("what changed from position %d to %d: streams, shards, tables, and the records that are in no file of records", r.journal.Head, s.lsn))
	}
	return nil
}

func (r *repair) planMeta() {
	if r.metaErr == nil {
		return
	}
	id := r.journal.Store
	if authors := r.base.State.Gateways(); id == ([16]byte{}) && len(authors) > 0 {
		id = authors[0]
	}
	m := store.NewMeta(id, r.now)
	r.meta = &m
	r.journal.Store = m.ID
	r.step("write "+r.path(store.MetaName)+" anew", "the secret of the store: iterators and tokens that were handed out are refused")
	if !errors.Is(r.metaErr, fs.ErrNotExist) {
		r.copies = append(r.copies, r.path(store.MetaName))
	}
}

// planJournal ends the journal where it is whole.
func (r *repair) planJournal() {
	j := r.journal
	for _, name := range append(append([]string(nil), j.Foreign...), j.Strays...) {
		r.step("take away " + name + ", which is no file of this journal")
		r.drop(name)
	}
	end := r.gap()
	if j.Damage == nil && end <= j.Head {
		return
	}
	r.cut = true
	files := make(map[string]bool)
	if j.Damage != nil {
		files[j.Damage.File] = true
	}
	for _, f := range j.Beyond {
		end = max(end, f.End)
		files[f.File] = true
	}
	for _, name := range j.Files {
		if files[name] {
			r.copies = append(r.copies, name)
		}
	}
	// A record takes a byte at least, and so does what needs an id.
	r.skip = uint64(end - j.Head)
	r.step(fmt.Sprintf("end the journal at position %d, and pass over the sequence numbers that were given away behind it", j.Head), r.beyond()...)
}

// beyond says what the frames hold that are behind the damage.
func (r *repair) beyond() []string {
	var loses []string
	if d := r.journal.Damage; d != nil {
		loses = append(loses, fmt.Sprintf("the frame that begins at byte %d of %s", d.Offset, d.File))
	}
	return append(loses, r.tally()...)
}

// fallen reports whether runs that the base does not name may have what it lacks.
func (r *repair) fallen() bool {
	if len(r.bad) > 0 {
		return true
	}
	for _, run := range r.named {
		if run.missing {
			return true
		}
	}
	return false
}

// newID returns an id that no file has, for what is made of another.
func (r *repair) newID(id runs.ID) (runs.ID, string) {
	for {
		id.Merges++
		name := r.path(store.RunsDir, id.Name())
		if _, err := r.fs.Stat(name); err != nil && !r.writes(name) {
			return id, name
		}
	}
}

func (r *repair) writes(name string) bool {
	for _, w := range r.rewrites {
		if w.name == name {
			return true
		}
	}
	return false
}

// lostFolder returns the name of a folder that does not exist yet.
func (r *repair) lostFolder() string {
	base := r.path("lost", r.now.UTC().Format("20060102T150405Z"))
	name := base
	for i := 2; ; i++ {
		if _, err := r.fs.Stat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
}

func relative(dir, name string) string {
	rel, err := filepath.Rel(dir, name)
	if err != nil {
		return filepath.Base(name)
	}
	return rel
}
