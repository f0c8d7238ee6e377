package golden_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/internal/capture"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var record = flag.String("record", "", "take the captures of bin/interop whose names are matched whole by this regexp, and write what is answered")

const (
	callsDir = "testdata/calls"
	captures = "../../../bin/interop/captures"
)

// TestCalls plays what clients have asked, and compares what is answered with what
// they took.
func TestCalls(t *testing.T) {
	taken := take(t)
	names, err := filepath.Glob(filepath.Join(callsDir, "*.ndjson.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".ndjson.gz"), func(t *testing.T) {
			text := unzip(t, name)
			var got []string
			synctest.Test(t, func(t *testing.T) { got = play(t, text) })
			answers := strings.TrimSuffix(name, ".ndjson.gz") + ".answers.gz"
			if taken.MatchString(filepath.Base(name)) {
				zip(t, answers, []byte(strings.Join(got, "\n")+"\n"))
				return
			}
			want := strings.Split(strings.TrimSpace(string(unzip(t, answers))), "\n")
			wrong := 0
			for i := range max(len(got), len(want)) {
				g, w := at(got, i), at(want, i)
				if g == w {
					continue
				}
				if wrong++; wrong <= 5 {
					t.Errorf("request %d was answered with\n%s\nwant\n%s", i, g, w)
				}
			}
			if wrong > 5 {
				t.Errorf("and %d more", wrong-5)
			}
		})
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// take brings captures of the last run of the clients, and returns what matches
// their files here.
func take(t *testing.T) *regexp.Regexp {
	t.Helper()
	taken := regexp.MustCompile(`^(` + *record + `)\.ndjson\.gz$`)
	if *record == "" {
		return taken
	}
	names, err := filepath.Glob(filepath.Join(captures, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range names {
		to := filepath.Base(name) + ".gz"
		if !taken.MatchString(to) {
			continue
		}
		found = true
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		zip(t, filepath.Join(callsDir, to), text)
	}
	if !found {
		t.Fatalf("no such capture in %s; run make interop ARGS=-capture", captures)
	}
	return taken
}

// play sends the requests of a capture in its own time, and returns a line for
// each answer.
func play(t *testing.T, text []byte) []string {
	// Requests name times: those of the bubble begin where the capture does. Before
	// there is a server, whose timers would all fire on the way.
	var head struct {
		Started time.Time `json:"started"`
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(first, &head); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(head.Started))
	p := &player{t: t, srv: streamdtest.New(t), open: make(map[int64]*http.Response)}
	lines := read(t, text)
	for _, l := range lines {
		p.names.Need(l)
	}
	began := time.Now()
	for _, l := range lines {
		time.Sleep(time.Until(began.Add(l.At)))
		if l.Ended == nil {
			p.call(l)
		} else {
			p.end(l)
		}
	}
	for _, resp := range p.open {
		resp.Body.Close()
	}
	return p.out
}

func read(t *testing.T, text []byte) []capture.Line {
	t.Helper()
	var all []capture.Line
	r := capture.NewReader(bytes.NewReader(text))
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
}

// player sends requests. What clients were given, it was given otherwise.
type player struct {
	t     *testing.T
	srv   *streamdtest.Server
	names capture.Mapping
	masks masks
	open  map[int64]*http.Response
	out   []string
}

func (p *player) call(l capture.Line) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.srv.Endpoint(), bytes.NewReader(p.names.Rewrite(l)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", l.Target)
	req.Header.Set("Content-Type", l.ContentType)
	resp, err := p.srv.HTTPClient().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	ctype := resp.Header.Get("Content-Type")
	if ctype == capture.TypeEvents && l.Stream != 0 {
		p.open[l.Stream] = resp
		p.say(l, resp.StatusCode, "events")
		return
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode != l.Status {
		p.t.Errorf("%s was answered with %d, and once with %d: %s", l.Operation(), resp.StatusCode, l.Status, body)
	}
	p.names.Learn(l.Answer, capture.ReadAnswer(l.Target, ctype, resp.StatusCode, body))
	text := p.masks.text(p.t, ctype, body)
	if l.Operation() == "PutRecord" && !bytes.Contains(l.Body, []byte("PartitionKey")) {
		text = anyShard.ReplaceAllString(text, "any shard") // which one, chance says
	}
	p.say(l, resp.StatusCode, text)
}

// end reads a stream of events until as many records have come as once did.
func (p *player) end(l capture.Line) {
	resp := p.open[l.Stream]
	if resp == nil {
		p.t.Fatalf("stream %d was not opened", l.Stream)
	}
	delete(p.open, l.Stream)
	defer resp.Body.Close()
	var seen capture.Subscription
	var buf []byte
	for seen.Records < l.Ended.Records || l.Ended.Last && !seen.Last {
		var err error
		if buf, err = capture.ReadMessage(resp.Body, buf); err != nil {
			p.t.Errorf("events end with %v after %d records of %d", err, seen.Records, l.Ended.Records)
			break
		}
		e, err := capture.ReadEvent(buf)
		if err != nil {
			p.t.Fatal(err)
		}
		seen.Add(e)
	}
	p.say(l, resp.StatusCode, fmt.Sprintf("%d records, last of a shard: %v, error: %q", seen.Records, seen.Last, seen.Code))
}

func (p *player) say(l capture.Line, status int, what string) {
	p.out = append(p.out, strings.TrimSpace(fmt.Sprintf("%s %d %s", l.Operation(), status, what)))
}

// masks put a word and a number in the place of what differs between runs.
type masks struct {
	numbers map[string]string
	counts  map[string]int
}

var (
	anyShard = regexp.MustCompile(`shardId-\d{12}`)
	sequence = regexp.MustCompile(`^\d{56}$`)
	id       = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// text returns a body as text, with the members of JSON in order.
func (m *masks) text(t *testing.T, ctype string, body []byte) string {
	t.Helper()
	if len(body) == 0 {
		return ""
	}
	text := string(body)
	switch {
	case strings.HasPrefix(ctype, "application/x-amz-json"):
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber() // as it is written
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	case strings.HasPrefix(ctype, "application/x-amz-cbor"):
		var err error
		if text, err = cbor.Diagnose(body); err != nil {
			t.Fatalf("%v: %x", err, body)
		}
	}
	return m.mask(text)
}

// mask goes through text from one string to the next, in JSON or in what is shown
// of CBOR.
func (m *masks) mask(text string) string {
	var b strings.Builder
	name := ""
	for {
		at := strings.IndexByte(text, '"')
		if at < 0 {
			b.WriteString(shorten(text))
			return b.String()
		}
		between := text[:at]
		end := at + 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		value := text[at+1 : end]
		text = text[end+1:]
		b.WriteString(shorten(between) + `"` + m.value(name, value) + `"`)
		name = ""
		if strings.HasPrefix(text, ":") {
			name = value
		}
	}
}

// value returns what stands for a string of the member name.
func (m *masks) value(name, s string) string {
	switch {
	case s == "":
	case strings.HasSuffix(name, "ShardIterator"):
		return m.number("ShardIterator", s)
	case name == "NextToken":
		return m.number("NextToken", s)
	case len(s) == 56 && sequence.MatchString(s):
		return m.number("number", s)
	case len(s) >= 36 && len(s) < 300:
		return id.ReplaceAllStringFunc(s, func(found string) string { return m.number("id", found) })
	}
	return shorten(s)
}

// shorten puts the length and the hash of long text in its place.
func shorten(s string) string {
	if len(s) < 4096 {
		return s
	}
	return fmt.Sprintf("<%d bytes, %.8x>", len(s), sha256.Sum256([]byte(s)))
}

// number is the same word for the same text.
func (m *masks) number(word, text string) string {
	if m.numbers == nil {
		m.numbers, m.counts = make(map[string]string), make(map[string]int)
	}
	if _, ok := m.numbers[text]; !ok {
		m.counts[word]++
		m.numbers[text] = fmt.Sprintf("<%s %d>", word, m.counts[word])
	}
	return m.numbers[text]
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zip(t *testing.T, name string, text []byte) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
