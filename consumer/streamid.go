package consumer

import (
	"fmt"
	"strconv"
	"strings"
)

// StreamID tells a stream from all others, one that was deleted and created again
// under its name included. The zero StreamID is none.
type StreamID struct {
	Account string // number of the account that has the stream
	Name    string
	Epoch   int64 // when the stream was created, in seconds since 1970; more than 0
}

// String writes id as account:name:epoch, which begins the keys of the stream's leases
// where an application reads several; "" for the zero StreamID.
//
// Source: amazon-kinesis-client, StreamIdentifier.
func (id StreamID) String() string {
	if id == (StreamID{}) {
		return ""
	}
	return id.Account + ":" + id.Name + ":" + strconv.FormatInt(id.Epoch, 10)
}

// ParseStreamID reads what String writes.
func ParseStreamID(s string) (StreamID, error) {
	account, rest, _ := strings.Cut(s, ":")
	name, epoch, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseInt(epoch, 10, 64)
	id := StreamID{account, name, n}
	if err != nil || epoch[0] < '1' || epoch[0] > '9' || id.validate() != nil {
		return StreamID{}, fmt.Errorf("consumer: %q is no identity of a stream, which is account:name:epoch", s)
	}
	return id, nil
}

func (id StreamID) validate() error {
	digits := strings.Trim(id.Account, "0123456789") == ""
	if id.Account == "" || !digits || id.Name == "" || strings.Contains(id.Name, ":") || id.Epoch < 1 {
		return fmt.Errorf("stream identity %q needs an account of digits, a name, and an epoch above 0", id)
	}
	return nil
}

// SplitLeaseKey takes the key of a lease apart: into what StreamID.String writes and
// the shard's id. stream is "" for a lease of an application that reads one stream,
// whose key is the shard's id.
//
// Source: amazon-kinesis-client, MultiStreamLease.
func SplitLeaseKey(key string) (stream, shardID string) {
	i := strings.LastIndexByte(key, ':')
	if i < 0 {
		return "", key
	}
	if _, err := ParseStreamID(key[:i]); err != nil || i == len(key)-1 {
		return "", key
	}
	return key[:i], key[i+1:]
}

// LeaseKey is the inverse of [SplitLeaseKey].
func LeaseKey(stream, shardID string) string {
	if stream == "" {
		return shardID
	}
	return stream + ":" + shardID
}

// shardIDs returns the shards of leases.
func shardIDs(keys []string) []string {
	if len(keys) == 0 || !strings.Contains(keys[0], ":") {
		return keys
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		_, ids[i] = SplitLeaseKey(key)
	}
	return ids
}
