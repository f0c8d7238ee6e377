package agent

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// EMF writes the official agent's metrics as lines in CloudWatch's embedded metric
// format, which the CloudWatch agent and the log drivers of containers take to
// CloudWatch: BytesSent, RecordsSent, RecordSendAttempts, RecordSendErrors,
// ServiceErrors and ConsecutiveProcessingErrors by destination. It is not safe for
// concurrent use.
//
// Source: awslabs/amazon-kinesis-agent, FileTailer and KinesisSender; Amazon
// CloudWatch User Guide, "Specification: Embedded metric format".
type EMF struct {
	cfg      CloudWatch
	instance string
	last     map[string]sent // by flow
}

// sent is what a flow has counted.
type sent struct{ bytes, records, attempts, failures, refused uint64 }

// NewEMF returns a writer under the settings of a configuration. instance is the
// value of the dimension Instance, which is left out if it is empty.
func NewEMF(cfg CloudWatch, instance string) *EMF {
	c := Config{CloudWatch: cfg}
	def(&c.CloudWatch.Namespace, "AWSKinesisAgent")
	return &EMF{cfg: c.CloudWatch, instance: instance, last: make(map[string]sent)}
}

type emfMetric struct {
	Name string
	Unit string
}

type emfDirective struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []emfMetric
}

type emfMeta struct {
	Timestamp         int64
	CloudWatchMetrics []emfDirective
}

type emfLine struct {
	Meta        emfMeta `json:"_aws"`
	Destination string
	Instance    string `json:",omitempty"`

	BytesSent                   uint64
	RecordsSent                 uint64
	RecordSendAttempts          uint64
	RecordSendErrors            uint64
	ServiceErrors               uint64
	ConsecutiveProcessingErrors int
}

var emfMetrics = []emfMetric{
	{"BytesSent", "Bytes"},
	{"RecordsSent", "Count"},
	{"RecordSendAttempts", "Count"},
	{"RecordSendErrors", "Count"},
	{"ServiceErrors", "Count"},
	{"ConsecutiveProcessingErrors", "Count"},
}

// Append appends a line for each destination of s: what its flows have counted
// since the call before.
func (e *EMF) Append(dst []byte, s Status, now time.Time) []byte {
	dimensions := []string{"Destination"}
	if e.instance != "" {
		dimensions = append(dimensions, "Instance")
	}
	lines := make(map[string]*emfLine)
	seen := make(map[string]sent, len(s.Flows))
	for i := range s.Flows {
		f := &s.Flows[i]
		l := lines[f.Destination]
		if l == nil {
			l = &emfLine{Destination: f.Destination, Instance: e.instance, Meta: emfMeta{
				Timestamp:         now.UnixMilli(),
				CloudWatchMetrics: []emfDirective{{e.cfg.Namespace, [][]string{dimensions}, emfMetrics}},
			}}
			lines[f.Destination] = l
		}
		cur := sent{f.AckedBytes, f.AckedRecords, f.RecordAttempts, f.RecordFailures, f.RefusedBatches}
		last := e.last[f.ID]
		if cur.attempts < last.attempts {
			last = sent{} // the flow was started anew
		}
		seen[f.ID] = cur
		l.BytesSent += cur.bytes - min(last.bytes, cur.bytes)
		l.RecordsSent += cur.records - min(last.records, cur.records)
		l.RecordSendAttempts += cur.attempts - last.attempts
		l.RecordSendErrors += cur.failures - min(last.failures, cur.failures)
		l.ServiceErrors += cur.refused - min(last.refused, cur.refused)
		l.ConsecutiveProcessingErrors = max(l.ConsecutiveProcessingErrors, f.ConsecutiveErrors)
	}
	e.last = seen
	sorted := make([]*emfLine, 0, len(lines))
	for _, l := range lines {
		sorted = append(sorted, l)
	}
	slices.SortFunc(sorted, func(a, b *emfLine) int { return cmp.Compare(a.Destination, b.Destination) })
	for _, l := range sorted {
		b, err := json.Marshal(l)
		if err != nil {
			continue // texts and numbers always can be
		}
		dst = append(append(dst, b...), '\n')
	}
	return dst
}
