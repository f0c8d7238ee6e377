package streamd_test

import (
	"fmt"
	"testing"

	"github.com/streamkit/streamkit/streamd"
)

// FuzzParseSettings gives texts of any kind to what reads flags and variables of
// the environment: they are refused, or read as something that is in bounds.
func FuzzParseSettings(f *testing.F) {
	for _, s := range []string{
		"", "off", "aws", "aws:0.1", "aws:0.5,read-calls=10,shards=100,quotas=false", "aws;orders:write-records=10;logs-*:off",
		"aws:-1", "write-records=1e400", ";;", "a:3:us-east-1,b:2", "a:99999999999999999999", ":::", "16MiB", "1TTiB", "-4KB", "9223372036854775807TB",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := streamd.ParseLimits(s); err == nil {
			for name, v := range map[string]float64{
				"records": l.WriteRecords, "bytes": l.WriteBytes, "calls": l.ReadCalls, "read bytes": l.ReadBytes, "iterators": l.Iterators,
			} {
				if !(v >= 0) {
					t.Errorf("%q: %s are %v", s, name, v)
				}
			}
		}
		if n, err := streamd.ParseBytes(s); err == nil {
			if n < 0 {
				t.Errorf("%q is read as %d bytes", s, n)
			}
			if again, err := streamd.ParseBytes(fmt.Sprint(n)); err != nil || again != n {
				t.Errorf("%d is read as %d, %v", n, again, err)
			}
		}
		_, _ = streamd.ParseStreams(s) // what it holds is checked with the rest of the Config
	})
}
