package transform_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent/internal/transform"
)

// metadataService answers as the one of an EC2 instance does to version 2 of its
// protocol.
func metadataService(t *testing.T, tags bool) *httptest.Server {
	t.Helper()
	answers := map[string]string{
		"/latest/dynamic/instance-identity/document": `{"accountId":"123456789012","architecture":"x86_64","availabilityZone":"eu-west-1a",
 "imageId":"ami-1","instanceId":"i-1","instanceType":"m7g.large","privateIp":"10.0.0.1","region":"eu-west-1","kernelId":null}`,
	}
	if tags {
		answers["/latest/meta-data/tags/instance/"] = "Name\nCost Centre"
		answers["/latest/meta-data/tags/instance/Name"] = "web"
		answers["/latest/meta-data/tags/instance/Cost Centre"] = "a\"b"
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "" {
			_, _ = w.Write([]byte("token"))
			return
		}
		text, ok := answers[r.URL.Path]
		switch {
		case r.Header.Get("X-aws-ec2-metadata-token") != "token":
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write([]byte(text))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAddEC2Metadata(t *testing.T) {
	const known = `"privateIp":"10.0.0.1","availabilityZone":"eu-west-1a","instanceId":"i-1","instanceType":"m7g.large",` +
		`"accountId":"123456789012","amiId":"ami-1","region":"eu-west-1","metadataTimestamp":"TIME"`
	stamp := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}`)
	for _, tt := range []struct {
		name, in, want string
		tags           bool
	}{
		{"added", `{"a":1}` + "\n", `{"a":1,` + known + `,"tags":{"name":"web","cost centre":"a\"b"}}` + "\n", true},
		{"no tags", `{ "a" : [1, 2.50] }` + "\n", `{"a":[1,2.50],` + known + "}\n", false},
		{
			"overwritten", `{"region":"x","a":"\u00e9"}` + "\n",
			`{"region":"eu-west-1","a":"é",` + strings.Replace(known, `"region":"eu-west-1",`, "", 1) + "}\n", false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &transform.AddEC2Metadata{Endpoint: metadataService(t, tt.tags).URL}
			if got, res := one(o, tt.in, &transform.Record{}); got != tt.in || res != transform.Converted {
				t.Errorf("with nothing known %q becomes %q, %v", tt.in, got, res)
			}
			o.Prepare(t.Context(), slog.New(slog.DiscardHandler))
			got, res := one(o, tt.in, &transform.Record{})
			if got = stamp.ReplaceAllString(got, "TIME"); got != tt.want || res != transform.Converted {
				t.Errorf("%q becomes %s, %v, want %s", tt.in, got, res, tt.want)
			}
			if _, res := one(o, "no object\n", &transform.Record{}); res != transform.Failed {
				t.Errorf("no object: %v, want a failure", res)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(&transform.AddEC2Metadata{}).Run(ctx, slog.New(slog.DiscardHandler))
}

// What is known is asked for again when it is as old as metadataTTL, and not before.
func TestMetadataTTL(t *testing.T) {
	const ttl = 40 * time.Millisecond
	service := metadataService(t, false)
	asked := make(chan time.Time)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			select {
			case asked <- time.Now():
			case <-t.Context().Done():
			}
		}
		service.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	o := &transform.AddEC2Metadata{Endpoint: front.URL, TTL: ttl}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(over)
		o.Run(ctx, slog.New(slog.DiscardHandler))
	}()
	for i := range 3 {
		if at := <-asked; at.Sub(start) < time.Duration(i+1)*ttl {
			t.Errorf("asked for the %d. time after %v, want at least %v", i+1, at.Sub(start), time.Duration(i+1)*ttl)
		}
	}
	cancel()
	for {
		select {
		case <-asked: // it may be just about to
		case <-over:
			return
		}
	}
}
