package streamd_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// members writes a table's members as testdata/members.txt has them: in order,
// with a mark behind those that are required, and what else is asked of them.
func members(s shape.Struct, path string) []string {
	var all []string
	for i := range s {
		m := &s[i]
		p := path + "." + m.Name
		line := p
		if m.Rules.Required {
			line += "!"
		}
		all = append(append(all, line+constraints(&m.Rules)), members(m.Elem, p)...)
	}
	return all
}

// constraints writes rules: bounds, pattern, values, and the same of the keys
// and elements.
func constraints(r *shape.Rules) string {
	var b strings.Builder
	if r.HasMin || r.Max > 0 {
		b.WriteString(" ")
		if r.HasMin {
			fmt.Fprint(&b, r.Min)
		}
		b.WriteString("..")
		if r.Max > 0 {
			fmt.Fprint(&b, r.Max)
		}
	}
	if r.Pattern != nil {
		b.WriteString(" /" + r.Pattern.Text + "/")
	}
	if r.Enum != nil {
		b.WriteString(" {" + strings.Join(slices.Sorted(slices.Values(r.Enum)), ",") + "}")
	}
	if r.Key != nil {
		b.WriteString(" keys(" + strings.TrimSpace(constraints(r.Key)) + ")")
	}
	if r.Value != nil {
		b.WriteString(" each(" + strings.TrimSpace(constraints(r.Value)) + ")")
	}
	return b.String()
}

// TestTablesHaveTheModelsMembers compares the table of each operation with the
// members of its input in the model and their constraints, which
// testdata/members.txt has in the model's order. A partition key is required by the table and not by the model:
// see shape.Operation.Relaxed.
//
// Source: the schemas of aws-sdk-go-v2's Kinesis client v1.56.13 and what it
// requires before it sends; the constraints are of botocore's service model, and
// where that has no member yet, of the documentation of the API.
func TestTablesHaveTheModelsMembers(t *testing.T) {
	b, err := os.ReadFile("testdata/members.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string][]string)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		op, _, _ := strings.Cut(line, ".")
		want[op] = append(want[op], line)
	}
	for name, op := range api.New(noEngine{}, api.Config{}).Operations() {
		got := members(op.Input, name)
		if op.Relaxed != nil {
			for i, line := range got {
				got[i] = strings.Replace(line, ".PartitionKey!", ".PartitionKey", 1)
			}
		}
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s has %q\nwant %q", name, got, want[name])
		}
	}
}

// noEngine is as much of an engine as it takes to ask for the operations.
type noEngine struct{ api.Engine }

func (noEngine) Secret() [32]byte { return [32]byte{} }
