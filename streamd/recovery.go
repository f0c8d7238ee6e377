package streamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/rescue"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// Report is what [Check] has found in a data directory.
type Report = rescue.Report

// Finding is one thing that a [Report] has.
type Finding = rescue.Finding

// RepairPlan is what [Repair] does, or would do.
type RepairPlan = rescue.Plan

// DumpOptions say what [Dump] writes.
type DumpOptions = rescue.DumpOptions

// Check looks at a data directory that no server uses, and changes nothing in
// it. Damage is in the report; the error says why Check cannot look.
func Check(dir string) (*Report, error) { return rescue.Check(vfs.OS, dir) }

// Repair makes a damaged data directory one that a server can start from. What
// it takes out goes to the folder "lost" of the directory. Without apply it only
// says what it would do. The error wraps [ErrCorrupt] if there is damage that it
// cannot repair.
func Repair(dir string, apply bool) (*RepairPlan, error) {
	plan, err := rescue.Repair(vfs.OS, dir, apply, time.Now())
	return plan, corrupt(err)
}

// Dump writes what a data directory holds that no server uses, as JSON lines,
// and changes nothing in it. Of a damaged one it writes what is whole.
func Dump(dir string, w io.Writer, o DumpOptions) error {
	return corrupt(rescue.Dump(vfs.OS, dir, w, o))
}

// Restore makes a data directory of a snapshot that [FetchSnapshot] has written,
// compressed or not. The directory must be empty or not exist, and has its name
// only once all is verified and on disk. The error wraps [ErrCorrupt] if the
// snapshot is damaged.
func Restore(dir string, r io.Reader) (*Report, error) {
	report, err := rescue.Restore(vfs.OS, r, dir)
	return report, corrupt(err)
}

// FetchSnapshot has the running server whose admin address is given write a
// checkpoint, and writes a copy of it to w, compressed by zstd if that is asked
// for. The copy holds all records and the server's secret. What was written
// before an error is of no use.
func FetchSnapshot(ctx context.Context, admin string, w io.Writer, compress bool) error {
	url := "http://" + admin + snapshotPath
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return fmt.Errorf("admin address %q is not of the form host:port", admin)
	}
	// A client of its own: the default one's connections outlive the call.
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w; is streamd running with this --admin address?", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("the server gives no snapshot: %s", strings.TrimSpace(string(text)))
	}
	out := io.WriteCloser(nopCloser{w})
	if compress {
		if out, err = rescue.Compress(w); err != nil {
			return err
		}
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		_ = out.Close() // err says more
		return fmt.Errorf("the snapshot was cut off: %w; see the server's log", err)
	}
	return out.Close()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// snapshotPath is where the admin address has snapshots.
const snapshotPath = "/snapshot"

// snapshot answers with a copy of what is stored.
func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) {
	// A web page must not get at it by a name of its own that leads here.
	if isLoopback(s.set.Admin) && !s.hostAllowed()(r.Host) {
		http.Error(w, "snapshots are not given to who calls the server "+r.Host, http.StatusForbidden)
		return
	}
	held, err := s.store.Hold(r.Context())
	switch {
	case errors.Is(err, store.ErrMemory):
		http.Error(w, "it keeps everything in memory, and has no data directory to copy; start it without --memory", http.StatusConflict)
		return
	case err != nil:
		http.Error(w, "no checkpoint can be written: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer held.Release()
	archive, err := rescue.NewArchive(held, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := archive.Write(w); err != nil {
		s.log.Error("a snapshot was not sent to its end", slog.Any("err", err))
		panic(http.ErrAbortHandler) // the only way to tell the client
	}
}
