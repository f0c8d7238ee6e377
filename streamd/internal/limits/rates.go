package limits

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strings"
)

// Rates are how much a shard takes and gives, and how often operations may be
// called. A rate that is zero has no limit. Each bucket holds what comes in a
// second, and at least one call or record.
type Rates struct {
	WriteRecords float64 // records a second into a shard
	WriteBytes   float64 // bytes a second into a shard, data and partition keys
	ReadCalls    float64 // calls of GetRecords a second on a shard
	ReadBytes    float64 // bytes of data a second out of a shard
	Iterators    float64 // calls of GetShardIterator a second on a shard
	Subscribe    float64 // calls of SubscribeToShard a second by a consumer on a shard
	FanOutBytes  float64 // bytes of data a second to a consumer of a shard
	Operations   float64 // multiplies the rates of the operations on the catalogue
}

// AWS returns the rates of AWS times a factor.
//
// Source: Amazon Kinesis Data Streams developer guide, quotas and limits.
func AWS(factor float64) Rates {
	return Rates{
		WriteRecords: 1000 * factor, WriteBytes: (1 << 20) * factor,
		ReadCalls: 5 * factor, ReadBytes: (2 << 20) * factor, Iterators: 5 * factor,
		Subscribe: factor, FanOutBytes: (2 << 20) * factor, Operations: factor,
	}
}

// Bounds of a rate: what the arithmetic of buckets can count.
const (
	minRate = 0.001
	maxRate = 1 << 28
)

// Check returns an error that joins one for each rate out of range.
func (r Rates) Check() error {
	var errs []error
	for _, f := range []struct {
		name string
		rate float64
	}{
		{"write-records", r.WriteRecords},
		{"write-bytes", r.WriteBytes},
		{"read-calls", r.ReadCalls},
		{"read-bytes", r.ReadBytes},
		{"iterators", r.Iterators},
		{"subscribe", r.Subscribe},
		{"fan-out-bytes", r.FanOutBytes},
		{"operations", r.Operations},
	} {
		if f.rate != 0 && !(f.rate >= minRate && f.rate <= maxRate) {
			errs = append(errs, fmt.Errorf("%s %v is outside [%v, %v]; write %s=0 for no limit", f.name, f.rate, minRate, maxRate, f.name))
		}
	}
	return errors.Join(errs...)
}

// Override is the rates of the shards of some streams, in place of the others.
type Override struct {
	Stream string // a name, or a pattern of package path
	Rates         // of which Operations has no meaning
}

// Check returns an error that joins one for each fault.
func (o Override) Check() error {
	var errs []error
	const name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	if _, err := path.Match(o.Stream, "x"); err != nil || o.Stream == "" || strings.Trim(o.Stream, name+`*?[]^\`) != "" {
		errs = append(errs, fmt.Errorf("%q is neither the name of a stream nor a pattern of names; write orders, or orders-* for all whose names begin so", o.Stream))
	}
	if err := o.Rates.Check(); err != nil {
		errs = append(errs, fmt.Errorf("of %s: %w", o.Stream, err))
	}
	return errors.Join(errs...)
}

// shardRates are the rates of the shards of a stream.
type shardRates struct {
	records, bytes, calls, read, iterators, subscribe, fanOut rate
}

func (r Rates) shard() shardRates {
	return shardRates{
		records: perSecond(r.WriteRecords), bytes: perSecond(r.WriteBytes),
		calls: perSecond(r.ReadCalls), read: perSecond(r.ReadBytes).withDebt(), iterators: perSecond(r.Iterators),
		subscribe: perSecond(r.Subscribe), fanOut: perSecond(r.FanOutBytes),
	}
}

// perSecond makes the bucket of a rate.
func perSecond(tokens float64) rate {
	if tokens == 0 {
		return rate{}
	}
	pace := max(int64(math.Round(tokens*milli)), 1)
	return rate{pace: pace, depth: max(pace*(nano/milli), nano)}
}

// withDebt lets the bucket go below zero, by the 10 MiB of the largest answer:
// five seconds at the 2 MiB a second of AWS, and longer at a slower rate, which
// would not be kept to otherwise.
func (r rate) withDebt() rate {
	const largest = 10 << 20
	r.debt = largest * nano
	return r
}

// operation says how often one may be called.
type operation struct {
	perSecond float64
	perStream bool // else all of an account and region share the rate
}

// operations are the calls a second that AWS allows. What is not here has no
// rate, or one of its shard. Those that AWS does not document have the 5 that
// are usual.
//
// Source: Amazon Kinesis Data Streams API Reference, the text of each
// operation.
var operations = map[string]operation{
	"AddTagsToStream":               {perSecond: 5},
	"CreateChannel":                 {perSecond: 5},
	"CreateStream":                  {perSecond: 5},
	"DecreaseStreamRetentionPeriod": {perSecond: 5},
	"DeleteChannel":                 {perSecond: 5},
	"DeleteResourcePolicy":          {perSecond: 5},
	"DeleteStream":                  {perSecond: 5},
	"DeregisterStreamConsumer":      {perSecond: 5, perStream: true},
	"DescribeAccountSettings":       {perSecond: 5},
	"DescribeChannel":               {perSecond: 5},
	"DescribeLimits":                {perSecond: 1},
	"DescribeStream":                {perSecond: 10},
	"DescribeStreamConsumer":        {perSecond: 20, perStream: true},
	"DescribeStreamSummary":         {perSecond: 20},
	"DisableEnhancedMonitoring":     {perSecond: 5},
	"EnableEnhancedMonitoring":      {perSecond: 5},
	"GetResourcePolicy":             {perSecond: 5},
	"IncreaseStreamRetentionPeriod": {perSecond: 5},
	"ListChannels":                  {perSecond: 5},
	"ListShards":                    {perSecond: 1000, perStream: true},
	"ListStreamConsumers":           {perSecond: 5, perStream: true},
	"ListStreams":                   {perSecond: 5},
	"ListTagsForResource":           {perSecond: 5},
	"ListTagsForStream":             {perSecond: 5},
	"MergeShards":                   {perSecond: 5},
	"PutResourcePolicy":             {perSecond: 5},
	"RegisterStreamConsumer":        {perSecond: 5},
	"RemoveTagsFromStream":          {perSecond: 5},
	"SplitShard":                    {perSecond: 5},
	"TagResource":                   {perSecond: 5},
	"UntagResource":                 {perSecond: 5},
	"UpdateAccountSettings":         {perSecond: 5},
	"UpdateChannel":                 {perSecond: 5},
	"UpdateMaxRecordSize":           {perSecond: 5},
	"UpdateShardCount":              {perSecond: 10},
	"UpdateStreamWarmThroughput":    {perSecond: 5},
}
