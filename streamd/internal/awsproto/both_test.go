package awsproto_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// both is one value as it is written in each encoding.
type both struct{ json, cbor any }

func same(v any) both { return both{v, v} }

// wrong draws a value of any type.
func wrong(t *rapid.T) both {
	return same(rapid.SampledFrom([]any{nil, true, "YES", "x", 7, 1.5, -3, []any{}, []any{1}, map[string]any{}, map[string]any{"a": 1}}).Draw(t, "any"))
}

func value(t *rapid.T, m *shape.Member) both {
	if rapid.IntRange(0, 9).Draw(t, "fits") == 0 {
		if m.Kind == shape.KindTime { // a bare number is seconds here and milliseconds there
			return same(rapid.SampledFrom([]any{nil, true, "7", []any{}, map[string]any{}}).Draw(t, "no time"))
		}
		return wrong(t)
	}
	text := rapid.OneOf(rapid.SampledFrom(append([]string{"", "a", "0", "01", "shardId-1", "é😀", "a b"}, m.Rules.Enum...)), rapid.StringN(0, 20, -1))
	switch m.Kind {
	case shape.KindString:
		return same(text.Draw(t, "text"))
	case shape.KindInt:
		return same(rapid.OneOf(rapid.Int64Range(-2, 20), rapid.Int64()).Draw(t, "int"))
	case shape.KindBool:
		return same(rapid.Bool().Draw(t, "bool"))
	case shape.KindTime:
		ms := rapid.Int64Range(-1<<40, 1<<41).Draw(t, "ms")
		return both{float64(ms) / 1000, cbor.Tag{Number: 1, Content: ms}}
	case shape.KindBlob:
		b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "blob")
		return both{base64.StdEncoding.EncodeToString(b), b}
	case shape.KindStrings:
		return same(rapid.SliceOfN(text, 0, 3).Draw(t, "texts"))
	case shape.KindMap:
		return same(rapid.MapOfN(text, text, 0, 3).Draw(t, "map"))
	case shape.KindStruct:
		return structure(t, m.Elem)
	case shape.KindList:
		j, c := []any{}, []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			e := structure(t, m.Elem)
			j, c = append(j, e.json), append(c, e.cbor)
		}
		return both{j, c}
	case shape.KindPresent:
	}
	return wrong(t)
}

func structure(t *rapid.T, s shape.Struct) both {
	j, c := map[string]any{"Unknown": 1}, map[string]any{"Unknown": 1}
	for i := range s {
		if rapid.IntRange(0, 3).Draw(t, "absent") > 0 {
			v := value(t, &s[i])
			j[s[i].Name], c[s[i].Name] = v.json, v.cbor
		}
	}
	return both{j, c}
}

// TestBothEncodingsReadTheSame shows for every operation that an input means
// the same in JSON and in CBOR, right or wrong.
func TestBothEncodingsReadTheSame(t *testing.T) {
	st, err := store.Open(store.Options{Clock: new(clock.Clock), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for name, op := range api.New(st, api.Config{}).Operations() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := structure(t, op.Input)
				j, err := json.Marshal(v.json)
				if err != nil {
					t.Fatal(err)
				}
				c, err := cbor.Marshal(v.cbor)
				if err != nil {
					t.Fatal(err)
				}
				text := string(j)
				inJ, inC := op.New(), op.New()
				errJ, okJ := awsproto.JSON11.Decode(j, op.Input, inJ)
				errC, okC := awsproto.CBOR11.Decode(c, op.Input, inC)
				if !okJ || !okC || fmt.Sprint(errJ) != fmt.Sprint(errC) {
					t.Fatalf("%s: JSON %v %v, CBOR %v %v", text, okJ, errJ, okC, errC)
				}
				if errJ != nil {
					return
				}
				if !reflect.DeepEqual(inJ, inC) {
					t.Fatalf("%s:\nJSON %+v\nCBOR %+v", text, inJ, inC)
				}
				if a, b := shape.Validate(op.Input, inJ), shape.Validate(op.Input, inC); fmt.Sprint(a) != fmt.Sprint(b) {
					t.Fatalf("%s:\nJSON %v\nCBOR %v", text, a, b)
				}
			})
		})
	}
}
