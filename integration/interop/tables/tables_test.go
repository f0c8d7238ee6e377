package tables_test

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/streamkit/streamkit/integration/interop/tables"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestRecordings plays each corpus to streamd and compares the answers with
// those that another server gave. A difference must have its decision, and a
// decision must have a difference.
func TestRecordings(t *testing.T) {
	for name, corpus := range corpora(t) {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open("testdata/" + name + ".jsonl.gz")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			list, theirs, err := tables.Read(f, corpus)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t)
				ours, err := tables.Play(t.Context(), tables.Server{URL: srv.Endpoint(), Client: srv.HTTPClient()}, list)
				if err != nil {
					t.Fatal(err)
				}
				check(t, name, tables.Compare(name, list, ours, theirs))
				asTaken(t, list, ours)
			})
		})
	}
}

func corpora(t *testing.T) map[string][]tables.Request {
	t.Helper()
	all, err := tables.Corpora()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// asTaken looks whether clients' requests succeed and fail as they did.
func asTaken(t *testing.T, list []tables.Request, answers []tables.Answer) {
	t.Helper()
	for i, r := range list {
		if a := answers[i]; r.Status != 0 && (a.Status != r.Status || a.Type != r.Code) {
			t.Errorf("#%d %s %s: the client took %d %s, now it is %v", i, r.Op, r.Body, r.Status, r.Code, a)
		}
	}
}

func check(t *testing.T, name string, differences []tables.Difference) {
	t.Helper()
	var used []string
	wrong := 0
	for _, d := range differences {
		used = append(used, d.Decision)
		if d.Decision == "" {
			if wrong++; wrong <= 10 {
				t.Errorf("no decision explains %v", d)
			}
		}
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
	for _, x := range tables.Decisions[name] {
		if !slices.Contains(used, x.Name) {
			t.Errorf("the decision about %s explains no difference", x.Name)
		}
	}
}

// TestCompareSeesChanges is the test of the test: an answer that is changed in
// any part is a difference that no decision explains.
func TestCompareSeesChanges(t *testing.T) {
	list := []tables.Request{{Op: "GetItem", Body: `{"TableName":"leases"}`}}
	answer := tables.Answer{Status: 400, Type: "ValidationException", Message: "a", Body: []byte(`{"b":1}`)}
	for name, change := range map[string]func(a *tables.Answer){
		"status":  func(a *tables.Answer) { a.Status = 500 },
		"type":    func(a *tables.Answer) { a.Type = "ResourceNotFoundException" },
		"message": func(a *tables.Answer) { a.Message = "b" },
		"body":    func(a *tables.Answer) { a.Body = []byte(`{"b":2}`) },
		"none":    func(*tables.Answer) {},
	} {
		changed := answer
		change(&changed)
		found := tables.Compare("dynalite", list, []tables.Answer{answer}, []tables.Answer{changed})
		if want := name != "none"; want != (len(found) == 1 && found[0].Decision == "") {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

// TestDynamoDBLocal has decisions about a server whose answers are not recorded
// explain what they name, and no more.
func TestDynamoDBLocal(t *testing.T) {
	const ours = `{"Table":{"BillingMode":"PROVISIONED","TableArn":"*","TableId":"*","TableName":"app"}}`
	for name, c := range map[string]struct {
		op, ours, theirs string
		want             string
	}{
		"no id":           {"DescribeTable", ours, `{"Table":{"BillingMode":"PROVISIONED","TableArn":"*","TableName":"app"}}`, "descriptions"},
		"more than that":  {"DescribeTable", ours, `{"Table":{"BillingMode":"PAY_PER_REQUEST","TableArn":"*","TableName":"app"}}`, ""},
		"limits":          {"UpdateTable", ours, `{"Table":{"BillingMode":"PROVISIONED","OnDemandThroughput":{"MaxReadRequestUnits":-1,"MaxWriteRequestUnits":-1},"TableArn":"*","TableName":"app"}}`, "descriptions"},
		"limits that are": {"UpdateTable", ours, `{"Table":{"BillingMode":"PROVISIONED","OnDemandThroughput":{"MaxReadRequestUnits":5,"MaxWriteRequestUnits":-1},"TableArn":"*","TableName":"app"}}`, ""},
		"an item":         {"GetItem", `{"Item":{"TableId":"*","a":1}}`, `{"Item":{"a":1}}`, ""},
	} {
		list := []tables.Request{{Op: c.op, Body: "{}"}}
		found := tables.Compare("dynamodb-local", list, []tables.Answer{{Status: 200, Body: []byte(c.ours)}}, []tables.Answer{{Status: 200, Body: []byte(c.theirs)}})
		if len(found) != 1 || found[0].Decision != c.want {
			t.Errorf("%s: found %v, want %q", name, found, c.want)
		}
	}
}

// TestCorpusIsWide counts what the corpora ask for: all operations, and enough
// right and wrong requests.
func TestCorpusIsWide(t *testing.T) {
	count := map[string]int{}
	for _, corpus := range corpora(t) {
		for _, r := range corpus {
			count[r.Op]++
		}
	}
	for _, op := range []string{
		"CreateTable", "UpdateTable", "DeleteTable", "DescribeTable", "ListTables",
		"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Scan", "Query", "BatchGetItem", "BatchWriteItem",
		"TransactGetItems", "TransactWriteItems", "TagResource", "UntagResource", "ListTagsOfResource",
		"UpdateTimeToLive", "DescribeTimeToLive", "UpdateContinuousBackups", "DescribeContinuousBackups",
	} {
		if count[op] < 5 {
			t.Errorf("%d requests of %s", count[op], op)
		}
	}
}
