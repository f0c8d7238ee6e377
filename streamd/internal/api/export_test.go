package api

import (
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// SealIterator returns an iterator.
func (a *API) SealIterator(issued time.Time, stream uint64, shard int, from state.Position, key state.StreamKey) string {
	return a.sealIterator(iterator{Issued: issued, Stream: stream, Shard: shard, From: from, Key: key})
}

// OpenIterator reads an iterator.
func (a *API) OpenIterator(text string) (stream uint64, shard int, from state.Position, key state.StreamKey, err error) {
	it, err := a.openIterator(text)
	return it.Stream, it.Shard, it.From, it.Key, err
}

// OpenPage reads a token, and returns where its page begins.
func (a *API) OpenPage(text string) (after string, err error) {
	t, err := a.openPage(sealShards, text)
	return t.After, err
}

// IsStreamARN reports whether s is the name of a stream.
func IsStreamARN(s string) bool {
	_, err := parseStreamARN(s)
	return err == nil
}

// ParseConsumerARN reads the name of a consumer.
func ParseConsumerARN(s string) (state.StreamKey, string, error) { return parseConsumerARN(s) }
