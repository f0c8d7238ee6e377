package agent_test

import (
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

func TestPartitionKeys(t *testing.T) {
	long := strings.Repeat("k", 65)
	sum := md5.Sum([]byte(long))
	hash := hex.EncodeToString(sum[:])
	for _, tt := range []struct {
		key  string
		text []string // lines
		want []string // their keys
	}{
		{"const:a:b", []string{"x", "y"}, []string{"a:b", "a:b"}},
		{
			"field:user.id",
			[]string{
				`{"user":{"name":"n","id":"a\u00e9"}}`, `{"user":{"id":17.50}}`, `{"user":{"id":null}}`, `{"user":"x"}`, `{}`, `no object`,
				`{"user":{"id":"` + long + `"}}`, `{"user":{"id":"a\u00e9"}}`,
			},
			[]string{"aé", "17.50", "", "", "", "", hash, "aé"},
		},
		{`regex:id=(\w+)`, []string{"x id=1 y", "id=", "id=" + long, "id=1"}, []string{"1", "", hash, "1"}},
		{"deterministic", []string{"x"}, []string{hex.EncodeToString(func() []byte { s := md5.Sum([]byte("x\n")); return s[:] }())}},
		{"random", []string{"x"}, []string{""}},
	} {
		t.Run(tt.key, func(t *testing.T) {
			bubble(t, agent.FlowConfig{PartitionKey: tt.key}, func(w *world) {
				w.write("app.log", strings.Join(tt.text, "\n")+"\n")
				w.start()
				w.settle(3 * time.Second)
				var got []string
				for _, r := range w.sink.records() {
					got = append(got, r.PartitionKey)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("keys %q, want %q", got, tt.want)
				}
				w.stopped()
			})
		})
	}
}
