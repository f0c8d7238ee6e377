package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/faults"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

func newSet(t *testing.T, rules ...faults.Rule) *faults.Set {
	t.Helper()
	s := faults.New(time.Now)
	if _, err := s.Add(rules...); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestParseSaysWhatToWrite has one rule for each thing that can be wrong.
func TestParseSaysWhatToWrite(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{`nonsense`, `write a list such as [{"kind": "throttle"`},
		{`"cut"`, `the rules are no list; write one such as`},
		{`[] []`, `something follows the rules; write one list of them`},
		{`["cut"]`, `rule 1: it is no object; write one such as {"kind": "cut", "every": 10}`},
		{`{}`, `rule 1: there is no kind; write one of throttle, internal, unavailable, latency, partial, reply-lost, cut, expired-iterator, fan-out-cut, error`},
		{`{"kind": "timeout"}`, `kind "timeout" is unknown; write one of throttle,`},
		{`{"kind": 5}`, `kind cannot be 5; write one of throttle,`},
		{`{"kind": "cut", "opration": "PutRecord"}`, `"opration" is not a member of a rule; write operation`},
		{`{"kind": "cut", "id": "a b"}`, `id "a b" is not of at most 64 letters, digits, dots, hyphens and underscores; write such a name`},
		{`{"kind": "cut", "operation": "PutRecrods"}`, `operation "PutRecrods" is that of no operation; write PutRecords`},
		{`{"kind": "cut", "operation": "Publish"}`, `operation "Publish" is that of no operation; write a name such as PutRecords, or a pattern such as Put*`},
		{`{"kind": "cut", "service": "dynamodb", "operation": "PutRecord"}`, `is that of no operation; write a name such as PutItem`},
		{`{"kind": "cut", "operation": "Put["}`, `operation "Put[" is not a pattern; write a name, in which * stands`},
		{`{"kind": "cut", "stream": "a["}`, `stream "a[" is not a pattern`},
		{`{"kind": "cut", "consumer": "a["}`, `consumer "a[" is not a pattern`},
		{`{"kind": "cut", "service": "s3"}`, `service "s3" is unknown; write kinesis or dynamodb`},
		{`{"kind": "cut", "shard": "left"}`, `shard "left" is not a shard; write an id such as shardId-000000000001, or its number`},
		{`{"kind": "cut", "shard": true}`, `shard cannot be true; write an id such as shardId-000000000001`},
		{`{"kind": "cut", "service": "dynamodb", "shard": 1}`, `tables have no shards and no consumers; leave shard and consumer out`},
		{`{"kind": "cut", "operation": "PutRecords", "shard": 1}`, `write kind partial to have the records of one shard fail`},
		{`{"kind": "partial", "share": 0.5, "operation": "PutRecord"}`, `kind partial is of PutRecords alone; leave service and operation out`},
		{`{"kind": "expired-iterator", "service": "dynamodb"}`, `kind expired-iterator is of GetRecords alone`},
		{`{"kind": "cut", "probability": 0}`, `probability cannot be 0; write a number above 0 and up to 1, such as 0.2; remove a rule that is to do nothing`},
		{`{"kind": "cut", "probability": 20}`, `probability cannot be 20; write a number above 0`},
		{`{"kind": "cut", "probability": "20%"}`, `probability cannot be "20%"; write a number`},
		{`{"kind": "cut", "every": 0}`, `every cannot be 0; write a whole number above 0`},
		{`{"kind": "cut", "first": 1.5}`, `first cannot be 1.5; write a whole number`},
		{`{"kind": "cut", "max": -1}`, `max cannot be -1; write a whole number`},
		{`{"kind": "cut", "after": 30}`, `after cannot be 30; write a time such as 30s`},
		{`{"kind": "cut", "for": "-1s"}`, `for cannot be "-1s"; write a time such as 30s`},
		{`{"kind": "cut", "seed": -1}`, `seed cannot be -1; write a whole number above 0`},
		{`{"kind": "latency"}`, `is not a time of up to 10m0s; write 50ms, or 50ms..200ms`},
		{`{"kind": "latency", "latency": "2s..1s"}`, `latency 2s to 1s is not a time`},
		{`{"kind": "latency", "latency": "1s..0s"}`, `latency cannot be "1s..0s"; write a time such as 50ms`},
		{`{"kind": "latency", "latency": "1h"}`, `is not a time of up to 10m0s`},
		{`{"kind": "cut", "latency": "1s"}`, `latency is not for kind cut; leave it out, or write kind latency`},
		{`{"kind": "partial"}`, `share 0 is outside (0, 1]; write 0.3 to have three records in ten fail`},
		{`{"kind": "partial", "share": 0.5, "code": "Oops"}`, `code "Oops" is not one that a record of PutRecords fails with; write ProvisionedThroughputExceededException, which is the default, or InternalFailure`},
		{`{"kind": "throttle", "code": "Oops"}`, `code is not for kind throttle; leave it out, or write kind error or partial`},
		{`{"kind": "error"}`, `code "" is not the name of an error; write one such as KMSThrottlingException`},
		{`{"kind": "error", "code": "A", "status": 200}`, `status 200 is not that of an error; write one from 400 to 599`},
		{`{"kind": "error", "code": "A", "message": "` + strings.Repeat("x", 1025) + `"}`, `the message has 1025 bytes; write at most 1024`},
		{`{"kind": "fan-out-cut"}`, `do not say when a subscription ends; write events 10, or lifetime 30s`},
		{`{"kind": "cut", "reset": 1}`, `reset cannot be 1; write true or false`},
		{`[{"kind": "cut"}, {"kind": "cut", "id": "x", "every": "a"}]`, `faults: rule x: every cannot be "a"`},
	} {
		if _, err := faults.Parse([]byte(tt.rule)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\n got %v\nwant %s", tt.rule, err, tt.want)
		}
	}
	_, err := faults.Parse([]byte(`[{"kind": "x"}, {"kind": "y", "shard": "z"}]`))
	for _, want := range []string{`rule 1: kind "x"`, `rule 2: kind "y"`, `shard "z"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("all that is wrong at once: %v does not say %s", err, want)
		}
	}
	for _, r := range []faults.Rule{
		{Kind: faults.Cut, Probability: -0.5},
		{Kind: faults.Cut, Every: -1},
		{Kind: faults.Cut, After: -time.Second},
		{Kind: faults.Latency, Latency: -time.Second},
		{Kind: faults.FanOutCut, Events: -1, Lifetime: time.Second},
	} {
		if r.Check() == nil {
			t.Errorf("%+v passes", r)
		}
	}
}

// full is a rule with every member that its kind may have.
const full = `{"id":"a","kind":"fan-out-cut","service":"kinesis","operation":"Subscribe*","stream":"s?","shard":"1","consumer":"c*","probability":0.25,"every":2,"first":3,"max":4,"after":"1m0s","for":"1.5s","seed":18446744073709551615,"events":5,"lifetime":"30s","reset":true}`

func TestParseReadsWhatIsWritten(t *testing.T) {
	for _, rule := range []string{
		full,
		`{"id":"b","kind":"latency","latency":"50ms..200ms"}`,
		`{"id":"b","kind":"latency","latency":"0s..1s"}`,
		`{"id":"b","kind":"latency","latency":"50ms"}`,
		`{"id":"c","kind":"partial","share":0.5,"code":"InternalFailure","message":"m"}`,
		`{"id":"d","kind":"error","code":"A","message":"m","status":500}`,
	} {
		rules, err := faults.Parse([]byte(rule))
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(rules[0])
		if err != nil || string(got) != rule {
			t.Errorf("%s is written as %s, %v", rule, got, err)
		}
		s := newSet(t, rules...)
		listed, err := json.Marshal(s.List())
		if want := `[` + strings.TrimSuffix(rule, "}") + `,"matched":0,"injected":0}]`; err != nil || string(listed) != want {
			t.Errorf("listed as %s, %v", listed, err)
		}
		if again, err := faults.Parse(listed); err != nil || !reflect.DeepEqual(again, rules) {
			t.Errorf("what is listed cannot be read: %+v, %v", again, err)
		}
	}
	rules, err := faults.Parse([]byte(`[{"kind":"cut","shard":3}]`))
	if err != nil || rules[0].Shard != "3" {
		t.Errorf("a shard's number: %+v, %v", rules, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{full, "[" + full + "," + `{"kind":"latency","latency":"1ms..2ms"}]`, `[]`, `{"kind":"cut","operation":"[a-"}`, `{"kind":"partial","share":1e-300}`, `[null]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := faults.Parse(b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "faults: ") {
				t.Errorf("error %q", err)
			}
			return
		}
		text, err := json.Marshal(rules)
		if err != nil {
			t.Fatal(err)
		}
		again, err := faults.Parse(text)
		if err != nil || len(again) != len(rules) {
			t.Fatalf("%s cannot be read again: %v", text, err)
		}
		for i := range again {
			if again[i] != rules[i] {
				t.Errorf("%+v is read as %+v", rules[i], again[i])
			}
		}
		s := faults.New(time.Now)
		if _, err := s.Add(rules...); err != nil && !strings.Contains(err.Error(), "there is a rule with the id") {
			t.Errorf("rules that are well cannot be added: %v", err)
		}
	})
}

func TestSetNamesAndRemovesRules(t *testing.T) {
	s := newSet(t, faults.Rule{ID: "fault-2", Kind: faults.Cut})
	ids, err := s.Add(faults.Rule{Kind: faults.Cut}, faults.Rule{Kind: faults.Cut})
	if err != nil || !slices.Equal(ids, []string{"fault-1", "fault-3"}) {
		t.Errorf("ids %v, %v", ids, err)
	}
	if _, err := s.Add(faults.Rule{ID: "new", Kind: faults.Cut}, faults.Rule{ID: "fault-1", Kind: faults.Cut}); err == nil || !strings.Contains(err.Error(), "there is a rule with the id fault-1; remove it first") {
		t.Errorf("an id that is taken: %v", err)
	}
	if _, err := s.Add(faults.Rule{ID: "new", Kind: faults.Cut}, faults.Rule{ID: "new", Kind: faults.Cut}); err == nil {
		t.Error("two rules have one id")
	}
	if _, err := s.Add(make([]faults.Rule, 1)...); err == nil {
		t.Error("a rule without a kind was added")
	}
	if len(s.List()) != 3 {
		t.Errorf("rules after errors: %+v", s.List())
	}
	if !s.Remove("fault-2") || s.Remove("fault-2") || len(s.List()) != 2 {
		t.Errorf("after one was removed: %+v", s.List())
	}
	many := make([]faults.Rule, 999)
	for i := range many {
		many[i].Kind = faults.Cut
	}
	if _, err := s.Add(many...); err == nil || !strings.Contains(err.Error(), "more than 1000 rules; remove some first") {
		t.Errorf("1001 rules: %v", err)
	}
	if n := s.Clear(); n != 2 || len(s.List()) != 0 {
		t.Errorf("%d cleared", n)
	}
}

// call has an operation carried out inside the rules.
func call(s *faults.Set, c api.Call, do func(context.Context)) error {
	_, err := s.Around(context.Background(), c, func(ctx context.Context) (shape.Output, error) {
		do(ctx)
		return nil, nil
	})
	return err
}

func TestFanOutIsDecidedAtTheCall(t *testing.T) {
	s := newSet(t, faults.Rule{Kind: faults.FanOutCut, Consumer: "bill*", Shard: "2", Events: 3, Lifetime: time.Minute, Reset: true, Max: 1})
	for _, tt := range []struct {
		operation, consumer string
		shard               int
		want                bool
	}{
		{"SubscribeToShard", "billing", 1, false},
		{"SubscribeToShard", "audit", 2, false},
		{"SubscribeToShard", "", 2, false},
		{"GetRecords", "billing", 2, false},
		{"SubscribeToShard", "billing", state.NoShard, false},
		{"SubscribeToShard", "billing", 2, true},
		{"SubscribeToShard", "billing", 2, false}, // max 1
	} {
		did := false
		err := call(s, api.Call{Operation: tt.operation, Consumer: tt.consumer, Shard: tt.shard}, func(ctx context.Context) {
			did = true
			got, ok := faults.FanOutOf(ctx)
			if ok != tt.want || ok && got != (faults.FanOut{Events: 3, Lifetime: time.Minute, Reset: true}) {
				t.Errorf("%+v: %+v, %t", tt, got, ok)
			}
		})
		if err != nil || !did {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestShareIsKept puts requests of every size and counts what fails.
func TestShareIsKept(t *testing.T) {
	stream := &state.Stream{Key: state.StreamKey{Name: "s"}}
	for _, share := range []float64{0.01, 0.1, 0.3, 0.5, 0.99, 1} {
		s := newSet(t, faults.Rule{Kind: faults.Partial, Share: share})
		total, failed := 0, 0
		for n := 1; n <= 500; n += 9 {
			var refused []*awserr.Error
			err := call(s, api.Call{Operation: "PutRecords", Shard: state.NoShard}, func(ctx context.Context) {
				records := make([]api.Incoming, n)
				s.Admit(ctx, stream, records)
				for i := range records {
					if e := records[i].Refused; e != nil {
						refused = append(refused, e)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want := share * float64(n)
			if d := float64(len(refused)) - want; d <= -1.000001 || d >= 1.000001 {
				t.Errorf("share %v: %d of %d records failed", share, len(refused), n)
			}
			total, failed = total+n, failed+len(refused)
		}
		if got := float64(failed) / float64(total); got < share-0.005 || got > share+0.005 {
			t.Errorf("share %v: %v failed", share, got)
		}
	}
}

func TestWindowIsThatOfTheClockGiven(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := faults.New(func() time.Time { return now })
	if _, err := s.Add(faults.Rule{Kind: faults.Cut, After: time.Hour, For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, false, false} {
		if got := call(s, api.Call{Operation: "ListStreams", Shard: state.NoShard}, func(context.Context) {}) != nil; got != want {
			t.Errorf("%d hours later: fails %t", i, got)
		}
		now = now.Add(time.Hour)
	}
}

// TestTriggersUseEqualDraws: what a rule does at its n-th request does not
// depend on what it did before.
func TestTriggersUseEqualDraws(t *testing.T) {
	pattern := func(r faults.Rule) (p string) {
		r.ID, r.Kind, r.Probability = "a", faults.Internal, 0.5
		s := newSet(t, r)
		for range 100 {
			mark := "."
			if call(s, api.Call{Operation: "ListStreams", Shard: state.NoShard}, func(context.Context) {}) != nil {
				mark = "x"
			}
			p += mark
		}
		return p
	}
	all, second := pattern(faults.Rule{}), pattern(faults.Rule{Every: 2})
	for i := range all {
		if want := i%2 == 1 && all[i] == 'x'; (second[i] == 'x') != want {
			t.Fatalf("call %d:\n%s\n%s", i+1, all, second)
		}
	}
}

func TestDelayEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, faults.Rule{Kind: faults.Latency, Latency: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Around(ctx, api.Call{Operation: "ListStreams"}, func(context.Context) (shape.Output, error) {
			t.Error("the operation was carried out")
			return nil, nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestOperationsAreKnown: a rule can name each operation that there is.
func TestOperationsAreKnown(t *testing.T) {
	for m := range reflect.TypeFor[*sdk.Client]().Methods() {
		name := m.Name
		if name == "Options" {
			continue
		}
		if err := (&faults.Rule{Kind: faults.Cut, Service: "kinesis", Operation: name}).Check(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range faults.TableOperations {
		if _, err := table.Parse(name, []byte("{}")); err != nil && strings.Contains(err.Error(), "is not supported") {
			t.Error(err)
		}
	}
}

func TestTableNames(t *testing.T) {
	s := newSet(t, faults.Rule{Kind: faults.Throttle, Service: "dynamodb", Stream: "leases"})
	do := s.Table(func(context.Context, arn.Scope, string, []byte) (faults.TableResponse, error) { return nil, nil })
	for _, tt := range []struct {
		op, body string
		fails    bool
	}{
		{"GetItem", `{"TableName":"leases"}`, true},
		{"GetItem", `{"Key":{},"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/leases"}`, true},
		{"GetItem", `{"TableName":"other"}`, false},
		{"GetItem", `{"TableName":5}`, false},
		{"GetItem", `nonsense`, false},
		{"Invented", `{"TableName":"leases"}`, false},
	} {
		if _, err := do(t.Context(), arn.Scope{}, tt.op, []byte(tt.body)); (err != nil) != tt.fails {
			t.Errorf("%s %s: %v", tt.op, tt.body, err)
		}
	}
}

func BenchmarkAround(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := faults.New(time.Now)
			for range n {
				if _, err := s.Add(faults.Rule{Kind: faults.Cut, Operation: "PutRecord", Stream: "other-*"}); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				_ = call(s, api.Call{Operation: "PutRecord", Stream: state.StreamKey{Name: "s"}}, func(context.Context) {})
			}
		})
	}
}
