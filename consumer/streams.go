package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// source is one stream that is read. But for what streams.mu guards it does not
// change.
type source struct {
	id           StreamID // zero if the consumer reads one stream: keys of leases are ids of shards then
	name         string   // as the user has named it
	ref          streamRef
	initial      Position
	consumerARN  string
	registration *registration // nil if only polling is asked for
	calls        *calls        // of processors of all its shards

	// Guarded by streams.mu.
	listed   bool      // by the tracker
	since    time.Time // when it was first known not to be listed
	gone     string    // why it cannot be read, "" if it can
	doubtful bool      // reading fails: it may be gone
	synced   bool      // its shards had leases, once
	fixed    bool      // its epoch was given, and need not be when it was created
}

// key returns the key of the lease of a shard.
func (s *source) key(shardID string) string { return LeaseKey(s.id.String(), shardID) }

// keys returns the keys of the leases of shards.
func (s *source) keys(shardIDs []string) []string {
	if s.id == (StreamID{}) {
		return shardIDs
	}
	keys := make([]string, len(shardIDs))
	for i, id := range shardIDs {
		keys[i] = s.key(id)
	}
	return keys
}

// logOf returns what log lines about a stream go to.
func (c *Consumer) logOf(s *source) *slog.Logger {
	if s == c.streams.only {
		return c.log // its lines have the stream already
	}
	return c.log.With(slog.String("stream", s.id.String()))
}

// streams are the streams of a consumer.
//
// Which leases there are decides what is read: a lease of a stream that the tracker
// does not name is read like others, by whichever worker has it, so that workers
// need not learn of a change at one moment. The list decides which leases there
// are: those of a listed stream are completed, those of one that has not been listed
// for Config.FormerStreamsWait are let go and deleted.
type streams struct {
	c       *Consumer
	only    *source // of a consumer that reads one stream; all else is unused then
	api     MultiStreamAPI
	tracker StreamTracker
	wake    chan struct{} // capacity 1: ask the tracker now
	turn    chan struct{} // capacity 1: held while the tracker is asked
	asked   stamp         // when the tracker last answered

	mu         sync.Mutex // guards all below, and what sources say
	known      map[string]*source
	identities map[string]identified // of listed streams, by what the tracker calls them
	missing    map[string]string     // listed streams that are not known, and why
	region     string                // where the streams are, as ARNs begin
}

type identified struct {
	identity
	at time.Time
}

// of returns the stream of a lease, whose key has the consumer's form.
func (s *streams) of(key string) *source {
	if s.only != nil {
		return s.only
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ofLocked(key)
}

func (s *streams) ofLocked(key string) *source {
	stream, _ := SplitLeaseKey(key)
	src := s.known[stream]
	if src == nil {
		id, _ := ParseStreamID(stream) // the key has its form
		src = &source{id: id, name: id.Name, ref: s.refLocked(id), initial: s.c.cfg.InitialPosition, calls: new(calls), since: time.Now()}
		s.c.register(src)
		s.known[stream] = src
		s.supersedeLocked()
		s.c.logOf(src).Info("a stream that is not listed has leases; it is read until they are deleted")
		s.look()
	}
	return src
}

// refLocked returns how to ask for a stream of which only its identity is known.
func (s *streams) refLocked(id StreamID) streamRef {
	if s.region == "" {
		return newStreamRef(id.Name)
	}
	return newStreamRef(s.region + ":" + id.Account + ":stream/" + id.Name)
}

// find returns the stream of a lease, or nil if it is not known.
func (s *streams) find(key string) *source {
	if s.only != nil {
		return s.only
	}
	stream, _ := SplitLeaseKey(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[stream]
}

// ensure asks the tracker if nobody has yet.
func (s *streams) ensure(ctx context.Context) error {
	if s.only != nil || s.asked.at.Load() != nil {
		return nil
	}
	return s.refresh(ctx)
}

// fits reports whether a lease has the form of those of this consumer. An application
// that reads one stream and one that reads several do not see each other's leases.
func (s *streams) fits(key string) bool {
	if !strings.Contains(key, ":") {
		return s.only != nil
	}
	stream, _ := SplitLeaseKey(key)
	return (stream == "") == (s.only != nil)
}

// reads reports whether a lease is to be read by this consumer, as far as its stream
// is concerned.
func (s *streams) reads(key string) bool {
	if !s.fits(key) {
		return false
	}
	if s.only != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.ofLocked(key)
	return src.gone == "" && !s.pastLocked(src, 0)
}

// pastLocked reports whether a stream was last listed so long ago that its leases are
// to be deleted, and the given time more.
func (s *streams) pastLocked(src *source, more time.Duration) bool {
	wait := s.c.cfg.FormerStreamsWait
	return !src.listed && wait >= 0 && time.Since(src.since) >= wait+more
}

// whyNot says why leases that reads refuses are not read.
func (s *streams) whyNot(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.ofLocked(key)
	switch {
	case s.pastLocked(src, 0):
		return "its stream is not listed any more, and the lease is about to be deleted"
	case src.listed:
		return src.gone
	}
	return src.gone + "; when the stream has not been listed for FormerStreamsWait, the lease is deleted"
}

// listed returns the streams whose leases are to be complete, in order.
func (s *streams) listed() []*source {
	if s.only != nil {
		return []*source{s.only}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*source
	for _, key := range slices.Sorted(maps.Keys(s.known)) {
		if src := s.known[key]; src.listed && src.gone == "" {
			all = append(all, src)
		}
	}
	return all
}

// doubt notes that a shard cannot be read: its stream may be gone.
func (s *streams) doubt(src *source) {
	if s.only != nil {
		return
	}
	s.mu.Lock()
	first := !src.doubtful
	src.doubtful = true
	s.mu.Unlock()
	if first {
		s.look()
	}
}

// look has the tracker asked now.
func (s *streams) look() {
	select {
	case s.wake <- struct{}{}:
	default: // it will be
	}
}

// listError is a fault of the list itself, not of getting it.
type listError struct{ err error }

func (e *listError) Error() string { return e.err.Error() }
func (e *listError) Unwrap() error { return e.err }

// refresh asks the tracker, and finds out what it has named. Without an error every
// listed stream is known, or known to be missing, or why it is not known.
func (s *streams) refresh(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var list []StreamConfig
	if err := guard(func() (err error) { list, err = s.tracker(ctx); return err }); err != nil {
		return fmt.Errorf("list the streams: %w", err)
	}
	var errs []error
	for _, cfg := range list {
		errs = append(errs, cfg.validate(&s.c.cfg))
	}
	if err := errors.Join(errs...); err != nil {
		return &listError{fmt.Errorf("consumer: the list of streams is of no use: %w", err)}
	}
	found := make([]identity, len(list))
	faults := make([]error, len(list))
	atMost(listAtOnce, len(list), func(i int) { found[i], faults[i] = s.identify(ctx, list[i]) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.doubtOthers(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.adoptLocked(list, found, faults); err != nil {
		return err
	}
	s.asked.set()
	return nil
}

// identify returns what is known about a listed stream. An error beside an identity
// is about the stream as it is now.
func (s *streams) identify(ctx context.Context, cfg StreamConfig) (identity, error) {
	if cfg.ID != (StreamID{}) {
		ref := newStreamRef(cfg.label())
		if !s.doubtful(cfg.ID) {
			return identity{cfg.ID, ref}, nil
		}
		_, err := s.c.describe(ctx, s.api, ref)
		return identity{cfg.ID, ref}, err
	}
	s.mu.Lock()
	was, known := s.identities[cfg.Stream]
	s.mu.Unlock()
	if known && time.Since(was.at) < identifyEvery && !s.doubtful(was.id) {
		return was.identity, nil
	}
	now, err := s.c.describe(ctx, s.api, newStreamRef(cfg.Stream))
	if err != nil {
		return was.identity, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identities[cfg.Stream] = identified{now, time.Now()}
	return now, nil
}

// doubtful reports whether a stream is to be looked at, as it may be gone or is
// thought to be.
func (s *streams) doubtful(id StreamID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.known[id.String()]
	return src != nil && (src.doubtful || src.gone != "")
}

// doubtOthers looks at streams that are not listed and cannot be read.
func (s *streams) doubtOthers(ctx context.Context) {
	s.mu.Lock()
	var others []*source
	for _, src := range byKey(s.known) {
		if !src.listed && src.doubtful && src.gone == "" {
			others = append(others, src)
		}
	}
	s.mu.Unlock()
	atMost(listAtOnce, len(others), func(i int) {
		src := others[i]
		now, err := s.c.describe(ctx, s.api, src.ref)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.judgeLocked(src, now, err)
	})
}

// judgeLocked decides about a stream from what describing it has come to.
func (s *streams) judgeLocked(src *source, now identity, err error) {
	before := src.gone
	switch {
	case err != nil && classify(err) == faultNotFound:
		src.gone, src.doubtful = "its stream does not exist", false
	case err != nil:
		return // the next look tells
	case now.id != src.id && !src.fixed && src.listed:
		src.gone, src.doubtful = "its stream was deleted and created again", false
	default:
		src.gone, src.doubtful = "", false
	}
	if src.gone != before && src.gone != "" {
		s.c.logOf(src).Warn("stream cannot be read any more; its shards are let go", slog.String("why", src.gone))
	}
}

// adoptLocked makes list the streams that are listed.
func (s *streams) adoptLocked(list []StreamConfig, found []identity, faults []error) error {
	named := map[string]string{}
	for i, cfg := range list {
		if found[i].id == (StreamID{}) {
			continue
		}
		key := found[i].id.String()
		if other, twice := named[key]; twice {
			return &listError{fmt.Errorf("consumer: the list of streams is of no use: %q and %q are one stream, %s; leave one out", other, cfg.label(), key)}
		}
		named[key] = cfg.label()
	}
	s.missing = map[string]string{}
	now := time.Now()
	for i, cfg := range list {
		switch err := faults[i]; {
		case found[i].id == (StreamID{}) && classify(err) == faultNotFound:
			s.missing[cfg.label()] = "the stream does not exist: create it, or take it off the list"
			continue
		case found[i].id == (StreamID{}):
			s.missing[cfg.label()] = fmt.Sprintf("it could not be found out whether the stream exists: %v", err)
			continue
		}
		src := s.listLocked(cfg, found[i])
		s.judgeLocked(src, found[i], faults[i])
	}
	for key, src := range s.known {
		if _, is := named[key]; src.listed && !is {
			src.listed, src.since = false, now
			s.c.logOf(src).Info("stream is not listed any more")
		}
	}
	for name := range s.identities {
		if !slices.ContainsFunc(list, func(cfg StreamConfig) bool { return cfg.Stream == name }) {
			delete(s.identities, name)
		}
	}
	s.supersedeLocked()
	return nil
}

// listLocked returns the source of a stream that is listed.
func (s *streams) listLocked(cfg StreamConfig, is identity) *source {
	if is.ref.arn != nil {
		if parts := strings.Split(*is.ref.arn, ":"); len(parts) == 6 {
			s.region = strings.Join(parts[:4], ":")
		}
	}
	src := &source{
		id: is.id, name: cfg.label(), ref: is.ref, initial: cfg.initial(&s.c.cfg), consumerARN: cfg.ConsumerARN,
		listed: true, fixed: cfg.ID != (StreamID{}),
	}
	was := s.known[is.id.String()]
	switch {
	case was == nil:
		src.calls = new(calls)
		s.c.logOf(src).Info("stream is read")
	case was.same(src):
		if !was.listed {
			s.c.logOf(was).Info("stream is listed again")
		}
		was.listed, was.synced = true, was.synced && was.listed
		return was
	default:
		src.calls, src.gone, src.doubtful, src.synced = was.calls, was.gone, was.doubtful, was.synced && was.listed
		if was.consumerARN == src.consumerARN {
			src.registration = was.registration
		}
	}
	if src.registration == nil {
		s.c.register(src)
	}
	s.known[is.id.String()] = src
	return src
}

// same reports whether two sources of one identity are to be read alike.
func (s *source) same(o *source) bool {
	return s.name == o.name && s.consumerARN == o.consumerARN && s.fixed == o.fixed && s.initial.Latest == o.initial.Latest && s.initial.Time.Equal(o.initial.Time) &&
		stringOf(s.ref.name) == stringOf(o.ref.name) && stringOf(s.ref.arn) == stringOf(o.ref.arn)
}

func stringOf(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// supersedeLocked has streams that are not listed not read any more if a listed one
// has their name: then it was created after them, and is asked in their place.
func (s *streams) supersedeLocked() {
	type named struct{ account, name string }
	listed := map[named]bool{}
	for _, src := range s.known {
		if src.listed {
			listed[named{src.id.Account, src.id.Name}] = true
		}
	}
	for _, src := range s.known {
		if !src.listed && src.gone == "" && listed[named{src.id.Account, src.id.Name}] {
			src.gone = "its stream was deleted and created again"
		}
	}
}
