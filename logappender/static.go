package logappender

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"go.uber.org/zap/zapcore"
)

// ProcessFields returns fields for Config.StaticFields that tell where an entry comes
// from: the name of the machine as "host" if it has one, "pid", and the given name as
// "service" unless that is empty.
func ProcessFields(service string) []zapcore.Field {
	var fields []zapcore.Field
	if host, err := os.Hostname(); err == nil {
		fields = append(fields, zapcore.Field{Key: "host", Type: zapcore.StringType, String: host})
	}
	fields = append(fields, zapcore.Field{Key: "pid", Type: zapcore.Int64Type, Integer: int64(os.Getpid())})
	if service != "" {
		fields = append(fields, zapcore.Field{Key: "service", Type: zapcore.StringType, String: service})
	}
	return fields
}

// static is Config.StaticFields in the forms in which they are needed.
type static struct {
	fields []zapcore.Field
	attrs  []slog.Attr
	json   []byte // members of an object: empty, or with a comma before the first
	key    string // the partition key that is among them
}

// newStatic encodes the fields.
func newStatic(c *Config) (s static, err error) {
	if len(c.StaticFields) == 0 {
		return s, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("StaticFields: a value panics: %v", v)
		}
	}()
	s.fields = slices.Clone(c.StaticFields)
	var errs []error
	for _, f := range s.fields {
		if f.Type == zapcore.NamespaceType {
			errs = append(errs, fmt.Errorf("StaticFields: namespace %q would take in all other fields: use zap.Dict", f.Key))
			continue
		}
		m := zapcore.NewMapObjectEncoder()
		f.AddTo(m)
		for _, k := range slices.Sorted(maps.Keys(m.Fields)) {
			s.attrs = append(s.attrs, slog.Any(k, m.Fields[k]))
		}
	}
	buf, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		SkipLineEnding: true, EncodeDuration: zapcore.SecondsDurationEncoder, EncodeTime: zapcore.EpochTimeEncoder,
	}).EncodeEntry(zapcore.Entry{}, s.fields)
	if err != nil {
		return s, errors.Join(append(errs, fmt.Errorf("StaticFields: %w", err))...)
	}
	if b := buf.Bytes(); len(b) > len("{}") {
		s.json = append([]byte{','}, b[1:len(b)-1]...)
	}
	buf.Free()
	if most := c.MaxRecordBytes / 4; len(s.json) > most {
		errs = append(errs, fmt.Errorf("StaticFields take %d bytes in JSON, more than %d, a quarter of MaxRecordBytes", len(s.json), most))
	}
	s.key = c.PartitionKey.with(s.fields, "")
	return s, errors.Join(errs...)
}

// closeObject ends a JSON object that has a member, with the static fields in it.
func (s *static) closeObject(b []byte) []byte { return append(append(b, s.json...), '}') }
