// Package nullserver answers Kinesis requests with the right shape and does
// nothing else: it stores nothing and parses nothing beyond a count of records.
// What a client gets out of it is the cap for a real server under that client.
package nullserver

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	contentType = "application/x-amz-json-1.1"
	sequence    = "49590338271490256608559692538361571095921575989136588898"
	entry       = `{"SequenceNumber":"` + sequence + `","ShardId":"shardId-000000000000"}`
)

// Config says what GetRecords answers with.
type Config struct {
	// Records is the number of records in a page. Zero means an empty page.
	Records int
	// RecordBytes is the size of each record's data. Zero means empty data.
	RecordBytes int
}

// New returns a handler that speaks JSON. PutRecords is answered with one
// entry for each "PartitionKey" in the body; an operation it does not know
// gets UnknownOperationException.
func New(c Config) http.Handler {
	record := `{"ApproximateArrivalTimestamp":1.7e9,"Data":"` +
		base64.StdEncoding.EncodeToString(make([]byte, c.RecordBytes)) +
		`","PartitionKey":"k","SequenceNumber":"` + sequence + `"}`
	canned := map[string][]byte{
		"PutRecord":        []byte(entry),
		"GetShardIterator": []byte(`{"ShardIterator":"i"}`),
		"GetRecords":       []byte(`{"MillisBehindLatest":0,"NextShardIterator":"i","Records":[` + list(record, c.Records) + `]}`),
		"CreateStream":     {},
		"UpdateItem":       []byte(`{}`),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		target := r.Header.Get("X-Amz-Target")
		op := target[strings.LastIndexByte(target, '.')+1:]
		answer, ok := canned[op]
		status := http.StatusOK
		switch {
		case op == "PutRecords":
			n := bytes.Count(body, []byte(`"PartitionKey":`))
			answer = fmt.Appendf(nil, `{"FailedRecordCount":0,"Records":[%s]}`, list(entry, n))
		case !ok:
			answer, status = []byte(`{"__type":"UnknownOperationException"}`), http.StatusBadRequest
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		w.WriteHeader(status)
		_, _ = w.Write(answer) // a client that has gone needs no answer
	})
}

func list(s string, n int) string {
	return strings.TrimSuffix(strings.Repeat(s+",", n), ",")
}
