package multilang

import (
	"context"
	"io"

	"github.com/streamkit/streamkit/consumer"
)

// Message is a decoded line of a child, for tests.
type Message struct {
	Action, ResponseFor, Seq string
	Sub                      *int64
}

func Decode(line []byte) (Message, error) {
	m, err := decode(line)
	return Message{m.action, m.responseFor, m.seq, m.sub}, err
}

func EncodeInitialize(shard string, start consumer.Checkpoint) ([]byte, error) {
	return encodeInitialize(shard, start)
}

func EncodeRecords(b *consumer.Batch) ([]byte, error) { return encodeRecords(b) }

func EncodeAnswer(seq string, sub *int64, name string) ([]byte, error) {
	return encodeAnswer(&message{seq: seq, sub: sub}, name)
}

func EncodePlain(action, reason string) ([]byte, error) { return encode(plainMessage{action, reason}) }

func ErrorName(err error) string { return errorName(err) }

const MaxLine = maxLine

// Properties are the keys that are known.
func Properties() []string {
	var keys []string
	for k, p := range properties {
		if p.set == nil && p.note == "" {
			k = "!" + k
		}
		keys = append(keys, k)
	}
	return keys
}

// Process is what a test's start function returns.
type Process struct {
	Stdin          io.WriteCloser
	Stdout, Stderr io.ReadCloser
	Wait           func() error
	Kill           func()
}

// NewWith is New with processes that start makes.
func NewWith(api consumer.API, leases consumer.LeaseStore, app, stream string, cfg Config, start func() (Process, error)) (*Bridge, error) {
	return newBridge(api, leases, app, stream, cfg, func(context.Context) (*proc, error) {
		p, err := start()
		if err != nil {
			return nil, err
		}
		return &proc{stdin: p.Stdin, stdout: p.Stdout, stderr: p.Stderr, wait: p.Wait, kill: p.Kill}, nil
	})
}
