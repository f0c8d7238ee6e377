package golden_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/integration/interop/matrix"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

const wireDir = "testdata/wire"

// TestWire sends whole requests, one after another on one connection, and
// compares the answers. A file is a conversation: requests behind lines of >>>,
// answers behind lines of <<<.
func TestWire(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(wireDir, "*.http"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no requests: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".http"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			talk(t, string(text))
		})
	}
}

func talk(t *testing.T, text string) {
	srv := streamdtest.New(t, streamdtest.Listen(), streamdtest.Config(func(c *streamd.Config) {
		c.AllowHosts = append(c.AllowHosts, "kinesis.us-east-1.amazonaws.com")
	}))
	srv.CreateStream(t, "orders", 1)
	addr := strings.TrimPrefix(srv.Endpoint(), "http://")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	parts := strings.Split(text, "\n>>>\n")
	for i, part := range parts[1:] { // the first is a remark
		request, want, ok := strings.Cut(part, "\n<<<\n")
		head, body, ok2 := strings.Cut(request, "\n\n")
		if !ok || !ok2 {
			t.Fatalf("request %d lacks a body or an answer", i+1)
		}
		head = strings.NewReplacer("{port}", port, "{length}", strconv.Itoa(len(body)), "\n", "\r\n").Replace(head)
		got, err := exchange(conn, from, head+"\r\n\r\n", body, strings.Contains(head, "Expect: 100-continue"))
		if err != nil {
			t.Fatalf("request %d: %v", i+1, err)
		}
		if want = strings.TrimSpace(want); got != want {
			t.Errorf("request %d was answered with\n%s\nwant\n%s", i+1, got, want)
		}
	}
}

// exchange sends a request and returns its answer without what varies.
func exchange(to io.Writer, from *bufio.Reader, head, body string, expects bool) (string, error) {
	if _, err := io.WriteString(to, head); err != nil {
		return "", err
	}
	if expects {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			return "", err
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusContinue {
			return "", errors.Join(fmt.Errorf("status %s where 100 is expected", resp.Status), err)
		}
	}
	if _, err := io.WriteString(to, body); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.ContentLength != int64(len(b)) {
		return "", fmt.Errorf("Content-Length %d of a body of %d bytes", resp.ContentLength, len(b))
	}
	if !uuid.MatchString(resp.Header.Get("x-amzn-RequestId")) {
		return "", fmt.Errorf("x-amzn-RequestId is %q", resp.Header.Get("x-amzn-RequestId"))
	}
	answer := string(b)
	for _, v := range varying {
		answer = v.re.ReplaceAllString(answer, v.with)
	}
	return fmt.Sprintf("%s\nContent-Type: %s\n\n%s", resp.Status, resp.Header.Get("Content-Type"), answer), nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

var varying = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`"\d{56}"`), `"{number}"`},
	{regexp.MustCompile(`"ShardIterator":"[A-Za-z0-9+/=]+"`), `"ShardIterator":"{iterator}"`},
	{regexp.MustCompile(`"StreamCreationTimestamp":\d+(\.\d+)?`), `"StreamCreationTimestamp":{seconds}`},
}

// TestAbsentAreCovered looks for the fixtures of clients that cannot be had.
func TestAbsentAreCovered(t *testing.T) {
	for _, a := range matrix.All().Absent {
		text, err := os.ReadFile(filepath.Join(wireDir, a.Cover+".http"))
		if err != nil {
			t.Errorf("%s: %v", a.Client, err)
			continue
		}
		if !strings.HasPrefix(string(text), "# fixtures: ") {
			t.Errorf("%s: %s is not marked as fixtures", a.Client, a.Cover)
		}
	}
}
