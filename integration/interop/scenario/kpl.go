package scenario

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

var kplScenarios = []Scenario{
	{
		Name: "kpl-aggregation", What: "aggregated records, with and without hash keys, read back byte for byte",
		run: func(ctx context.Context, p *play) error {
			return p.kpl(ctx, nil, nil, "RECORDS=20000")
		},
	},
	{
		Name: "kpl-throttle", What: "a server that refuses what comes too fast: all is stored in the end",
		run: func(ctx context.Context, p *play) error {
			return p.kpl(ctx, []string{"--limits", "write-records=60,write-bytes=150000"}, nil,
				"RECORDS=6000", "BYTES=400", "HASH_KEYS=0", "AGGREGATE_BYTES=4000")
		},
	},
	{
		Name: "kpl-reshard", What: "a split, a merge and scaling to 5 shards while records are put",
		run: func(ctx context.Context, p *play) error {
			return p.kpl(ctx, nil, []change{split, merge, scale(5)}, "RECORDS=24000", "PER_SECOND=1500")
		},
	},
	{
		Name: "kpl-restart", What: "a killed server, and a split, while records are put",
		run: func(ctx context.Context, p *play) error {
			return p.kpl(ctx, nil, []change{restart, split}, "RECORDS=12000", "PER_SECOND=1000")
		},
	},
	{
		Name: "kpl-short", What: "a few records, and a split",
		run: func(ctx context.Context, p *play) error {
			return p.kpl(ctx, nil, []change{split}, "RECORDS=800", "PER_SECOND=100", "KEYS=20")
		},
	},
}

// told is what the KPL said of a record.
type told struct {
	N     int    `json:"n"`
	Key   string `json:"key"`
	Hash  string `json:"hash"`
	Data  string `json:"data"`
	OK    bool   `json:"ok"`
	Shard string `json:"shard"`
	Seq   string `json:"seq"`
}

// kpl runs the producer, with changes of the stream at intervals.
func (p *play) kpl(ctx context.Context, flags []string, list []change, env ...string) error {
	const stream = "clicks"
	if err := p.serve(ctx, flags...); err != nil {
		return err
	}
	if err := p.create(ctx, stream, 2); err != nil {
		return err
	}
	out := filepath.Join(p.dir, "told.jsonl")
	program, err := p.java(ctx, "kpl", "Kpl", append([]string{"STREAM=" + stream, "OUT=" + out}, env...)...)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		err := eventually(ctx, 60*time.Second, func() error {
			have, err := readLines[told](out)
			if err == nil && len(have) == 0 {
				err = errors.New("nothing has been stored")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, do := range list {
		if err := sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		if err := do(ctx, p, stream); err != nil {
			return err
		}
	}
	ended := program.wait(ctx, 150*time.Second)
	list2, err := readLines[told](out)
	if err != nil {
		return err
	}
	s, err := p.stored(ctx, stream)
	if err != nil {
		return err
	}
	p.report.Check("records are read back byte for byte", s.compare(list2),
		"%d user records in %d records of which %d are aggregates; %d are there more than once",
		s.users, s.records, s.aggregates, s.twice)
	return ended
}

// stored is what a stream holds, taken apart.
type stored struct {
	shards     []types.Shard
	users      int
	records    int
	aggregates int
	twice      int
	outside    int                    // user records that do not belong to the shard they are on
	by         map[string][]placement // by data
}

// placement is where a user record lies.
type placement struct {
	shard, seq, key, hash string
	blob                  *blob
}

// blob is a record as Kinesis knows it.
type blob struct {
	outside int // user records in it that do not belong to its shard
}

func (p *play) stored(ctx context.Context, stream string) (*stored, error) {
	s := &stored{by: make(map[string][]placement)}
	var err error
	if s.shards, err = p.shards(ctx, stream); err != nil {
		return nil, err
	}
	for _, shard := range s.shards {
		list, err := p.records(ctx, stream, *shard.ShardId)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if err := s.add(shard, r); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *stored) add(shard types.Shard, r types.Record) error {
	s.records++
	b := &blob{}
	user := func(key, hash string, data []byte) {
		s.users++
		if len(s.by[string(data)]) > 0 {
			s.twice++
		}
		s.by[string(data)] = append(s.by[string(data)], placement{*shard.ShardId, *r.SequenceNumber, key, hash, b})
	}
	var bad error
	ok, err := aggregation.Walk(r.Data, func(_ int, u aggregation.Record) bool {
		user(u.PartitionKey, u.ExplicitHashKey, u.Data)
		in, err := within(shard, u.PartitionKey, u.ExplicitHashKey)
		if err != nil {
			bad = err
		}
		if !in {
			b.outside++
			s.outside++
		}
		return true
	})
	if ok {
		s.aggregates++
	} else {
		// The hash key that it may have been put with is not stored: where it lies
		// is right.
		user(*r.PartitionKey, "", r.Data)
	}
	return errors.Join(err, bad)
}

// within says whether a user record belongs to a shard.
func within(shard types.Shard, key, hash string) (bool, error) {
	at := hashkey.Of(key)
	var r hashkey.Range
	for _, k := range []struct {
		text string
		to   *hashkey.Key
	}{{*shard.HashKeyRange.StartingHashKey, &r.Start}, {*shard.HashKeyRange.EndingHashKey, &r.End}, {hash, &at}} {
		if k.text == "" {
			continue
		}
		var err error
		if *k.to, err = hashkey.Parse(k.text); err != nil {
			return false, err
		}
	}
	return r.Contains(at), nil
}

// compare fails if a record that was acknowledged is not where it was said to
// be, as it was put.
func (s *stored) compare(list []told) error {
	var errs []error
	for _, t := range list {
		data, err := base64.StdEncoding.DecodeString(t.Data)
		if err != nil {
			return err
		}
		if !t.OK {
			continue
		}
		found := false
		for _, at := range s.by[string(data)] {
			found = found || at.shard == t.Shard && at.seq == t.Seq && at.key == t.Key && (at.hash == t.Hash || at.hash == "")
		}
		if !found {
			errs = append(errs, fmt.Errorf("record %d is not at %s, %s", t.N, t.Shard, t.Seq))
		}
	}
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more", len(errs)-5))
	}
	return errors.Join(errs...)
}
