package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/firehose"
	"github.com/streamkit/streamkit/producer/producercw"
)

// TestPolicies holds the policies in docs/iam.md to what the libraries call: every
// call is allowed under its heading, and nothing else is.
func TestPolicies(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "iam.md"))
	if err != nil {
		t.Fatal(err)
	}
	type policy struct {
		Version   string
		Statement []struct {
			Sid, Effect string
			Action      []string
			Resource    any
			Condition   any
		}
	}
	allowed := map[string][]string{} // by service
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	for _, block := range blocks {
		dec := json.NewDecoder(strings.NewReader(block[1]))
		dec.DisallowUnknownFields()
		var p policy
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("%v in\n%s", err, block[1])
		}
		if p.Version != "2012-10-17" || len(p.Statement) == 0 {
			t.Errorf("version %q, %d statements in\n%s", p.Version, len(p.Statement), block[1])
		}
		for _, s := range p.Statement {
			if s.Effect != "Allow" || s.Resource == nil || !regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(s.Sid) {
				t.Errorf("statement %q: effect %q, resource %v", s.Sid, s.Effect, s.Resource)
			}
			if s.Resource == "*" && s.Condition == nil {
				t.Errorf("statement %q is not narrowed", s.Sid)
			}
			for _, a := range s.Action {
				service, action, _ := strings.Cut(a, ":")
				allowed[service] = append(allowed[service], action)
			}
		}
	}
	called := map[string][]string{}
	for service, apis := range map[string][]reflect.Type{
		"kinesis":    {reflect.TypeFor[consumer.API](), reflect.TypeFor[consumer.FanOutAPI](), reflect.TypeFor[producer.API]()},
		"dynamodb":   {reflect.TypeFor[dynamolease.API]()},
		"firehose":   {reflect.TypeFor[firehose.API]()},
		"cloudwatch": {reflect.TypeFor[producercw.API]()},
	} {
		for _, api := range apis {
			for m := range api.Methods() {
				called[service] = append(called[service], m.Name)
			}
		}
	}
	for service := range allowed {
		if called[service] == nil {
			t.Errorf("nobody calls %s", service)
		}
	}
	for service, calls := range called {
		for _, c := range calls {
			if !slices.Contains(allowed[service], c) && !strings.Contains(string(page), "`"+service+":"+c+"`") {
				t.Errorf("no policy allows %s:%s", service, c)
			}
		}
		for _, a := range allowed[service] {
			if !slices.Contains(calls, a) {
				t.Errorf("nobody calls %s:%s, which a policy allows", service, a)
			}
		}
	}
}
