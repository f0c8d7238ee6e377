package peers

import (
	"bytes"
	"fmt"
	"net"
	"reflect"
	"time"
)

// NewDrifting returns a Mesh whose clock runs at rate times the true one's.
func NewDrifting(self Member, ln net.Listener, cfg Config, rate float64) (*Mesh, error) {
	t := defaultTiming
	v := reflect.ValueOf(&t).Elem()
	for _, f := range v.Fields() {
		p := (*time.Duration)(f.Addr().UnsafePointer())
		*p = time.Duration(float64(*p) / rate)
	}
	return newMesh(self, ln, cfg, t)
}

// TakeLateAck lets trust run out without m having noticed, as when its process stood
// still, and then takes in acknowledgements that have come meanwhile.
func (m *Mesh) TakeLateAck() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.until.Store(int64(now))
	for _, l := range m.links {
		l.acked = now
	}
	m.trustLocked(now)
}

// Describe tells what m believes of its watchers.
func (m *Mesh) Describe() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := fmt.Sprintf("%s at %v: until %v, active %v, next %v;", m.me.id, m.now(), time.Duration(m.until.Load()), m.own.active, m.own.next)
	for p, l := range m.links {
		s += fmt.Sprintf(" %s: up %v, down at %v, acked %v, heard %v, known %v;", p.id, l.up, l.downAt, l.acked, l.heard, l.known)
	}
	return s
}

// Record tells what m believes of one that it watches.
func (m *Mesh) Record(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, r := range m.watched {
		if p.id == id {
			return fmt.Sprintf("%s at %v: %+v", m.me.id, m.now(), *r)
		}
	}
	return m.me.id + ": no record"
}

// Watchers returns the ids of those that may vote on m now.
func (m *Mesh) Watchers() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, p := range m.own.active.set {
		ids = append(ids, p.id)
	}
	return ids
}

// ParseAll gives b to every decoder of payloads, and returns what each that
// takes it writes of what it has read.
func ParseAll(b []byte) (written [][]byte) {
	if d, err := parseDeclaration(b); err == nil {
		written = append(written, d.append(nil))
	}
	if a, err := parseAccepted(b); err == nil {
		written = append(written, a.append(nil))
	}
	if q, err := parseQuery(b); err == nil {
		written = append(written, q.append(nil))
	}
	if h, err := parseHint(b); err == nil {
		written = append(written, h.append(nil))
	}
	return written
}

// OpenFrames reads frames of b until one is refused.
func OpenFrames(b, key []byte) (n int, err error) {
	o := newOpener(bytes.NewReader(b), key)
	for {
		if _, err := o.next(); err != nil {
			return n, err
		}
		n++
	}
}

// SealFrame returns a first frame of the given payload.
func SealFrame(key, payload []byte) []byte {
	return bytes.Clone(newSealer(key).seal(frameHint, 0, 0, payload))
}

// Samples returns a payload of each kind.
func Samples() [][]byte {
	p := peer{"worker-1", "incarnation"}
	return [][]byte{
		declaration{term: 3, epoch: 2, set: []peer{p, {"b", "x"}, {"c", "y"}}}.append(nil),
		declaration{term: 1}.append(nil),
		accepted{1, 2, 3}.append(nil),
		query{p, declaration{term: 4, epoch: 5, set: []peer{p}}}.append(nil),
		Hint{Kind: HintLook}.append(nil),
		Hint{Kind: HintReleased}.append(nil),
		Hint{Kind: HintDead, Verdict: Verdict{ID: "a", Incarnation: "b", Term: 9, Silent: true}}.append(nil),
	}
}

// Call opens a connection to to as who, and returns it with its first frames
// still to come.
func Call(conn net.Conn, who, to Member) (*Caller, error) {
	s, err := callerHello(conn, authKey(to.Secret), who.peer())
	if err != nil {
		return nil, err
	}
	return &Caller{s}, nil
}

// Caller speaks to a Mesh frame by frame.
type Caller struct{ s *session }

// Declare tells a declaration of the given set.
func (c *Caller) Declare(term uint64, epoch uint32, set ...Member) error {
	d := declaration{term: term, epoch: epoch}
	for _, p := range set {
		d.set = append(d.set, p.peer())
	}
	return c.s.write(frameDeclare, 0, 0, d.append(nil))
}

// Beat sends a beat.
func (c *Caller) Beat(n uint32) error { return c.s.write(frameBeat, 0, n, nil) }

// Ask asks whether who is dead.
func (c *Caller) Ask(who Member, term uint64, epoch uint32, set ...Member) error {
	q := query{who.peer(), declaration{term: term, epoch: epoch}}
	for _, p := range set {
		q.set = append(q.set, p.peer())
	}
	return c.s.write(frameQuery, 0, 0, q.append(nil))
}

// Write sends a frame of any kind.
func (c *Caller) Write(typ byte, payload []byte) error {
	return c.s.write(frameType(typ), 0, 0, payload)
}

// Next reads an answer: its kind, flag and number.
func (c *Caller) Next() (typ, flag byte, number uint32, err error) {
	f, err := c.s.in.next()
	return byte(f.typ), f.flag, f.number, err
}

// Refused reports whether a call failed because nobody listens.
func Refused(err error) bool { return refused(err) }
