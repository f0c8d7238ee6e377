package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/backoff"
	"github.com/streamkit/streamkit/internal/vfs"
)

// Start says where a stream is begun that the state file does not know.
type Start string

// The starts.
const (
	TrimHorizon Start = "trim-horizon" // with its oldest record; the default
	Latest      Start = "latest"       // with what is put from now on
	Timestamp   Start = "timestamp"    // with what arrived at Config.Timestamp or later
)

// ErrIncomplete is wrapped by the error of [Mirror.Run] when all went on to the
// end and something of a source can still not be had at the target.
var ErrIncomplete = errors.New("mirror: not everything is at the target")

// Stream names a stream to copy.
type Stream struct {
	From string // in the source
	To   string // in the target
}

// Config holds the optional settings of a [Mirror]. The zero Config copies, once,
// what is there.
type Config struct {
	// FromName and ToName name the endpoints, in the state file and for people.
	// A state file is good for the same names only.
	FromName, ToName string

	Start     Start
	Timestamp time.Time // with Start Timestamp

	// Follow goes on until the context ends. The default, false, ends at what is
	// there when Run is called.
	Follow bool

	// Create has streams that the target does not have created like those of the
	// source: number of shards, mode, retention, largest record.
	Create bool

	// SameShards splits and merges shards of the target so that each shard of
	// the source has one with the same hash keys. It needs Create.
	SameShards bool

	// LooseOrder sends several records of one partition key in one request. Their
	// order is then lost where the target refuses some of them, or does not keep
	// the order of a request. The default, false, sends one at a time.
	LooseOrder bool

	// StateFile is where progress is kept. Empty keeps none.
	StateFile string
	// FS holds StateFile. Default vfs.OS.
	FS vfs.FS

	// Poll is the pause after a read that found nothing. Default 1s.
	Poll time.Duration

	// GiveUp is how long a shard may make no progress because an endpoint does
	// not answer or fails. Default 10m; with Follow, or negative: for ever.
	// Being throttled is no such failure.
	GiveUp time.Duration

	// RequestTimeout bounds each request. Default 30s.
	RequestTimeout time.Duration

	// Memory is how many bytes of records are held at once, all shards together.
	// Default 128 MiB; at least 16 MiB.
	Memory int64

	// Logger takes what is to be told on the way. Default slog.Default().
	Logger *slog.Logger
}

// readReserve is what one answer of GetRecords may take: 10 MiB of data, the
// most that AWS sends, and 10,000 records.
const readReserve = 10<<20 + 10000*recordOverhead

func (c Config) withDefaults() (Config, error) {
	c.Start = cmp.Or(c.Start, TrimHorizon)
	c.Poll = cmp.Or(c.Poll, time.Second)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 30*time.Second)
	c.Memory = cmp.Or(c.Memory, 128<<20)
	if c.GiveUp == 0 && !c.Follow {
		c.GiveUp = 10 * time.Minute
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	var errs []error
	if !slices.Contains([]Start{TrimHorizon, Latest, Timestamp}, c.Start) {
		errs = append(errs, fmt.Errorf("start %q is none of trim-horizon, latest and timestamp", c.Start))
	}
	if (c.Start == Timestamp) == c.Timestamp.IsZero() {
		errs = append(errs, errors.New("start timestamp and a time go together"))
	}
	if c.SameShards && !c.Create {
		errs = append(errs, errors.New("the same shards need Create, which allows to change the target"))
	}
	if c.Poll < 0 || c.RequestTimeout < 0 {
		errs = append(errs, errors.New("a time is negative"))
	}
	if c.Memory < 16<<20 {
		errs = append(errs, fmt.Errorf("memory of %d bytes is less than 16 MiB, which one read may need", c.Memory))
	}
	return c, errors.Join(errs...)
}

// A Mirror copies streams. Run may be called once.
type Mirror struct {
	from    Source
	to      Target
	cfg     Config
	log     *slog.Logger
	memory  *budget
	streams []*stream

	saved *state // as it is in the file; owned by Run
}

// New returns a Mirror of streams. It makes no request.
func New(from Source, to Target, streams []Stream, cfg Config) (*Mirror, error) {
	cfg, err := cfg.withDefaults()
	errs := []error{err}
	if len(streams) == 0 {
		errs = append(errs, errors.New("no stream is named"))
	}
	m := &Mirror{from: from, to: to, cfg: cfg, log: cfg.Logger, memory: newBudget(cfg.Memory)}
	froms, tos := map[string]bool{}, map[string]bool{}
	for _, s := range streams {
		if froms[s.From] {
			errs = append(errs, fmt.Errorf("stream %s is named twice", s.From))
		}
		if tos[s.To] {
			errs = append(errs, fmt.Errorf("two streams would go to %s: their records could not be told apart", s.To))
		}
		if s.From == s.To && cfg.FromName == cfg.ToName {
			errs = append(errs, fmt.Errorf("stream %s would be copied to itself", s.From))
		}
		froms[s.From], tos[s.To] = true, true
		m.streams = append(m.streams, newStream(m, s))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	return m, nil
}

// Run copies until all streams are at their tips, or with Follow until ctx ends,
// which is no error. It returns after the state file is written for the last
// time. A stream that fails ends the others with it.
func (m *Mirror) Run(ctx context.Context) error {
	if m.cfg.StateFile != "" {
		lock, err := m.cfg.FS.Lock(m.cfg.StateFile + ".lock")
		if errors.Is(err, vfs.ErrLocked) {
			return fmt.Errorf("%w %s is in use by another mirror; name another one, or end that", ErrState, m.cfg.StateFile)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
		defer lock.Close() //nolint:errcheck // nothing was written through it
	}
	if err := m.load(); err != nil {
		return err
	}
	var errs []error
	for _, s := range m.streams {
		if err := s.prepare(ctx, m.saved.Streams[s.name]); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: %w", s.name, err))
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if _, err := m.save(true); err != nil {
		return err
	}
	return m.work(ctx)
}

func (m *Mirror) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(m.streams)) // one for each, so that no stream waits
	var wg sync.WaitGroup
	for _, s := range m.streams {
		wg.Go(func() {
			err := s.run(ctx)
			if err != nil {
				err = fmt.Errorf("stream %s: %w", s.name, err)
			}
			ends <- err
		})
	}
	// A first state soon after the beginning lets a mirror come ahead that is
	// killed again and again.
	var savedAt time.Time
	tick := time.NewTicker(saveEvery / 10)
	defer tick.Stop()
	var errs []error
	for left := len(m.streams); left > 0; {
		select {
		case now := <-tick.C:
			if now.Sub(savedAt) < saveEvery {
				continue
			}
			wrote, err := m.save(false)
			if wrote {
				savedAt = now
			}
			if err != nil {
				errs = append(errs, err)
				tick.Stop()
				cancel()
			}
		case err := <-ends:
			left--
			if err != nil {
				errs = append(errs, err)
				cancel()
			}
		}
	}
	wg.Wait()
	if _, err := m.save(false); err != nil && len(errs) == 0 {
		errs = append(errs, err)
	}
	for _, s := range m.streams {
		if err := s.incomplete(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// load reads the state file.
func (m *Mirror) load() error {
	m.saved = &state{From: m.cfg.FromName, To: m.cfg.ToName, Streams: map[string]*streamState{}}
	if m.cfg.StateFile == "" {
		return nil
	}
	s, err := readState(m.cfg.FS, m.cfg.StateFile)
	if err != nil || s == nil {
		return err
	}
	if s.From != m.saved.From || s.To != m.saved.To {
		return fmt.Errorf("%w %s is of a mirror from %s to %s; name another file for this one", ErrState, m.cfg.StateFile, s.From, s.To)
	}
	if s.Streams == nil {
		s.Streams = m.saved.Streams
	}
	m.saved = s
	return nil
}

// saveEvery is the least time between two writes of the state file.
const saveEvery = time.Second

// save writes the state file if there is anything new, or always.
func (m *Mirror) save(always bool) (wrote bool, err error) {
	news := map[string]*streamState{}
	for _, s := range m.streams {
		if st := s.news(always); st != nil {
			news[s.name] = st
		}
	}
	if len(news) == 0 {
		return false, nil
	}
	m.saved = m.saved.with(news)
	if m.cfg.StateFile == "" {
		return true, nil
	}
	return true, writeState(m.cfg.FS, m.cfg.StateFile, m.saved)
}

// Stats returns what was done so far, by stream, in the order given to New. It
// may be called at any time.
func (m *Mirror) Stats() []Stats {
	all := make([]Stats, len(m.streams))
	for i, s := range m.streams {
		all[i] = s.stats()
	}
	return all
}

// waits are the pauses before a request is made again.
var waits = backoff.Policy{Base: 100 * time.Millisecond, Max: 5 * time.Second}

// retry calls f until it succeeds, or its error is final or limit has passed.
// Being throttled does not count. A limit below 0 is none.
func (m *Mirror) retry(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	began := time.Now()
	for n := 0; ; n++ {
		err := m.call(ctx, f)
		if err == nil || ctx.Err() != nil {
			return cmp.Or(err, ctx.Err())
		}
		switch k := classify(err); {
		case k == final || k == gone || k == expired:
			return err
		case k != throttled && limit >= 0 && time.Since(began) > limit:
			return err
		}
		if !sleep(ctx, waits.Wait(n, nil)) {
			return ctx.Err()
		}
	}
}

// call bounds one request in time.
func (m *Mirror) call(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.RequestTimeout)
	defer cancel()
	return f(ctx)
}

// giveUp is GiveUp as retry wants it.
func (m *Mirror) giveUp() time.Duration {
	if m.cfg.GiveUp <= 0 {
		return -1
	}
	return m.cfg.GiveUp
}

// sleep reports false if ctx ended it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
