package faults

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The kinds of faults.
const (
	Throttle        = "throttle"
	Internal        = "internal"
	Unavailable     = "unavailable"
	Latency         = "latency"
	Partial         = "partial"
	ReplyLost       = "reply-lost"
	Cut             = "cut"
	ExpiredIterator = "expired-iterator"
	FanOutCut       = "fan-out-cut"
	Custom          = "error"
)

// Kinds are all kinds, in the order of the documentation.
var Kinds = []string{Throttle, Internal, Unavailable, Latency, Partial, ReplyLost, Cut, ExpiredIterator, FanOutCut, Custom}

// onlyOf are the kinds that one operation alone can have.
var onlyOf = map[string]string{Partial: putRecords, ExpiredIterator: "GetRecords", FanOutCut: "SubscribeToShard"}

// Rule says which requests fail, when, and how. Its fields are those of
// streamd.Fault, where they are described.
type Rule struct {
	ID   string
	Kind string

	Service   string
	Operation string
	Stream    string
	Shard     string
	Consumer  string

	Probability float64
	Every       int
	First       int
	Max         int
	After, For  time.Duration
	Seed        uint64

	Latency, LatencyMax time.Duration
	Share               float64
	Code, Message       string
	Status              int
	Events              int
	Lifetime            time.Duration
	Reset               bool
}

// Bounds of a rule.
const (
	maxLatency = 10 * time.Minute
	maxText    = 1024 // bytes of a pattern or a message
	maxID      = 64
)

// Check returns an error that joins one for each thing that is wrong. Each says
// what to write in its place.
func (r *Rule) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	switch {
	case r.Kind == "":
		bad("there is no kind; write one of %s", strings.Join(Kinds, ", "))
	case !slices.Contains(Kinds, r.Kind):
		bad("kind %q is unknown; write one of %s", r.Kind, strings.Join(Kinds, ", "))
	}
	if len(r.ID) > maxID || strings.Trim(r.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		bad("id %q is not of at most %d letters, digits, dots, hyphens and underscores; write such a name, or leave it out", r.ID, maxID)
	}
	r.checkMatch(bad)
	r.checkTrigger(bad)
	r.checkKind(bad)
	return errors.Join(errs...)
}

func (r *Rule) checkMatch(bad func(string, ...any)) {
	for _, p := range []struct{ name, pattern string }{{"operation", r.Operation}, {"stream", r.Stream}, {"consumer", r.Consumer}} {
		if _, err := path.Match(p.pattern, ""); err != nil || len(p.pattern) > maxText {
			bad("%s %.80q is not a pattern; write a name, in which * stands for any letters and ? for one", p.name, p.pattern)
			return
		}
	}
	if _, ok := parseShard(r.Shard); !ok {
		bad("shard %.80q is not a shard; write an id such as shardId-000000000001, or its number", r.Shard)
	}
	var names []string
	switch r.Service {
	case "":
		names = slices.Concat(kinesisOperations, tableOperations)
	case kinesis:
		names = kinesisOperations
	case dynamodb:
		names = tableOperations
	default:
		bad("service %.80q is unknown; write %s or %s, or leave it out for both", r.Service, kinesis, dynamodb)
		return
	}
	if !slices.ContainsFunc(names, func(name string) bool { return glob(r.Operation, name) }) {
		bad("operation %.80q is that of no operation; %s", r.Operation, suggest(r.Operation, names, "write a name such as "+names[0]+", or a pattern such as "+names[0][:3]+"*"))
	}
	if only := onlyOf[r.Kind]; only != "" && (r.Service == dynamodb || !glob(r.Operation, only)) {
		bad("kind %s is of %s alone; leave service and operation out", r.Kind, only)
	}
	if r.Service == dynamodb && (r.Shard != "" || r.Consumer != "") {
		bad("tables have no shards and no consumers; leave shard and consumer out, or write service %s", kinesis)
	}
	if r.Operation == putRecords && r.Shard != "" && r.Kind != Partial {
		bad("a call of PutRecords is to no one shard; write kind partial to have the records of one shard fail, or leave shard out")
	}
}

func (r *Rule) checkTrigger(bad func(string, ...any)) {
	if !(r.Probability >= 0 && r.Probability <= 1) {
		bad("probability %v is outside [0, 1]; write 0.2 for a fifth of the calls", r.Probability)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"every", r.Every}, {"first", r.First}, {"max", r.Max}} {
		if n.value < 0 {
			bad("%s %d is negative; write a number of calls, or leave it out", n.name, n.value)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"after", r.After}, {"for", r.For}} {
		if d.value < 0 {
			bad("%s %v is negative; write a time such as 30s, or leave it out", d.name, d.value)
		}
	}
}

func (r *Rule) checkKind(bad func(string, ...any)) {
	for _, p := range []struct {
		name  string
		given bool
		kinds []string
	}{
		{"latency", r.Latency != 0 || r.LatencyMax != 0, []string{Latency}},
		{"share", r.Share != 0, []string{Partial}},
		{"code", r.Code != "", []string{Custom, Partial}},
		{"message", r.Message != "", []string{Custom, Partial}},
		{"status", r.Status != 0, []string{Custom}},
		{"events", r.Events != 0, []string{FanOutCut}},
		{"lifetime", r.Lifetime != 0, []string{FanOutCut}},
		{"reset", r.Reset, []string{FanOutCut}},
	} {
		if p.given && slices.Contains(Kinds, r.Kind) && !slices.Contains(p.kinds, r.Kind) {
			bad("%s is not for kind %s; leave it out, or write kind %s", p.name, r.Kind, strings.Join(p.kinds, " or "))
		}
	}
	switch r.Kind {
	case Latency:
		if r.Latency < 0 || r.Latency > maxLatency || r.LatencyMax > maxLatency || r.LatencyMax != 0 && r.LatencyMax < r.Latency || r.Latency == 0 && r.LatencyMax == 0 {
			bad("latency %v to %v is not a time of up to %v; write 50ms, or 50ms..200ms for one between the two", r.Latency, r.LatencyMax, maxLatency)
		}
	case Partial:
		if !(r.Share > 0 && r.Share <= 1) {
			bad("share %v is outside (0, 1]; write 0.3 to have three records in ten fail", r.Share)
		}
		if r.Code != "" && r.Code != throughputExceeded && r.Code != internalFailure {
			bad("code %.80q is not one that a record of PutRecords fails with; write %s, which is the default, or %s", r.Code, throughputExceeded, internalFailure)
		}
	case Custom:
		if r.Code == "" || len(r.Code) > 128 || strings.Trim(r.Code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			bad("code %.80q is not the name of an error; write one such as KMSThrottlingException", r.Code)
		}
		if r.Status != 0 && (r.Status < 400 || r.Status > 599) {
			bad("status %d is not that of an error; write one from 400 to 599, or leave it out for 400", r.Status)
		}
	case FanOutCut:
		if r.Events < 0 || r.Lifetime < 0 || r.Events == 0 && r.Lifetime == 0 {
			bad("events %d and lifetime %v do not say when a subscription ends; write events 10, or lifetime 30s", r.Events, r.Lifetime)
		}
	}
	if len(r.Message) > maxText {
		bad("the message has %d bytes; write at most %d", len(r.Message), maxText)
	}
}

// glob reports whether a name fits a pattern that has been checked. An empty
// pattern is for all.
func glob(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, _ := path.Match(pattern, name)
	return ok
}

// anyShard is the shard of a rule that names none.
const anyShard = -1

// parseShard reads a shard's id or number.
func parseShard(s string) (int, bool) {
	if s == "" {
		return anyShard, true
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "shardId-"), 10, 31)
	return int(n), err == nil && n <= math.MaxInt32
}

// suggest returns what to write in place of a name that is none: the one that is
// most like it, or what otherwise says.
func suggest(word string, names []string, otherwise string) string {
	best, least := "", 1+len(word)/3
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d <= least && d < 8 {
			best, least = name, d-1
		}
	}
	if best != "" {
		return "write " + best
	}
	return otherwise
}

// distance is how many letters must be put in, left out or exchanged to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
