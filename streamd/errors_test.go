package streamd_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// fault is an error as an answer has it.
type fault struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
	// SerializationException has it with a capital letter, which both decoders
	// take for the same.
}

// pinned returns the errors that the golden files have in JSON, and those that
// they have in CBOR.
func pinned(t *testing.T) (inJSON, inCBOR []fault) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.golden"))
	if err != nil {
		t.Fatal(err)
	}
	// A body stands behind the headers, or behind what is in JSON.
	ofJSON := regexp.MustCompile(`(?m)^\{"__type":.*\}$`)
	ofCBOR := regexp.MustCompile(`(?m)^(?:CBOR: )?"\\xbff__type.*"$`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range ofJSON.FindAll(b, -1) {
			var f fault
			if err := json.Unmarshal(body, &f); err != nil {
				t.Fatalf("%s: %v in %s", file, err, body)
			}
			inJSON = append(inJSON, f)
		}
		for _, quoted := range ofCBOR.FindAllString(string(b), -1) {
			var f fault
			body, err := strconv.Unquote(strings.TrimPrefix(quoted, "CBOR: "))
			if err == nil {
				err = cbor.Unmarshal([]byte(body), &f)
			}
			if err != nil {
				t.Fatalf("%s: %v in %s", file, err, quoted)
			}
			inCBOR = append(inCBOR, f)
		}
	}
	return inJSON, inCBOR
}

// made is an error that the sources make.
type made struct {
	at   string
	code string // empty if it is not a constant
	text *regexp.Regexp
}

// errorsOfSources returns the errors that are made by the packages under root.
func errorsOfSources(t *testing.T, root string, skip ...string) []made {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	consts := map[string]string{"invalidArgument": "InvalidArgumentException"} // what it makes
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, s := range skip {
			if d.IsDir() && path == filepath.FromSlash(s) {
				return filepath.SkipDir
			}
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				for i, name := range v.Names {
					if i < len(v.Values) {
						if s, ok := literal(v.Values[i], nil); ok {
							consts[name.Name] = s
						}
					}
				}
			}
			return true
		})
	}
	var all []made
	add := func(at token.Pos, code, text ast.Expr) {
		m := made{at: fset.Position(at).String()}
		m.code, _ = literal(code, consts)
		if format, ok := literal(text, consts); ok {
			m.text = likeFormat(format)
			all = append(all, m)
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch name(n.Fun) {
				case "awserr.New":
					add(n.Pos(), n.Args[0], n.Args[1])
				case "invalidArgument":
					add(n.Pos(), n.Fun, n.Args[0])
				}
			case *ast.CompositeLit:
				if name(n.Type) != "awserr.Error" && name(n.Type) != "Error" {
					return true
				}
				var code, text ast.Expr
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok {
						switch name(kv.Key) {
						case "Code":
							code = kv.Value
						case "Message":
							text = kv.Value
						}
					}
				}
				add(n.Pos(), code, text)
			}
			return true
		})
	}
	return all
}

// name returns how an identifier, or a selection from one, is written.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	}
	return ""
}

// literal returns the text of an expression that is constant.
func literal(e ast.Expr, consts map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		s, ok := consts[e.Name]
		return s, ok
	case *ast.CallExpr: // fmt.Sprintf
		if name(e.Fun) == "fmt.Sprintf" {
			return literal(e.Args[0], consts)
		}
	}
	return "", false
}

// likeFormat returns what matches the texts that a format can make.
func likeFormat(format string) *regexp.Regexp {
	parts := regexp.MustCompile(`%[a-z%]`).Split(format, -1)
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, "(.+)") + "$")
}

// TestEveryErrorIsPinned compares the golden files with the errors that the
// sources make: each is in one of them, in JSON and, unless it is one of
// DynamoDB's, in CBOR. Texts that are put together have their parts in the
// tables that TestValidation and others go through.
func TestEveryErrorIsPinned(t *testing.T) {
	inJSON, inCBOR := pinned(t)
	all := errorsOfSources(t, ".", "internal/table")
	if len(all) < 100 {
		t.Fatalf("%d errors in the sources", len(all))
	}
	// Errors that no request to a server can have.
	unreachable := map[string]string{
		"ExpiredTokenException": "no setting gives a key an end; package sigv4 tests it",
	}
	for _, m := range all {
		has := func(f fault) bool {
			_, code, qualified := strings.Cut(f.Type, "#")
			if !qualified {
				code = f.Type
			}
			return m.text.MatchString(f.Message) && (m.code == "" || m.code == code)
		}
		i := slices.IndexFunc(inJSON, has)
		switch {
		case i < 0 && unreachable[m.code] == "":
			t.Errorf("%s: no golden file has this error: %s %s", m.at, m.code, m.text)
		case i < 0:
			delete(unreachable, m.code)
		case !strings.Contains(inJSON[i].Type, "#") && !slices.ContainsFunc(inCBOR, has):
			t.Errorf("%s: no golden file has this error in CBOR: %s %s", m.at, m.code, m.text)
		}
	}
	for code, why := range unreachable {
		t.Errorf("%s was said to be out of reach: %s", code, why)
	}
}
