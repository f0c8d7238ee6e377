package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// wireField is a member of a rule in JSON.
type wireField struct {
	name  string
	hint  string                    // what to write in place of a value that cannot be
	read  func(r *Rule, v any) bool // reports whether v can be
	write func(r *Rule) any         // nil leaves it out
}

var wireFields = []wireField{
	text("id", "a name", func(r *Rule) *string { return &r.ID }),
	text("kind", "one of "+strings.Join(Kinds, ", "), func(r *Rule) *string { return &r.Kind }),
	text("service", "kinesis or dynamodb", func(r *Rule) *string { return &r.Service }),
	text("operation", "a name such as PutRecords, or a pattern such as Put*", func(r *Rule) *string { return &r.Operation }),
	text("stream", "a name of a stream or table, or a pattern such as orders-*", func(r *Rule) *string { return &r.Stream }),
	{
		"shard", "an id such as shardId-000000000001, or its number",
		func(r *Rule, v any) bool {
			if n, ok := v.(json.Number); ok {
				v = n.String()
			}
			return setText(&r.Shard, v)
		},
		func(r *Rule) any { return orNone(r.Shard) },
	},
	text("consumer", "a name, or a pattern such as billing-*", func(r *Rule) *string { return &r.Consumer }),
	share("probability", "a number above 0 and up to 1, such as 0.2; remove a rule that is to do nothing", func(r *Rule) *float64 { return &r.Probability }),
	count("every", func(r *Rule) *int { return &r.Every }),
	count("first", func(r *Rule) *int { return &r.First }),
	count("max", func(r *Rule) *int { return &r.Max }),
	duration("after", func(r *Rule) *time.Duration { return &r.After }),
	duration("for", func(r *Rule) *time.Duration { return &r.For }),
	{
		"seed", "a whole number above 0",
		func(r *Rule, v any) bool {
			n, ok := v.(json.Number)
			return ok && json.Unmarshal([]byte(n), &r.Seed) == nil && r.Seed > 0
		},
		func(r *Rule) any { return orNone(r.Seed) },
	},
	{
		"latency", "a time such as 50ms, or 50ms..200ms for one between the two",
		func(r *Rule, v any) bool {
			s, ok := v.(string)
			least, most, isRange := strings.Cut(s, "..")
			if !ok || !setDuration(&r.Latency, least) {
				return false
			}
			return !isRange || setDuration(&r.LatencyMax, most) && r.LatencyMax > 0
		},
		func(r *Rule) any {
			switch {
			case r.LatencyMax != 0:
				return r.Latency.String() + ".." + r.LatencyMax.String()
			case r.Latency != 0:
				return r.Latency.String()
			}
			return nil
		},
	},
	share("share", "a number above 0 and up to 1, such as 0.3", func(r *Rule) *float64 { return &r.Share }),
	text("code", "the name of an error, such as KMSThrottlingException", func(r *Rule) *string { return &r.Code }),
	text("message", "a text", func(r *Rule) *string { return &r.Message }),
	count("status", func(r *Rule) *int { return &r.Status }),
	count("events", func(r *Rule) *int { return &r.Events }),
	duration("lifetime", func(r *Rule) *time.Duration { return &r.Lifetime }),
	{
		"reset", "true or false",
		func(r *Rule, v any) (ok bool) { r.Reset, ok = v.(bool); return ok },
		func(r *Rule) any { return orNone(r.Reset) },
	},
}

func orNone[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

func setText(dst *string, v any) (ok bool) { *dst, ok = v.(string); return ok }

func setDuration(dst *time.Duration, s string) bool {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	*dst = d
	return err == nil && d >= 0
}

func text(name, hint string, at func(*Rule) *string) wireField {
	return wireField{
		name, hint,
		func(r *Rule, v any) bool { return setText(at(r), v) },
		func(r *Rule) any { return orNone(*at(r)) },
	}
}

func share(name, hint string, at func(*Rule) *float64) wireField {
	return wireField{
		name, hint,
		func(r *Rule, v any) bool {
			n, ok := v.(json.Number)
			f, err := n.Float64()
			*at(r) = f
			return ok && err == nil && f > 0 && f <= 1
		},
		func(r *Rule) any { return orNone(*at(r)) },
	}
}

func count(name string, at func(*Rule) *int) wireField {
	return wireField{
		name, "a whole number above 0, or leave it out",
		func(r *Rule, v any) bool {
			n, ok := v.(json.Number)
			i, err := n.Int64()
			*at(r) = int(i)
			return ok && err == nil && i > 0 && i <= math.MaxInt32
		},
		func(r *Rule) any { return orNone(*at(r)) },
	}
}

func duration(name string, at func(*Rule) *time.Duration) wireField {
	return wireField{
		name, "a time such as 30s or 1m30s",
		func(r *Rule, v any) bool {
			s, ok := v.(string)
			return ok && setDuration(at(r), s)
		},
		func(r *Rule) any {
			if *at(r) == 0 {
				return nil
			}
			return at(r).String()
		},
	}
}

// statusNames are members of a rule that is listed, which one that is added may
// have too: what a server lists can be given back to it.
var statusNames = []string{"matched", "injected"}

// Parse reads rules: a list of JSON objects, or one object. The error joins one
// for each thing that is wrong, also with what the rules ask for.
func Parse(b []byte) ([]Rule, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("faults: the rules are not JSON: %w; write a list such as [{\"kind\": \"throttle\", \"operation\": \"PutRecords\", \"probability\": 0.2}]", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("faults: something follows the rules; write one list of them")
	}
	list, ok := v.([]any)
	if one, single := v.(map[string]any); single {
		list, ok = []any{one}, true
	}
	if !ok {
		return nil, errors.New("faults: the rules are no list; write one such as [{\"kind\": \"throttle\", \"operation\": \"PutRecords\", \"probability\": 0.2}]")
	}
	if len(list) > maxRules {
		return nil, fmt.Errorf("faults: there are %d rules; write at most %d", len(list), maxRules)
	}
	rules := make([]Rule, len(list))
	var errs []error
	for i, v := range list {
		if err := parseRule(&rules[i], v); err != nil {
			errs = append(errs, wrap(&rules[i], i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rules, nil
}

func parseRule(r *Rule, v any) error {
	members, ok := v.(map[string]any)
	if !ok {
		return errors.New("it is no object; write one such as {\"kind\": \"cut\", \"every\": 10}")
	}
	var errs []error
	names := slices.Clone(statusNames)
	for _, f := range wireFields {
		names = append(names, f.name)
		if v, ok := members[f.name]; ok && !f.read(r, v) {
			errs = append(errs, fmt.Errorf("%s cannot be %.80s; write %s", f.name, quote(v), f.hint))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("%.80q is not a member of a rule; %s", name, suggest(name, names[len(statusNames):], "write one of "+strings.Join(names[len(statusNames):], ", "))))
		}
	}
	if errs == nil {
		return r.Check()
	}
	return errors.Join(errs...)
}

func quote(v any) string {
	b, _ := json.Marshal(v) // it came from JSON
	return string(b)
}

// MarshalJSON writes a rule as [Parse] reads it.
func (r Rule) MarshalJSON() ([]byte, error) { return marshal(&r, nil) }

// MarshalJSON writes a rule as [Parse] reads it, and its counts.
func (s Status) MarshalJSON() ([]byte, error) {
	return marshal(&s.Rule, map[string]int64{"matched": s.Matched, "injected": s.Injected})
}

func marshal(r *Rule, counts map[string]int64) ([]byte, error) {
	b := []byte{'{'}
	member := func(name string, v any) error {
		value, err := json.Marshal(v)
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		b = append(b, value...)
		return err
	}
	for _, f := range wireFields {
		if v := f.write(r); v != nil {
			if err := member(f.name, v); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range statusNames {
		if n, ok := counts[name]; ok {
			if err := member(name, n); err != nil {
				return nil, err
			}
		}
	}
	return append(b, '}'), nil
}
