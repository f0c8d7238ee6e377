package table

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// timeToLive is the setting by which DynamoDB would delete items that are past
// the time in one of their attributes. It is kept and shown, and nothing is
// deleted.
type timeToLive struct {
	attribute string
	enabled   bool
}

func readTimeToLive(p *params, r *reader) {
	t := p.table
	t.hasTTL = [3]bool{r.optObject(func(member string) {
		switch member {
		case "AttributeName":
			t.hasTTL[1] = p.text(r, &t.ttl.attribute)
		case "Enabled":
			t.ttl.enabled, t.hasTTL[2] = r.optBool()
		default:
			r.skip()
		}
	}), t.hasTTL[1], t.hasTTL[2]}
}

func (t *tableParams) requireTimeToLive(p *params) {
	const at = "timeToLiveSpecification"
	if !t.hasTTL[0] {
		p.require(false, "null", at, "Member must not be null")
		return
	}
	p.require(t.hasTTL[1], "null", at+".attributeName", "Member must not be null")
	p.require(!t.hasTTL[1] || t.ttl.attribute != "", "''", at+".attributeName", "Member must have length greater than or equal to 1")
	p.require(len(t.ttl.attribute) <= 255, quoted(t.ttl.attribute), at+".attributeName", "Member must have length less than or equal to 255")
	p.require(t.hasTTL[2], "null", at+".enabled", "Member must not be null")
}

// setTimeToLive does UpdateTimeToLive.
func (d *data) setTimeToLive(r *Request) (Response, error) {
	want := r.p.table.ttl
	switch {
	case want.enabled && d.ttl.enabled && want.attribute != d.ttl.attribute:
		return nil, invalid("TimeToLive is active on a different AttributeName: current AttributeName is %s", d.ttl.attribute)
	case want.enabled && d.ttl.enabled:
		return nil, invalid("TimeToLive is already enabled")
	case !want.enabled && !d.ttl.enabled:
		return nil, invalid("TimeToLive is already disabled")
	}
	d.ttl = timeToLive{strings.Clone(want.attribute), want.enabled}
	dst := []byte(`{"TimeToLiveSpecification":{"AttributeName":`)
	dst = append(appendString(dst, want.attribute), `,"Enabled":`...)
	return body(append(strconv.AppendBool(dst, want.enabled), "}}"...)), nil
}

// describeTimeToLive does DescribeTimeToLive.
func (d *data) describeTimeToLive() Response {
	if !d.ttl.enabled {
		return body(`{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}`)
	}
	dst := appendString([]byte(`{"TimeToLiveDescription":{"AttributeName":`), d.ttl.attribute)
	return body(append(dst, `,"TimeToLiveStatus":"ENABLED"}}`...))
}

func readBackups(p *params, r *reader) {
	p.table.hasBackups = r.optObject(func(member string) {
		if member != "PointInTimeRecoveryEnabled" {
			r.skip()
			return
		}
		if v, ok := r.optBool(); ok {
			p.table.backups = &v
		}
	})
}

func (t *tableParams) requireBackups(p *params) {
	const at = "pointInTimeRecoverySpecification"
	if !t.hasBackups {
		p.require(false, "null", at, "Member must not be null")
		return
	}
	p.require(t.backups != nil, "null", at+".pointInTimeRecoveryEnabled", "Member must not be null")
}

// setBackups does UpdateContinuousBackups: the switch is kept and shown, and
// nothing is backed up.
func (d *data) setBackups(at time.Time, r *Request) Response {
	switch on := *r.p.table.backups; {
	case !on:
		d.backups = 0
	case d.backups == 0:
		d.backups = at.UnixMilli()
	}
	return d.describeBackups(at)
}

// restorableLag is how far behind the present a table could be restored.
// Source: Amazon DynamoDB API Reference, PointInTimeRecoveryDescription.
const restorableLag = 5 * time.Minute

// describeBackups does DescribeContinuousBackups.
func (d *data) describeBackups(at time.Time) Response {
	dst := []byte(`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{`)
	if d.backups == 0 {
		return body(append(dst, `"PointInTimeRecoveryStatus":"DISABLED"}}}`...))
	}
	dst = appendSeconds(append(dst, `"EarliestRestorableDateTime":`...), d.backups)
	dst = appendSeconds(append(dst, `,"LatestRestorableDateTime":`...), max(d.backups, at.Add(-restorableLag).UnixMilli()))
	return body(append(dst, `,"PointInTimeRecoveryStatus":"ENABLED","RecoveryPeriodInDays":35}}}`...))
}

func readTagKeys(p *params, r *reader) {
	p.table.tagKeys = nil
	p.table.hasTags = r.optArray(func() {
		if s, ok := r.optString(); ok {
			p.table.tagKeys = append(p.table.tagKeys, s)
		}
	})
}

// maxTags is how many tags a table can have, the others are the limits of one.
// Source: Amazon DynamoDB Developer Guide, "Tagging restrictions".
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

var (
	anyResource   = regexp.MustCompile(`^.+:.+:.+:.+:.+:.+/.+$`)
	tableResource = regexp.MustCompile(`^arn:aws[-a-z]*:dynamodb:.+:\d+:table/[a-zA-Z0-9_.-]{3,}$`)
)

// checkTags checks the parameters of the operations on tags.
func (r *Request) checkTags() error {
	t := r.p.table
	switch {
	case !t.hasResource:
		return invalid("Invalid TableArn")
	case !anyResource.MatchString(t.resource):
		return awserr.New("AccessDeniedException", "User is not authorized to perform: dynamodb:%s on resource: %s", r.name, t.resource)
	case r.op == opTagResource && !t.hasTags:
		return invalid("1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null")
	case r.op == opUntagResource && !t.hasTags:
		return invalid("1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null")
	case !tableResource.MatchString(t.resource):
		return invalid("Invalid TableArn: Invalid ResourceArn provided as input %s", t.resource)
	case r.op == opTagResource && len(t.tags) == 0:
		return invalid("Atleast one Tag needs to be provided as Input.") // sic
	case r.op == opUntagResource && len(t.tagKeys) == 0:
		return invalid("Atleast one Tag Key needs to be provided as Input.") // sic
	}
	for i, x := range t.tags {
		at := "tags." + strconv.Itoa(i+1) + ".member."
		r.p.require(x.key != "", "''", at+"key", "Member must have length greater than or equal to 1")
		r.p.require(len(x.key) <= maxTagKey, quoted(x.key), at+"key", "Member must have length less than or equal to 128")
		r.p.require(len(x.value) <= maxTagValue, quoted(x.value), at+"value", "Member must have length less than or equal to 256")
	}
	if c := r.p.constraint; len(c) > 0 {
		return invalid("1 validation error detected: %s", c[0])
	}
	return nil
}

// tagged returns the table whose tags a request is about.
func (s *Set) tagged(scope arn.Scope, r *Request) (*data, error) {
	name := r.tableName()
	d, ok := s.tables.Get(scopeKey(scope) + name)
	if !ok || r.p.table.resource != d.arn {
		return nil, awserr.New(codeNotFound, "Requested resource not found: ResourcArn: %s not found", r.p.table.resource) // sic
	}
	return d, nil
}

// applyTags does TagResource and UntagResource.
func (s *Set) applyTags(scope arn.Scope, r *Request) (Response, error) {
	d, err := s.tagged(scope, r)
	if err != nil {
		return nil, err
	}
	tags := slices.Clone(d.tags)
	place := func(key string) int { return slices.IndexFunc(tags, func(t tag) bool { return t.key == key }) }
	for _, t := range r.p.table.tags {
		t = tag{strings.Clone(t.key), strings.Clone(t.value)}
		if i := place(t.key); i >= 0 {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	for _, key := range r.p.table.tagKeys {
		if i := place(key); i >= 0 {
			tags = slices.Delete(tags, i, i+1)
		}
	}
	if len(tags) > maxTags {
		return nil, invalid("One or more parameter values were invalid: Too many tags: a table can have 50")
	}
	d.tags = tags
	return body(nil), nil
}

// listTags does ListTagsOfResource.
func (s *Set) listTags(scope arn.Scope, r *Request) (Response, error) {
	d, err := s.tagged(scope, r)
	if err != nil {
		return nil, err
	}
	dst := []byte(`{"Tags":[`)
	for i, t := range d.tags {
		dst = appendString(append(appendComma(dst, i), `{"Key":`...), t.key)
		dst = append(appendString(append(dst, `,"Value":`...), t.value), '}')
	}
	return body(append(dst, "]}"...)), nil
}

// accountLimits is the answer to DescribeLimits. Source: the defaults of Amazon
// DynamoDB Developer Guide, "Service quotas". Nothing here enforces them.
const accountLimits = `{"AccountMaxReadCapacityUnits":80000,"AccountMaxWriteCapacityUnits":80000,"TableMaxReadCapacityUnits":40000,"TableMaxWriteCapacityUnits":40000}`
