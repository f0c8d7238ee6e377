package multilang

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/javaprops"
)

// Settings are what a properties file of the MultiLangDaemon says.
type Settings struct {
	Config

	Application string
	Table       string // of the leases; the application's name unless set
	Stream      string // name, or ARN if the file has one

	// CoordinatorStateTable and WorkerMetricsTable are those of the KCL 3.0 to
	// 3.4, if they do not have their usual names.
	CoordinatorStateTable, WorkerMetricsTable string

	Region         string // of Kinesis, and of DynamoDB unless set
	DynamoDBRegion string

	KinesisEndpoint, DynamoDBEndpoint string // "": found as the other commands do

	// Kinesis and DynamoDB are whose rights the requests are made with.
	Kinesis, DynamoDB Credentials

	TableDeletionProtection bool

	retrieval retrieval
	polled    bool // a property of polling is set
}

// retrieval is what retrievalMode says.
type retrieval int

const (
	retrievalDefault retrieval = iota
	retrievalPolling
	retrievalFanOut
)

// setRetrieval turns retrievalMode into what it comes to.
func (s *Settings) setRetrieval() {
	c := &s.Consumer
	switch {
	case s.retrieval == retrievalFanOut:
		c.RetrievalMode = consumer.RetrievalFanOut
	case s.retrieval == retrievalDefault && !s.polled:
		// The KCL takes fan-out, and fails where it cannot be had.
		c.RetrievalMode = consumer.RetrievalMixed
	default:
		c.ConsumerName, c.ConsumerARN = "", "" // set, and without meaning
	}
	if c.ConsumerARN != "" {
		c.ConsumerName = "" // the ARN wins
	}
	s.retrieval, s.polled = retrievalDefault, false
}

// Credentials say where credentials come from; the zero value is the default
// chain of the AWS SDK.
type Credentials struct {
	Profile                      string
	AccessKeyID, SecretAccessKey string
}

// Warning is a property that does not do here what it does with the KCL.
type Warning struct {
	Line int
	Key  string
	Why  string
}

func (w Warning) String() string { return fmt.Sprintf("line %d: %s: %s", w.Line, w.Key, w.Why) }

// property is what a key of a properties file does. It has set or note, or
// both.
type property struct {
	set    func(s *Settings, value string) error
	note   string // a warning for those who set it
	unless string // to this value, in any mix of cases, which changes nothing

	polling bool // setting it makes polling the default retrievalMode
}

// ReadSettings reads a properties file. What stands in it and has no meaning
// here is a warning; what cannot be understood is an error, joined with all
// others of the file.
func ReadSettings(r io.Reader) (*Settings, []Warning, error) {
	props, err := javaprops.Read(r)
	if err != nil {
		return nil, nil, err
	}
	s := &Settings{}
	s.Consumer.InitialPosition.Latest = true // as with the MultiLangDaemon
	var warnings []Warning
	var errs []error
	for i, p := range props {
		if overridden(props[i+1:], p.Key) {
			continue // the last one counts, in Java
		}
		prop, ok := properties[canonical(p.Key)]
		switch {
		case !ok:
			warnings = append(warnings, Warning{p.Line, p.Key, unknown(p.Key)})
			continue
		case prop.note != "" && (prop.unless == "" || !strings.EqualFold(strings.TrimSpace(p.Value), prop.unless)):
			warnings = append(warnings, Warning{p.Line, p.Key, prop.note})
		}
		s.polled = s.polled || prop.polling && strings.TrimSpace(p.Value) != ""
		if prop.set == nil || strings.TrimSpace(p.Value) == "" {
			continue
		}
		if err := prop.set(s, strings.TrimSpace(p.Value)); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %s: %w", p.Line, p.Key, err))
		}
	}
	for _, need := range []struct{ key, value string }{
		{"executableName", strings.Join(s.Command, "")}, {"applicationName", s.Application}, {"streamName or streamArn", s.Stream},
	} {
		if need.value == "" {
			errs = append(errs, fmt.Errorf("%s is missing; add it", need.key))
		}
	}
	s.setRetrieval()
	if s.Table == "" {
		s.Table = s.Application
	}
	return s, warnings, errors.Join(errs...)
}

func overridden(later []javaprops.Property, key string) bool {
	for _, p := range later {
		if canonical(p.Key) == canonical(key) {
			return true
		}
	}
	return false
}

// canonical returns the spelling of a key in the table. The KCL knows only the
// credentials' keys in any mix of cases.
func canonical(key string) string {
	const creds = "awsCredentialsProvider"
	if len(key) >= len(creds) && strings.EqualFold(key[:len(creds)], creds) {
		return creds + key[len(creds):]
	}
	return key
}

// unknown says what may be wrong with a key that is not in the table.
func unknown(key string) string {
	for known := range properties {
		if strings.EqualFold(known, key) {
			return "is not a property; is " + known + " meant? It is ignored, as by the KCL"
		}
	}
	return "is not a property of the KCL that is known here; it is ignored"
}

// arnRegion returns the region of a stream's ARN, or "".
func arnRegion(stream string) string {
	if part := strings.Split(stream, ":"); len(part) == 6 && part[0] == "arn" {
		return part[3]
	}
	return ""
}

// StreamRegion returns the region of the stream: the one that the file names,
// or else that of its ARN.
func (s *Settings) StreamRegion() string {
	if r := arnRegion(s.Stream); r != "" && s.Region == "" {
		return r
	}
	return s.Region
}
