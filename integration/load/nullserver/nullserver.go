// Package nullserver answers requests of Kinesis and DynamoDB in the right
// shape and does nothing else: it stores nothing, and parses nothing beyond
// what shapes the answer, which is the number of records in a PutRecords and
// where a subscription begins.
//
// What a client gets out of it is the cap for any real server under that
// client: such a server has the same HTTP work to do, and then its own.
package nullserver

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// Content types of the two encodings, and of the two APIs.
const (
	typeJSON   = "application/x-amz-json-1.1"
	typeCBOR   = "application/x-amz-cbor-1.1"
	typeDynamo = "application/x-amz-json-1.0"
)

// Config says what the server pretends to hold. The zero Config has one shard
// and empty pages.
type Config struct {
	// Shards is the number of shards of every stream. Default 1.
	Shards int
	// PageRecords is the number of records in the page of a GetRecords, and in
	// an event of a subscription from TRIM_HORIZON.
	PageRecords int
	// RecordBytes is the size of each such record's data.
	RecordBytes int
}

// variants is how many different answers a put has: they are sent in turn, so
// that no client sees the same sequence numbers twice in a row.
const variants = 16

// maxPut is the largest number of records of a PutRecords, as of Kinesis.
const maxPut = 500

// A Server is the handler. It is safe for concurrent use.
type Server struct {
	json, cbor encoded
	dynamo     map[string][]byte
	turn       atomic.Uint32
	index      atomic.Uint64 // of records with an explicit hash key
	ends       []hashkey.Key // of the shards
	bodies     sync.Pool     // of *[]byte
	subs       subscribers
}

// encoded are the answers in one encoding.
type encoded struct {
	contentType     string
	put             [variants][]byte
	batch           [variants]batch
	canned          map[string][]byte
	unknown         []byte
	start           []byte // first message of a subscription
	idle, one, page []byte // events without a record, with one, with a page
	countBy         []byte // what each record of a PutRecords has once
	// hashKey returns the explicit hash key that stands at the end of what comes
	// before countBy, where the SDKs write it, or nil.
	hashKey    func(before []byte) []byte
	newEncoder func() encoder
}

// A batch is the answer to a PutRecords of maxPut records; one to fewer is the
// beginning of it and the tail.
type batch struct {
	all  []byte
	ends [maxPut + 1]int // where the answer of n records ends
	tail []byte
}

// New returns a server that holds what c says.
func New(c Config) *Server {
	c.Shards = max(c.Shards, 1)
	s := &Server{
		json:   encode(c, typeJSON, func() encoder { return new(jsonEncoder) }),
		cbor:   encode(c, typeCBOR, func() encoder { return new(cborEncoder) }),
		dynamo: dynamo(),
	}
	for _, r := range hashkey.Uniform(c.Shards) {
		s.ends = append(s.ends, r.End)
	}
	s.json.countBy = []byte(`"PartitionKey":`)
	s.json.hashKey, s.json.newEncoder = jsonHashKey, func() encoder { return new(jsonEncoder) }
	s.cbor.countBy = []byte("\x6cPartitionKey") // a text string of 12 bytes
	s.cbor.hashKey, s.cbor.newEncoder = cborHashKey, func() encoder { return new(cborEncoder) }
	s.bodies.New = func() any { return new([]byte) }
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	buf := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(buf)
	body, err := readBody(r, (*buf)[:0])
	*buf = body
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	service, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if strings.HasPrefix(service, "DynamoDB") {
		answer, ok := s.dynamo[op]
		if !ok {
			send(w, typeDynamo, http.StatusBadRequest, s.json.unknown, nil)
			return
		}
		send(w, typeDynamo, http.StatusOK, answer, nil)
		return
	}
	e := &s.json
	if r.Header.Get("Content-Type") == typeCBOR {
		e = &s.cbor
	}
	switch op {
	case "PutRecord":
		send(w, e.contentType, http.StatusOK, e.put[s.turn.Add(1)%variants], nil)
		s.subs.wake()
	case "PutRecords":
		n, shards := s.shards(body, e)
		if n > maxPut {
			http.Error(w, "more than 500 records", http.StatusBadRequest)
			return
		}
		if len(shards) > 0 {
			send(w, e.contentType, http.StatusOK, s.routed(e, shards), nil)
			s.subs.wake()
			return
		}
		b := &e.batch[s.turn.Add(1)%variants]
		send(w, e.contentType, http.StatusOK, b.all[:b.ends[n]], b.tail)
		s.subs.wake()
	case "SubscribeToShard":
		s.subscribe(w, r, e, bytes.Contains(body, []byte("LATEST")))
	default:
		answer, ok := e.canned[op]
		if !ok {
			send(w, e.contentType, http.StatusBadRequest, e.unknown, nil)
			return
		}
		send(w, e.contentType, http.StatusOK, answer, nil)
	}
}

// readBody appends the request's body to dst.
func readBody(r *http.Request, dst []byte) ([]byte, error) {
	if n := r.ContentLength; n >= 0 {
		if int64(cap(dst)) < n {
			dst = make([]byte, n)
		}
		dst = dst[:n]
		_, err := io.ReadFull(r.Body, dst)
		return dst, err
	}
	b := bytes.NewBuffer(dst)
	_, err := b.ReadFrom(r.Body)
	return b.Bytes(), err
}

func send(w http.ResponseWriter, contentType string, status int, head, tail []byte) {
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(head) + len(tail))}
	h["X-Amzn-Requestid"] = requestID
	w.WriteHeader(status)
	_, _ = w.Write(head) // a client that has gone needs no answer
	if len(tail) > 0 {
		_, _ = w.Write(tail)
	}
}

var requestID = []string{"00000000-0000-4000-8000-000000000000"}
