package agent

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streamkit/streamkit/agent/internal/charset"
	"github.com/streamkit/streamkit/agent/internal/javaregex"
)

// Setters of the keys that say how records are cut out of a file.

func setMultiLineStart(f *FlowConfig, n *node) error {
	s, err := n.asString()
	if err != nil || s == "" {
		return err // an empty one is none
	}
	f.MultiLineStart, err = javaregex.Prefix(s)
	return err
}

func setFileFooter(f *FlowConfig, n *node) error {
	s, err := n.asString()
	if err != nil || s == "" {
		return err // an empty one is none
	}
	f.FileFooter, err = javaregex.Whole(s)
	return err
}

func setTerminator(f *FlowConfig, n *node) (err error) {
	f.TruncatedRecordTerminator, err = n.asString()
	f.NoRecordTerminator = err == nil && f.TruncatedRecordTerminator == ""
	return err
}

// setFormatDefaults is part of setDefaults.
func (f *FlowConfig) setFormatDefaults() {
	def(&f.MultiLineMaxBytes, max(0, f.MaxRecordBytes-keyReserve))
	def(&f.OnOversize, OversizeTruncate)
}

// validateFormat is part of validate.
func (f *FlowConfig) validateFormat(errs []problem) []problem {
	oneOf := func(key, value string, names ...string) {
		if value != "" && !slices.Contains(names, value) {
			errs = append(errs, problem{key, fmt.Sprintf("%q is none of %s", value, strings.Join(names, ", "))})
		}
	}
	if _, err := charset.Parse(f.Encoding); err != nil {
		errs = append(errs, problem{"encoding", err.Error()})
	}
	containers := slices.Sorted(maps.Keys(containerFormats))
	oneOf("container", f.Container, containers[1:]...)
	oneOf("onOversize", f.OnOversize, OversizeTruncate, OversizeSplit, OversizeSkip, OversizeDeadLetter)
	oneOf("onParseError", f.OnParseError, ParseErrorDrop, ParseErrorRaw, ParseErrorDeadLetter)
	wanted := f.OnOversize == OversizeDeadLetter || f.OnParseError == ParseErrorDeadLetter
	switch {
	case wanted && f.DeadLetterFile == "":
		errs = append(errs, problem{"deadLetterFile", "missing; name the file that takes the records"})
	case !wanted && f.RecordTTL == 0 && f.DeadLetterFile != "":
		errs = append(errs, problem{"deadLetterFile", "nothing goes there; set onParseError or onOversize to " + ParseErrorDeadLetter + ", or recordTtlSeconds"})
	case f.DeadLetterFile != "" && filepath.Dir(f.DeadLetterFile) == filepath.Dir(f.FilePattern):
		errs = append(errs, problem{"deadLetterFile", "lies in the flow's own directory, where it might be read; put it elsewhere"})
	case f.DeadLetterFile != "" && f.owns(absolute(f.DeadLetterFile)):
		errs = append(errs, problem{"deadLetterFile", "matches the flow's own patterns, and its records would come there again and again; put it elsewhere, or exclude it"})
	}
	errs = inRange(errs, "multiLineMaxBytes", f.MultiLineMaxBytes, 1, f.MaxRecordBytes)
	if f.FlushPartial != 0 {
		errs = inRange(errs, "flushPartialAfterMillis", f.FlushPartial, 1e6, 24*3600e9)
	}
	if f.Container != "" {
		for _, with := range []struct {
			key string
			set bool
			why string
		}{
			{"encoding", f.Encoding != "", "logs of containers are UTF-8"},
			{"skipHeaderLines", f.SkipHeaderLines > 0, "logs of containers have no header"},
			{"flushPartialAfterMillis", f.FlushPartial > 0, "a container's line is whole when its runtime has written it; multiLineFlushMillis bounds the wait for parts"},
		} {
			if with.set {
				errs = append(errs, problem{with.key, "has no place beside container: " + with.why + "; remove one of them"})
			}
		}
	}
	return errs
}
