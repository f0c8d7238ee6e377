package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// delivery is the part of Amazon Data Firehose that the agent speaks to. It knows
// one delivery stream, refuses the first record of its first request, and assumes
// every role.
type delivery struct {
	mu      sync.Mutex
	got     []string
	sizes   []int // records of each request
	agents  map[string]bool
	keys    map[string]bool // access keys that signed
	roles   []string
	most    int // calls at once
	running int
}

func (d *delivery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		d.assumeRole(w, r, string(body))
		return
	}
	d.mu.Lock()
	d.agents[r.Header.Get("User-Agent")] = true
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(credential, "/")
	d.keys[key] = true
	d.running++
	d.most = max(d.most, d.running)
	d.mu.Unlock()
	over := func() { // before the answer goes, after which the client may call again
		d.mu.Lock()
		d.running--
		d.mu.Unlock()
	}
	var in struct {
		DeliveryStreamName string
		Records            []struct{ Data []byte }
	}
	if err := json.Unmarshal(body, &in); err != nil || in.DeliveryStreamName != "d" {
		over()
		w.Header().Set("X-Amzn-ErrorType", "ResourceNotFoundException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type": "ResourceNotFoundException"}`)
		return
	}
	switch r.Header.Get("X-Amz-Target") {
	case "Firehose_20150804.DescribeDeliveryStream":
		over()
		_, _ = io.WriteString(w, `{"DeliveryStreamDescription": {"DeliveryStreamName": "d"}}`)
	case "Firehose_20150804.PutRecordBatch":
		answer := d.put(in.Records)
		over()
		_, _ = io.WriteString(w, answer)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

func (d *delivery) put(records []struct{ Data []byte }) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := len(d.sizes) == 0
	d.sizes = append(d.sizes, len(records))
	var answers []string
	failed := 0
	for i, r := range records {
		if first && i == 0 {
			failed++
			answers = append(answers, `{"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}`)
			continue
		}
		d.got = append(d.got, string(r.Data))
		answers = append(answers, `{"RecordId": "x"}`)
	}
	return fmt.Sprintf(`{"FailedPutCount": %d, "RequestResponses": [%s]}`, failed, strings.Join(answers, ","))
}

func (d *delivery) assumeRole(w http.ResponseWriter, r *http.Request, form string) {
	d.mu.Lock()
	d.roles = append(d.roles, form)
	d.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
		<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration>
		</Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// setUpDelivery is setUp for a delivery stream.
func setUpDelivery(t *testing.T, stream, top, more string) (config, logs string, d *delivery) {
	t.Helper()
	d = &delivery{agents: make(map[string]bool), keys: make(map[string]bool)}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	config, logs = setUp(t, "", "")
	text := fmt.Sprintf(`{"firehose.endpoint": %q, "sts.endpoint": %q, "checkpointFile": %q, %s "flows": [{"filePattern": %q, "deliveryStream": %q,
		"initialPosition": "START_OF_FILE", "maxBufferAgeMillis": 10%s}]}`,
		srv.URL, srv.URL, filepath.Join(filepath.Dir(config), "state", "checkpoints"), top, filepath.Join(logs, "*.log"), stream, more)
	write(t, config, text)
	return config, logs, d
}

// A delivery stream gets every line as a record of its own, or packed, once and
// whole, and what it refuses again.
func TestDeliveryStream(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		packed     bool
	}{
		{"a line a record", "", false},
		{"packed lines", `, "aggregatedRecordSizeBytes": "1000"`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config, logs, d := setUpDelivery(t, "d", "", tt.more)
			var text strings.Builder
			for i := range 1200 {
				fmt.Fprintf(&text, "line %d\n", i)
			}
			write(t, filepath.Join(logs, "a.log"), text.String())
			for range 2 { // the second run finds nothing to do
				var errOut buffer
				if code := run(t.Context(), []string{"run", "--once", "-c", config}, io.Discard, &errOut); code != exitOK {
					t.Fatalf("exit code %d:\n%s", code, errOut.String())
				}
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			got, want := strings.SplitAfter(strings.Join(d.got, ""), "\n"), strings.SplitAfter(text.String(), "\n")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%d lines arrived, want %d", len(got), len(want))
			}
			most := 0
			for _, r := range d.got {
				most = max(most, strings.Count(strings.TrimSuffix(r, "\n"), "\n")+1)
			}
			if tt.packed != (most > 1) {
				t.Errorf("up to %d lines in a record", most)
			}
			if slices.Max(d.sizes) > 500 {
				t.Errorf("%d records in a request", slices.Max(d.sizes))
			}
		})
	}
}

// What agent.json says of credentials and of the HTTP client is what the service
// sees.
func TestServiceSettings(t *testing.T) {
	config, logs, d := setUpDelivery(t, "d", `"assumeRoleARN": "arn:aws:iam::1:role/r", "assumeRoleExternalId": "ext",
		"awsAccessKeyId": "AK", "awsSecretAccessKey": "SK", "userAgent": "mine/1", "maxConnections": 1, "kinesis.region": "eu-west-1",`, "")
	write(t, filepath.Join(logs, "a.log"), strings.Repeat("line\n", 3000))
	var errOut buffer
	if code := run(t.Context(), []string{"run", "--once", "-c", config}, io.Discard, &errOut); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, errOut.String())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.keys) != 1 || !d.keys["ASSUMED"] {
		t.Errorf("signed by %v, want the role's key", d.keys)
	}
	for _, want := range []string{"RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr", "ExternalId=ext", "RoleSessionName=AWSKinesisAgent", "DurationSeconds=3600"} {
		if len(d.roles) == 0 || !strings.Contains(d.roles[0], want) {
			t.Errorf("roles assumed: %q, want one with %q", d.roles, want)
		}
	}
	for name := range d.agents {
		if !strings.HasPrefix(name, "mine/1 aws-sdk-go-v2/") {
			t.Errorf("user agent %q", name)
		}
	}
	if d.most != 1 {
		t.Errorf("%d calls at once, want one", d.most)
	}
}

func TestUserAgentOverride(t *testing.T) {
	config, logs, d := setUpDelivery(t, "d", `"userAgent": "mine/1", "userAgentOverride": "whole",`, "")
	write(t, filepath.Join(logs, "a.log"), "line\n")
	if code := run(t.Context(), []string{"run", "--once", "-c", config}, io.Discard, io.Discard); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.agents) != 1 || !d.agents["whole"] {
		t.Errorf("user agents %v", d.agents)
	}
}

func TestMissingDeliveryStream(t *testing.T) {
	config, _, _ := setUpDelivery(t, "missing", "", "")
	var errOut buffer
	if code := run(t.Context(), []string{"-c", config}, io.Discard, &errOut); code != exitError ||
		!strings.Contains(errOut.String(), `delivery stream "missing" does not exist at http://`) {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(config), "state")); err == nil {
		t.Error("a checkpoint file was made")
	}
}
