package streamd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/limits"
)

// ParseLimits reads limits: "off", "aws", "aws:N", which is N times those of
// AWS, such as aws:0.1, or a list of rates a second of the form
//
//	write-records=100,write-bytes=65536,read-calls=5,read-bytes=131072,iterators=5,operations=1
//
// in which those left out have no limit. aws and aws:N set Quotas too. A list
// may begin with one of the three, whose rates it changes, and may have the
// numbers of quotas: aws:0.5,read-calls=10,shards=100,on-demand-streams=5. With
// quotas=true it has those of AWS, with quotas=false none.
//
// Limits of streams follow, each after a semicolon:
//
//	aws;orders:write-records=10;logs-*:off
//
// They begin with the name of the stream, or a pattern of names. Rates that they
// leave out are the server's.
func ParseLimits(s string) (Limits, error) {
	var l Limits
	first, rest, more := strings.Cut(s, ";")
	if err := l.parse(first, ""); err != nil {
		return Limits{}, fmt.Errorf("limits %q: %w", s, err)
	}
	for more {
		var section string
		section, rest, more = strings.Cut(rest, ";")
		stream, text, ok := strings.Cut(strings.TrimSpace(section), ":")
		if !ok || stream == "" || text == "" {
			return Limits{}, fmt.Errorf("limits %q: %q is not the name of a stream and its limits; write orders:write-records=10", s, section)
		}
		of := l
		of.Streams, of.Quotas = nil, false
		if err := of.parse(text, stream); err != nil {
			return Limits{}, fmt.Errorf("limits %q: %s: %w", s, stream, err)
		}
		l.Streams = append(l.Streams, StreamLimits{
			Stream: stream, WriteRecords: of.WriteRecords, WriteBytes: of.WriteBytes,
			ReadCalls: of.ReadCalls, ReadBytes: of.ReadBytes, Iterators: of.Iterators,
			Subscribe: of.Subscribe, FanOutBytes: of.FanOutBytes,
		})
	}
	if err := l.check(); err != nil {
		return Limits{}, fmt.Errorf("limits %q: %w", s, err)
	}
	return l, nil
}

// parse reads a list into l. stream is empty if the list is the server's.
func (l *Limits) parse(list, stream string) error {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	for i, item := range strings.Split(list, ",") {
		item = strings.TrimSpace(item)
		name, value, assigned := strings.Cut(item, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !assigned && i == 0 && l.field(name) == nil && l.number(name) == nil {
			if err := l.profile(item); err != nil {
				return err
			}
			continue
		}
		if err := l.assign(item, name, value, stream); err != nil {
			return err
		}
	}
	return nil
}

// profile sets l to the limits of a name.
func (l *Limits) profile(name string) error {
	factor := 1.0
	text, scaled := strings.CutPrefix(name, "aws:")
	switch {
	case name == "off":
		*l = Limits{}
		return nil
	case scaled:
		var err error
		if factor, err = strconv.ParseFloat(text, 64); err != nil || !(factor >= 0.001 && factor <= 100) {
			return fmt.Errorf("%q is not a factor from 0.001 to 100; write aws:0.1 for a tenth of what AWS allows", text)
		}
	case name != "aws":
		return fmt.Errorf("%q is none of off, aws, aws:N and rates such as write-records=100; see streamd --help", name)
	}
	r := limits.AWS(factor)
	*l = Limits{
		WriteRecords: r.WriteRecords, WriteBytes: r.WriteBytes, ReadCalls: r.ReadCalls,
		ReadBytes: r.ReadBytes, Iterators: r.Iterators, Operations: r.Operations,
		Subscribe: r.Subscribe, FanOutBytes: r.FanOutBytes,
		Quotas: true,
	}
	return nil
}

// assign sets a rate or a number of l.
func (l *Limits) assign(item, name, value, stream string) error {
	rate, number := l.field(name), l.number(name)
	switch {
	case rate == nil && number == nil && name != "quotas":
		return fmt.Errorf("%q is none of off, aws, aws:N and rates such as write-records=100; see streamd --help", item)
	case stream != "" && (number != nil || name == "quotas" || name == "operations"):
		return fmt.Errorf("%s is of the whole account, not of a stream; write it before the first semicolon", name)
	case rate != nil:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number a second; write %s=100", value, name)
		}
		*rate = n
	case number != nil:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number; write %s=100", value, name)
		}
		*number = n
	default:
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false; write quotas=true for those of AWS", value)
		}
		l.Quotas = on
	}
	return nil
}

func (l *Limits) field(name string) *float64 {
	switch name {
	case "write-records":
		return &l.WriteRecords
	case "write-bytes":
		return &l.WriteBytes
	case "read-calls":
		return &l.ReadCalls
	case "read-bytes":
		return &l.ReadBytes
	case "iterators":
		return &l.Iterators
	case "subscribe":
		return &l.Subscribe
	case "fan-out-bytes":
		return &l.FanOutBytes
	case "operations":
		return &l.Operations
	}
	return nil
}

func (l *Limits) number(name string) *int {
	switch name {
	case "shards":
		return &l.Shards
	case "on-demand-streams":
		return &l.OnDemandStreams
	case "creating":
		return &l.Creating
	}
	return nil
}
