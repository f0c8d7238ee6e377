package mirror_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/internal/mirror"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestOnce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to int // shards; to 0: to be created
		same     bool
		loose    bool
	}{
		{name: "as many shards", from: 3, to: 3},
		{name: "more shards", from: 2, to: 7},
		{name: "fewer shards", from: 4, to: 1},
		{name: "created", from: 3},
		{name: "created with the same shards", from: 3, same: true},
		{name: "made to have the same shards", from: 3, to: 2, same: true},
		{name: "loose order", from: 3, to: 2, loose: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil, nil)
				p.from.CreateStream(t, name, tt.from)
				if tt.to > 0 {
					p.to.CreateStream(t, name, tt.to)
				}
				cfg := p.config()
				cfg.Create, cfg.SameShards, cfg.LooseOrder = tt.same || tt.to == 0, tt.same, tt.loose
				p.put(30, keys(40)...)
				if st := p.copy(cfg); st.Records != 1200 || st.Duplicates != 0 || st.Lag != 0 {
					t.Errorf("first: %+v", st)
				}
				p.check(false)
				if st := p.copy(cfg); st.Records != 0 {
					t.Errorf("nothing new: %+v", st)
				}
				p.split(0)
				p.put(10, keys(40)...)
				if st := p.copy(cfg); st.Records == 0 || st.Records > 400 {
					t.Errorf("second: %+v", st)
				}
				p.copy(cfg) // shards that began after the last one did
				if n := p.check(false); n != 0 {
					t.Errorf("%d records are there twice", n)
				}
				if tt.same {
					_, want := open(t, p.from)
					if _, got := open(t, p.to); !slices.Equal(got, want) {
						t.Errorf("shards of the target\n%v, want\n%v", got, want)
					}
				}
			})
		})
	}
}

// TestBytes checks that records come as they were, where readers look for them.
func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil)
		p.from.CreateStream(t, name, 3)
		p.split(1)
		_, rs := open(t, p.from)
		p.putMixed(8, keys(50))
		p.send("empty", "", []byte{})
		p.send("\x00ключ", "", []byte{0, 255, 254})
		cfg := p.config()
		cfg.Create, cfg.SameShards = true, true
		if st := p.copy(cfg); st.Split != 0 {
			t.Errorf("%+v", st)
		}
		type record struct{ key, data string }
		all := func(srv *streamdtest.Server) map[hashkey.Range][]record {
			found := map[hashkey.Range][]record{}
			ids, _ := open(t, srv)
			for i, id := range ids {
				it, err := srv.Kinesis().GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String(name), ShardId: aws.String(id), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
				if err != nil {
					t.Fatal(err)
				}
				out, err := srv.Kinesis().GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range out.Records {
					found[rs[i]] = append(found[rs[i]], record{*r.PartitionKey, string(r.Data)})
				}
				// The order of different keys is free.
				slices.SortFunc(found[rs[i]], func(a, b record) int { return strings.Compare(a.key+a.data, b.key+b.data) })
			}
			return found
		}
		want, got := all(p.from), all(p.to)
		for r := range want {
			if !slices.Equal(want[r], got[r]) {
				t.Errorf("shard %v has %d records, want %d, or others", r, len(got[r]), len(want[r]))
			}
		}
		if len(want) != 4 {
			t.Errorf("%d shards have records, want 4", len(want))
		}
	})
}

// TestSplitAggregates checks that aggregated records that readers of the target
// would not see whole are told.
func TestSplitAggregates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil)
		p.from.CreateStream(t, name, 1)
		p.to.CreateStream(t, name, 4)
		quarter := in(hashkey.Uniform(4)[2], keys(40))
		p.putAggregated("1", quarter...) // fits one shard there
		p.putAggregated("1", keys(40)...)
		m := p.mirror(p.config())
		err := m.Run(t.Context())
		if !errors.Is(err, mirror.ErrIncomplete) || !strings.Contains(err.Error(), "--same-shards") {
			t.Errorf("error = %v", err)
		}
		if st := m.Stats()[0]; st.Split != 1 || st.Records != 2 {
			t.Errorf("%+v", st)
		}
		for _, r := range p.to.Records(t, name) {
			if len(expand(r.PartitionKey, r.Data)) == len(quarter) {
				_, rs := open(t, p.to)
				if !rs[2].Contains(hashkey.Of(quarter[0])) {
					t.Error("the aggregated record is in another shard than its user records")
				}
			}
		}
	})
}

func TestReshardsWhileFollowing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		same  bool
		delay time.Duration
	}{{"four shards at the target", false, 0}, {"the same shards", true, 0}, {"slow transitions", true, 3 * time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := []streamdtest.Option{streamdtest.TransitionDelay(tt.delay)}
				p := newPair(t, nil, slow)
				p.from.CreateStream(t, name, 2)
				cfg := p.config()
				if tt.same {
					cfg.Create, cfg.SameShards = true, true
				} else {
					p.to.CreateStream(t, name, 4)
				}
				m, stop := p.follow(cfg)
				ks := keys(30)
				write := func() {
					if tt.same {
						p.putMixed(5, ks)
					} else {
						p.put(5, ks...)
					}
					time.Sleep(1500 * time.Millisecond)
				}
				for _, change := range []func(){
					func() { p.split(0) }, func() { p.split(1) }, func() { p.merge(0) }, func() { p.merge(1) }, func() { p.split(0); p.split(0); p.merge(1) },
				} {
					write()
					change()
				}
				write()
				p.arrived(m, 5*time.Minute)
				time.Sleep(2 * time.Minute) // whatever is to be split or merged
				if err := stop(); err != nil {
					t.Error(err)
				}
				if n := p.check(false); n != 0 {
					t.Errorf("%d records are there twice", n)
				}
				_, want := open(t, p.from)
				if _, got := open(t, p.to); tt.same && !slices.Equal(got, want) {
					t.Errorf("shards of the target\n%v, want\n%v", got, want)
				}
			})
		})
	}
}

// TestFaults puts faults on both sides while a stream is followed.
func TestFaults(t *testing.T) {
	type on struct {
		target bool
		fault  streamdtest.Fault
	}
	const many = 0.3
	for _, tt := range []struct {
		name   string
		faults []on
		limits string // of the target
		source string // limits of the source
		burst  int    // batches of 25 records before and after the split; 0 means 40
		twice  bool   // records are there twice
		slow   bool   // throttling is counted
	}{
		{name: "replies of the target lost", twice: true, faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultReplyLost, Operation: "PutRecords", Probability: many}}}},
		{name: "the target fails", faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultInternal, Probability: many}}}},
		{name: "the target is unavailable", faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultUnavailable, For: 20 * time.Second}}}},
		{name: "the target fails in part", slow: true, faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultPartial, Share: 0.4, Probability: 0.8}}}},
		{name: "the target has internal failures in part", faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultPartial, Share: 0.4, Code: "InternalFailure"}}}},
		{name: "the target throttles", slow: true, faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultThrottle, Probability: 0.7}}}},
		{name: "connections to the target cut", faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultCut, Probability: many}}}},
		{name: "replies of the source lost", faults: []on{{false, streamdtest.Fault{Kind: streamd.FaultReplyLost, Operation: "Get*", Probability: many}}}},
		{name: "the source fails", faults: []on{{false, streamdtest.Fault{Kind: streamd.FaultInternal, Operation: "Get*", Probability: many}}}},
		{name: "the source throttles", slow: true, faults: []on{{false, streamdtest.Fault{Kind: streamd.FaultThrottle, Operation: "Get*", Probability: 0.7}}}},
		{name: "iterators expire", faults: []on{{false, streamdtest.Fault{Kind: streamd.FaultExpiredIterator, Probability: many}}}},
		{name: "the source lists its shards slowly", faults: []on{{false, streamdtest.Fault{Kind: streamd.FaultLatency, Operation: "ListShards", Latency: 20 * time.Second}}}},
		{name: "requests to the target take longer than their time", faults: []on{{true, streamdtest.Fault{Kind: streamd.FaultLatency, Operation: "PutRecords", Latency: 40 * time.Second, Probability: 0.1}}}},
		// More at once than three shards take in two seconds: the source must not
		// pace it.
		{name: "limits as AWS has them", slow: true, limits: "aws", burst: 240},
		{name: "a tenth of the limits of AWS", slow: true, limits: "aws:0.1", source: "aws:0.1"},
		{name: "everything at once", slow: true, limits: "aws", source: "aws", twice: true, faults: []on{
			{true, streamdtest.Fault{Kind: streamd.FaultReplyLost, Operation: "PutRecords", Probability: 0.1}},
			{true, streamdtest.Fault{Kind: streamd.FaultInternal, Operation: "PutRecords", Probability: 0.1}},
			{true, streamdtest.Fault{Kind: streamd.FaultPartial, Share: 0.5, Probability: 0.3}},
			{false, streamdtest.Fault{Kind: streamd.FaultReplyLost, Operation: "Get*", Probability: 0.1}},
			{false, streamdtest.Fault{Kind: streamd.FaultExpiredIterator, Probability: 0.1}},
			{false, streamdtest.Fault{Kind: streamd.FaultThrottle, Operation: "Get*", Probability: 0.1}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				options := func(limits string) []streamdtest.Option {
					faulty := []streamdtest.Option{streamdtest.Config(func(c *streamd.Config) { c.EnableFaults = true })}
					if limits != "" {
						faulty = append(faulty, streamdtest.Limits(limits))
					}
					return faulty
				}
				p := newPair(t, options(tt.source), options(tt.limits))
				p.from.CreateStream(t, name, 2)
				p.to.CreateStream(t, name, 3)
				m, stop := p.follow(p.config())
				time.Sleep(time.Second) // it has begun
				var clear []func()
				for _, f := range tt.faults {
					srv := p.from
					if f.target {
						srv = p.to
					}
					clear = append(clear, srv.Fault(t, f.fault))
				}
				burst := cmp.Or(tt.burst, 40)
				p.put(burst, keys(25)...)
				p.split(0)
				p.put(burst, keys(25)...)
				p.arrived(m, time.Hour)
				if err := stop(); err != nil {
					t.Error(err)
				}
				for _, f := range append(p.from.Faults(), p.to.Faults()...) {
					if f.Injected == 0 {
						t.Errorf("the fault %s was never at work", f.Kind)
					}
				}
				for _, f := range clear {
					f()
				}
				st := m.Stats()[0]
				twice := int64(p.check(false))
				if twice > st.Duplicates || (twice > 0) != tt.twice {
					t.Errorf("%d records are there twice: %+v", twice, st)
				}
				if slow := st.ThrottledReads+st.ThrottledWrites > 0; slow != tt.slow {
					t.Errorf("throttled: %+v", st)
				}
			})
		})
	}
}

// TestCrash takes the state file of a moment in the middle, and goes on from
// there after more was copied: what a kill at that moment leaves.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil)
		p.from.CreateStream(t, name, 2)
		p.to.CreateStream(t, name, 3)
		ks := keys(30)
		m, stop := p.follow(p.config())
		p.put(20, ks...)
		p.arrived(m, time.Minute)
		time.Sleep(2 * time.Second)
		kept := p.readState()
		p.put(10, ks...)
		p.split(1)
		p.put(10, ks...)
		p.arrived(m, time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := p.check(false); n != 0 {
			t.Errorf("%d records are there twice", n)
		}
		p.writeState(kept)
		m, stop = p.follow(p.config())
		p.put(10, ks...)
		time.Sleep(10 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := p.check(true); n != 600 {
			t.Errorf("%d records are there twice, want the 600 since the state was written", n)
		}
		if st := m.Stats()[0]; st.Records != 900 {
			t.Errorf("%+v", st)
		}
		if st := p.copy(p.config()); st.Records != 0 {
			t.Errorf("nothing new: %+v", st)
		}
	})
}

// TestStateIsWrittenSeldom checks that a busy mirror writes its state once a
// second, and an idle one once a minute.
func TestStateIsWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil)
		p.from.CreateStream(t, name, 1)
		p.to.CreateStream(t, name, 1)
		_, stop := p.follow(p.config())
		writes := func(d time.Duration, put bool) int {
			n, last := 0, p.readState()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if put {
					p.put(1, "k")
				}
				if now := p.readState(); !bytes.Equal(now, last) {
					n, last = n+1, now
				}
			}
			return n
		}
		time.Sleep(5 * time.Second)
		if n := writes(20*time.Second, true); n < 15 || n > 21 {
			t.Errorf("%d writes in 20s", n)
		}
		time.Sleep(5 * time.Second)
		if n := writes(10*time.Minute, false); n < 8 || n > 11 {
			t.Errorf("%d writes in ten idle minutes", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRetention(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name  string
		pause func(p *pair, stop func() error) // stops the mirror or not
		gaps  int64
		says  string
		slow  bool // a long time passes in it
	}{
		{
			name: "idle for longer than the retention", slow: true,
			pause: func(p *pair, _ func() error) {
				time.Sleep(day + 2*time.Hour)
				p.put(1, "k")
				time.Sleep(6 * time.Minute)
			},
		},
		{
			name:  "off for less than the retention",
			pause: func(p *pair, stop func() error) { p.must(stop()); p.put(1, "k"); time.Sleep(day - time.Hour) },
		},
		{
			name: "off for more", gaps: 1, says: "cannot be known",
			pause: func(p *pair, stop func() error) {
				p.must(stop())
				p.put(1, "lost")
				delete(p.next, "lost")
				p.sent--
				time.Sleep(2 * day)
				p.put(1, "k")
			},
		},
		{
			name: "a shard left meanwhile", gaps: 1, says: "before it was read to its end",
			pause: func(p *pair, stop func() error) {
				p.must(stop())
				p.split(0)
				time.Sleep(2 * day)
				p.put(1, "k")
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil, nil)
				p.from.CreateStream(t, name, 1)
				p.to.CreateStream(t, name, 1)
				_, err := p.to.Kinesis().IncreaseStreamRetentionPeriod(t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String(name), RetentionPeriodHours: aws.Int32(200)})
				p.must(err)
				p.put(3, "k")
				cfg := p.config()
				cfg.Poll = 4 * time.Second
				if tt.slow {
					cfg.Poll = 5 * time.Minute
				}
				_, stop := p.follow(cfg)
				time.Sleep(10 * time.Second)
				tt.pause(p, stop)
				time.Sleep(10 * time.Second)
				if err := stop(); err != nil {
					t.Error(err)
				}
				m := p.mirror(p.config())
				err = m.Run(t.Context())
				if got := m.Stats()[0].Gaps; got != tt.gaps || errors.Is(err, mirror.ErrIncomplete) != (tt.gaps > 0) {
					t.Errorf("%d gaps, want %d; error %v", got, tt.gaps, err)
				}
				if !strings.Contains(p.log.String(), tt.says) || (tt.says != "" && !strings.Contains(p.log.String(), "shardId-000000000000")) {
					t.Errorf("the log does not say %q of the shard:\n%s", tt.says, p.log)
				}
				p.check(false)
			})
		})
	}
}

// TestStarts checks from where a stream is copied, also if the mirror ends
// before there was anything to copy.
func TestStarts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start mirror.Start
		want  string
	}{
		{"trim horizon", mirror.TrimHorizon, "k 0,k 1,k 2,k 3"},
		{"timestamp", mirror.Timestamp, "k 1,k 2,k 3"},
		{"latest", mirror.Latest, "k 2,k 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil, nil)
				p.from.CreateStream(t, name, 1)
				p.to.CreateStream(t, name, 1)
				p.put(1, "k")
				p.split(0)
				p.split(1)
				time.Sleep(time.Hour)
				p.put(1, "k")
				time.Sleep(time.Minute)
				cfg := p.config()
				cfg.Start = tt.start
				if tt.start == mirror.Timestamp {
					cfg.Timestamp = time.Now().Add(-2 * time.Minute)
				}
				_, stop := p.follow(cfg)
				time.Sleep(5 * time.Second)
				p.must(stop())
				p.put(1, "k")
				time.Sleep(time.Minute)
				_, stop = p.follow(cfg)
				time.Sleep(5 * time.Second)
				p.split(0)
				p.put(1, "k")
				time.Sleep(5 * time.Second)
				p.must(stop())
				var got []string
				for _, r := range p.to.Records(t, name) {
					got = append(got, string(r.Data))
				}
				if strings.Join(got, ",") != tt.want {
					t.Errorf("copied %q, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestRefusals(t *testing.T) {
	recreate := func(p *pair, srv *streamdtest.Server) {
		_, err := srv.Kinesis().DeleteStream(p.t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String(name)})
		p.must(err)
		time.Sleep(time.Second)
		srv.CreateStream(p.t, name, 1)
	}
	for _, tt := range []struct {
		name   string
		before func(p *pair)
		change func(c *mirror.Config)
		want   string
	}{
		{name: "no source", before: func(p *pair) { p.to.CreateStream(p.t, name, 1) }, want: "it does not exist at source"},
		{name: "no target", before: func(p *pair) { p.from.CreateStream(p.t, name, 1) }, want: "say --create"},
		{name: "another mirror's state", change: func(c *mirror.Config) { c.FromName = "other" }, before: func(p *pair) { p.both() }, want: "is of a mirror from source to target"},
		{name: "damaged state", before: func(p *pair) {
			p.both()
			b := p.readState()
			b[bytes.Index(b, []byte("target"))] = 'T'
			p.writeState(b)
		}, want: "checksum"},
		{name: "source created anew", before: func(p *pair) { p.both(); recreate(p, p.from) }, want: "the source was deleted and created anew"},
		{name: "target created anew", before: func(p *pair) { p.both(); recreate(p, p.to) }, want: "the target orders was deleted and created anew"},
		{name: "state in use", before: func(p *pair) {
			p.both()
			lock, err := p.disk.Lock("state.lock")
			p.must(err)
			p.t.Cleanup(func() { p.must(lock.Close()) })
		}, want: "in use by another mirror"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil, nil)
				tt.before(p)
				cfg := p.config()
				if tt.change != nil {
					tt.change(&cfg)
				}
				err := p.mirror(cfg).Run(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// TestDeletedMeanwhile checks that a stream that is deleted ends the mirror.
func TestDeletedMeanwhile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		target bool
		want   string
	}{{"source", false, "the source can be read no more"}, {"target", true, "is there no more"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil, nil)
				p.both()
				cfg := p.config()
				cfg.Follow = true
				end := make(chan error, 1)
				m := p.mirror(cfg)
				go func() { end <- m.Run(t.Context()) }()
				time.Sleep(5 * time.Second)
				srv := p.from
				if tt.target {
					srv = p.to
				}
				_, err := srv.Kinesis().DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String(name)})
				p.must(err)
				if tt.target {
					p.put(1, "k")
				}
				if err := <-end; err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// TestGivesUp checks that a mirror that is to end does so when an endpoint fails.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, []streamdtest.Option{streamdtest.Config(func(c *streamd.Config) { c.EnableFaults = true })})
		p.both()
		p.put(1, "k")
		p.to.Fault(t, streamdtest.Fault{Kind: streamd.FaultCut, Operation: "PutRecords"})
		began := time.Now()
		err := p.mirror(p.config()).Run(t.Context())
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "the target has failed for 10m") || took > 11*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestTooLarge checks that a record that the target does not take is told before
// and when it comes, and that all goes on once it is taken.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil)
		p.both()
		raise := func(srv *streamdtest.Server) {
			out, err := srv.Kinesis().DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
			p.must(err)
			_, err = srv.Kinesis().UpdateMaxRecordSize(t.Context(), &kinesis.UpdateMaxRecordSizeInput{StreamARN: out.StreamDescriptionSummary.StreamARN, MaxRecordSizeInKiB: aws.Int32(10240)})
			p.must(err)
			srv.WaitForStream(t.Context(), t, name, types.StreamStatusActive)
		}
		raise(p.from)
		p.put(2, "k")
		big := append([]byte("k 2"), bytes.Repeat([]byte{' '}, 8<<20)...)
		p.send("big", "", big)
		err := p.mirror(p.config()).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "refuses") || !strings.Contains(p.log.String(), "UpdateMaxRecordSize") {
			t.Errorf("error = %v", err)
		}
		raise(p.to)
		p.put(2, "k")
		p.copy(p.config())
		got := p.to.Records(t, name)
		large := slices.IndexFunc(got, func(r types.Record) bool { return bytes.Equal(r.Data, big) })
		if len(got) != 5 || large < 0 {
			t.Errorf("%d records, the large one is number %d", len(got), large)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cfg     mirror.Config
		streams []mirror.Stream
		want    []string
	}{
		{name: "to itself", cfg: mirror.Config{FromName: "x", ToName: "x"}, streams: []mirror.Stream{{From: "a", To: "a"}}, want: []string{"copied to itself"}},
		{name: "twice", cfg: mirror.Config{ToName: "x"}, streams: []mirror.Stream{{From: "a", To: "b"}, {From: "a", To: "b"}}, want: []string{"a is named twice", "two streams would go to b"}},
		{name: "all that can be wrong", cfg: mirror.Config{Start: "x", SameShards: true, Poll: -1, Memory: 1, Timestamp: time.Now()}, want: []string{"no stream", `start "x"`, "go together", "need Create", "negative", "16 MiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mirror.New(nil, nil, tt.streams, tt.cfg)
			for _, w := range tt.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v does not say %q", err, w)
				}
			}
		})
	}
}

// TestManyStreams checks that streams do not get in each other's way, and that
// memory for one read at a time is enough.
func TestManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := streamdtest.New(t), streamdtest.New(t)
		var streams []mirror.Stream
		big := bytes.Repeat([]byte("x"), 1<<18)
		for i := range 5 {
			s := mirror.Stream{From: fmt.Sprintf("s%d", i), To: fmt.Sprintf("t%d", i)}
			streams = append(streams, s)
			from.CreateStream(t, s.From, 2)
			for j := range 30 {
				_, err := from.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String(s.From), PartitionKey: aws.String(fmt.Sprint(j)), Data: big[:len(big)-i]})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		m, err := mirror.New(from.Kinesis(), to.Kinesis(), streams, mirror.Config{Create: true, ToName: "target", Memory: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, s := range m.Stats() {
			if got := to.Records(t, s.To); len(got) != 30 || len(got[0].Data) != len(big)-i || s.Records != 30 {
				t.Errorf("%+v: %d records", s, len(got))
			}
		}
	})
}

// both makes the stream on both sides, and a state file.
func (p *pair) both() {
	p.t.Helper()
	p.from.CreateStream(p.t, name, 1)
	p.to.CreateStream(p.t, name, 1)
	p.copy(p.config())
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}
