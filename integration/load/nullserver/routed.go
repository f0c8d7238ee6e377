package nullserver

import (
	"bytes"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// shards returns the number of records in a PutRecords and, if each has an
// explicit hash key, the shard of each. A producer that predicts shards would
// send again, for ever, what is answered with others.
func (s *Server) shards(body []byte, e *encoded) (n int, shards []int) {
	routed := true
	for {
		i := index(body, e.countBy)
		if i < 0 {
			break
		}
		n++
		if routed {
			key, err := hashkey.Parse(string(e.hashKey(body[:i])))
			if routed = err == nil; routed {
				shard := 0
				for s.ends[shard].Less(key) {
					shard++
				}
				shards = append(shards, shard)
			}
		}
		body = body[i+len(e.countBy):]
	}
	if !routed {
		return n, nil
	}
	return n, shards
}

// near is how far away most records end that are no aggregated ones.
const near = 1024

// index is [bytes.Index], which gives its fast way up for good when what sep
// begins with is frequent at first, as quotes are in JSON: then the base64 of an
// aggregated record would take longer than all else that this server does.
func index(b, sep []byte) int {
	for off := 0; ; {
		window := b[off:min(off+near, len(b))]
		if i := bytes.Index(window, sep); i >= 0 {
			return off + i
		}
		if len(window) < near {
			return -1
		}
		off += near - len(sep) + 1 // it may begin at the window's end
		next := bytes.IndexByte(b[off:], sep[0])
		if next < 0 {
			return -1
		}
		off += next
	}
}

// routed makes the answer for records of these shards.
func (s *Server) routed(e *encoded, shards []int) []byte {
	index := s.index.Add(uint64(len(shards))) - uint64(len(shards))
	w := e.newEncoder()
	w.begin("")
	w.num("FailedRecordCount", 0)
	w.beginList("Records")
	for i, shard := range shards {
		w.begin("")
		w.text("SequenceNumber", sequence(shard, int(index)+i+1))
		w.text("ShardId", shardID(shard))
		w.end()
	}
	w.endList()
	w.end()
	return w.bytes()
}

func jsonHashKey(before []byte) []byte {
	before, ok := bytes.CutSuffix(before, []byte(`",`))
	if !ok {
		return nil
	}
	n := digits(before)
	if !bytes.HasSuffix(before[:len(before)-n], []byte(`"ExplicitHashKey":"`)) {
		return nil
	}
	return before[len(before)-n:]
}

func cborHashKey(before []byte) []byte {
	n := digits(before)
	head := []byte{0x60 | byte(n)}
	if n >= 24 {
		head = []byte{0x78, byte(n)}
	}
	name, ok := bytes.CutSuffix(before[:len(before)-n], head)
	if !ok || !bytes.HasSuffix(name, []byte("\x6fExplicitHashKey")) {
		return nil
	}
	return before[len(before)-n:]
}

// digits returns how many decimal digits b ends with, up to the most that a hash
// key has.
func digits(b []byte) (n int) {
	for n < len(b) && n < 39 && '0' <= b[len(b)-1-n] && b[len(b)-1-n] <= '9' {
		n++
	}
	return n
}
