package nullserver

import (
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How long a subscription lives, and how often it says that it does.
const (
	subscriptionLife = 5 * time.Minute
	heartbeat        = 5 * time.Second
)

// subscribers are the subscriptions that wait for puts.
type subscribers struct {
	n   atomic.Int32 // len(all), so that puts look at no lock if there are none
	mu  sync.Mutex   // guards all
	all map[chan struct{}]struct{}
}

func (s *subscribers) add() chan struct{} {
	ch := make(chan struct{}, 1) // one put to tell of; further ones coalesce
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[chan struct{}]struct{})
	}
	s.all[ch] = struct{}{}
	s.n.Store(int32(len(s.all)))
	return ch
}

func (s *subscribers) remove(ch chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, ch)
	s.n.Store(int32(len(s.all)))
}

// wake tells each subscription of a put.
func (s *subscribers) wake() {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.all {
		select { // never blocks: a full channel says it already
		case ch <- struct{}{}:
		default:
		}
	}
}

// subscribe answers a SubscribeToShard. From the tip it sends an event with one
// record after each put; from elsewhere it sends full events as fast as they
// are read.
func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, e *encoded, tip bool) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.Header()["X-Amzn-Requestid"] = requestID
	event := func(b []byte) bool {
		if _, err := w.Write(b); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	// Before the first message, so that no put after it is missed.
	put := s.subs.add()
	defer s.subs.remove(put)
	if !event(e.start) {
		return
	}
	life := time.NewTimer(subscriptionLife)
	defer life.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if !tip {
			select {
			case <-life.C:
				return
			default:
			}
			if !event(e.page) {
				return
			}
			continue
		}
		next := e.one
		select {
		case <-put:
		case <-beat.C:
			next = e.idle
		case <-life.C:
			return
		case <-r.Context().Done():
			return
		}
		if !event(next) {
			return
		}
	}
}

// frame makes a message of an event stream. Its layout is that of
// application/vnd.amazon.eventstream: lengths, checksum of them, headers,
// payload, checksum of all.
func frame(eventType, contentType string, payload []byte) []byte {
	var headers []byte
	for _, h := range [][2]string{{":message-type", "event"}, {":event-type", eventType}, {":content-type", contentType}} {
		headers = append(append(headers, byte(len(h[0]))), h[0]...)
		headers = append(headers, 7) // a string
		headers = append(binary.BigEndian.AppendUint16(headers, uint16(len(h[1]))), h[1]...)
	}
	const around = 16 // two lengths and two checksums
	b := binary.BigEndian.AppendUint32(nil, uint32(around+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}
