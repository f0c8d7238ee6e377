package consumeradmin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// shardsAnswer is the answer of /shards.
type shardsAnswer struct {
	Worker        string   `json:"worker"`
	Running       bool     `json:"running"`
	Healthy       bool     `json:"healthy"`
	Problems      []string `json:"problems,omitempty"` // those of no shard
	BufferedBytes int64    `json:"bufferedBytes"`
	Shards        []shard  `json:"shards"`
}

type shard struct {
	ShardID    string  `json:"shardId"`
	Stream     string  `json:"stream,omitempty"`   // where there are several
	LeaseKey   string  `json:"leaseKey,omitempty"` // likewise
	Healthy    bool    `json:"healthy"`
	Problem    string  `json:"problem,omitempty"`
	Checkpoint string  `json:"checkpoint"`
	Behind     float64 `json:"behindSeconds"`    // at the last answer
	BehindAge  float64 `json:"behindAgeSeconds"` // how long ago that was
	Subscribed bool    `json:"subscribed"`
	Unacked    int     `json:"unacknowledgedRecords"`
	Failures   int64   `json:"failures"` // of the processor, in a row
	Hung       bool    `json:"hung"`
}

func (h *Handler) shards(context.Context, url.Values) (any, error) {
	health := h.source.Health(h.cfg.MaxNoProgress)
	stats := h.source.Stats()
	a := shardsAnswer{
		Worker: h.source.WorkerID(), Running: health.Running, Healthy: health.OK(),
		BufferedBytes: stats.BufferedBytes, Shards: []shard{},
	}
	problems := map[string]string{}
	for _, p := range health.Problems {
		if p.ShardID == "" {
			a.Problems = append(a.Problems, about(p)+p.Text)
		} else {
			problems[cmp.Or(p.LeaseKey, p.ShardID)] = p.Text
		}
	}
	ages := map[string]time.Duration{}
	for _, l := range h.source.Lag() {
		ages[cmp.Or(l.LeaseKey, l.ShardID)] = l.Age
	}
	for _, s := range stats.Shards {
		key := cmp.Or(s.LeaseKey, s.ShardID)
		problem := problems[key]
		stream, leaseKey := several(s.Stream, key, s.ShardID)
		a.Shards = append(a.Shards, shard{
			ShardID: s.ShardID, Stream: stream, LeaseKey: leaseKey, Healthy: problem == "", Problem: problem, Checkpoint: s.Checkpoint.String(),
			Behind: s.BehindLatest.Seconds(), BehindAge: ages[key].Seconds(), Subscribed: s.Subscribed,
			Unacked: s.Unacked, Failures: s.Failures, Hung: s.Hung,
		})
	}
	return a, nil
}

// several returns what tells shards of several streams apart, and nothing of one.
func several(stream, leaseKey, shardID string) (string, string) {
	if leaseKey == shardID || leaseKey == "" {
		return "", ""
	}
	return stream, leaseKey
}

// about says what a problem is about.
func about(p consumer.Problem) string {
	var text string
	if p.Stream != "" {
		text = "stream " + p.Stream + ": "
	}
	if p.ShardID != "" {
		text += "shard " + p.ShardID + ": "
	}
	return text
}

// lease has the names of the table's attributes.
type lease struct {
	Key             string   `json:"leaseKey"`
	Owner           string   `json:"leaseOwner,omitempty"`
	CheckpointOwner string   `json:"checkpointOwner,omitempty"`
	Counter         int64    `json:"leaseCounter"`
	Checkpoint      string   `json:"checkpoint"`
	SubCheckpoint   int64    `json:"checkpointSubSequenceNumber"`
	Switches        int64    `json:"ownerSwitchesSinceCheckpoint"`
	Parents         []string `json:"parentShardIds,omitempty"`
	Children        []string `json:"childShardIds,omitempty"`
	StartingHashKey string   `json:"startingHashKey,omitempty"`
	EndingHashKey   string   `json:"endingHashKey,omitempty"`
	Invalid         string   `json:"invalid,omitempty"`
}

func (h *Handler) leases(ctx context.Context, _ url.Values) (any, error) {
	stored, err := h.source.Leases(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]lease, len(stored))
	for i, l := range stored {
		all[i] = lease{
			Key: l.Key, Owner: l.Owner, CheckpointOwner: l.CheckpointOwner, Counter: l.Counter,
			Checkpoint: l.Checkpoint.SequenceNumber, SubCheckpoint: l.Checkpoint.SubSequenceNumber, Switches: l.OwnerSwitches,
			Parents: l.Parents, Children: l.Children, StartingHashKey: l.StartingHashKey, EndingHashKey: l.EndingHashKey,
		}
		if l.Invalid != nil {
			all[i].Invalid = l.Invalid.Error()
		}
	}
	return map[string]any{"worker": h.source.WorkerID(), "leases": all}, nil
}

type why struct {
	ShardID  string          `json:"shardId"`
	Stream   string          `json:"stream,omitempty"`   // where there are several
	LeaseKey string          `json:"leaseKey,omitempty"` // likewise
	Reason   consumer.Reason `json:"reason"`
	Text     string          `json:"text"`
	Owner    string          `json:"owner,omitempty"`
	Waiting  []string        `json:"waitingFor,omitempty"`
	Since    float64         `json:"unchangedSeconds"`
}

func newWhy(w consumer.Why) why {
	stream, key := several(w.Stream, w.LeaseKey, w.ShardID)
	return why{w.ShardID, stream, key, w.Reason, w.Text, w.Owner, w.Waiting, w.Since.Seconds()}
}

func (h *Handler) why(ctx context.Context, query url.Values) (any, error) {
	if query.Has("shard") {
		id := query.Get("shard")
		if id == "" {
			return nil, &requestError{http.StatusBadRequest, "the parameter \"shard\" is empty: name a shard, or leave it out for all"}
		}
		w, err := h.source.Why(ctx, id)
		if unknown, ok := errors.AsType[*consumer.UnknownShardError](err); ok {
			return nil, &requestError{http.StatusNotFound, unknown.Error()}
		}
		if err != nil {
			return nil, err
		}
		return newWhy(w), nil
	}
	all, err := h.source.WhyAll(ctx)
	if err != nil {
		return nil, err
	}
	whys := make([]why, len(all))
	for i, w := range all {
		whys[i] = newWhy(w)
	}
	return map[string]any{"worker": h.source.WorkerID(), "shards": whys}, nil
}
