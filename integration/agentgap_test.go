package integration_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var gapRounds = flag.Int("gap-rounds", 2, "how often TestAgentKilledWithGaps kills the agent")

// A gappyService passes requests on to a server, but keeps one of those that put
// records, which never arrives.
type gappyService struct {
	proxy *httputil.ReverseProxy

	mu       sync.Mutex // guards all below
	r        *rand.Rand
	keep     bool
	first    int // requests that are passed on before one may be kept
	kept     bool
	answered int // since one was kept
	over     chan struct{}
}

func newGappyService(t *testing.T, endpoint string) (*gappyService, string) {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gappyService{r: chance(0), proxy: httputil.NewSingleHostReverseProxy(to), over: make(chan struct{})}
	g.proxy.ErrorLog = log.New(io.Discard, "", 0) // a killed agent hears no answer
	srv := &http.Server{Addr: freeAddr(t), Handler: g}
	done := make(chan struct{}) // closed when it serves no more
	go func() {
		defer close(done)
		if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		g.next(false)
		_ = srv.Close() // what it returns is that of a listener
		<-done
	})
	return g, "http://" + srv.Addr
}

// ServeHTTP implements [http.Handler].
func (g *gappyService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".PutRecords") {
		g.proxy.ServeHTTP(w, r)
		return
	}
	g.mu.Lock()
	over := g.over
	g.first--
	keep := g.keep && g.first < 0 && !g.kept && g.r.IntN(4) == 0
	g.kept = g.kept || keep
	g.mu.Unlock()
	if keep {
		<-over
		panic(http.ErrAbortHandler) // cuts the connection; nothing was passed on
	}
	g.proxy.ServeHTTP(w, r)
	g.mu.Lock()
	if g.kept {
		g.answered++
	}
	g.mu.Unlock()
}

// next gives up what is kept, and says whether more will be.
func (g *gappyService) next(keep bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.over)
	g.over = make(chan struct{})
	g.keep, g.first, g.kept, g.answered = keep, 6, false, 0
}

// passed returns how many requests were answered while others were kept.
func (g *gappyService) passed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answered
}

// TestAgentKilledWithGaps kills the agent while one of its requests hangs and later
// ones are acknowledged. The position that it leaves behind must not pass a byte
// that is not stored, and with the next process every line arrives.
func TestAgentKilledWithGaps(t *testing.T) {
	needProcesses(t)
	const stream = "gaps"
	s := startServer(t)
	s.createStream(stream, 4)
	g, endpoint := newGappyService(t, s.url())
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	aggregated, plain := writeAgentConfig(t, s, dir, stream, true), writeAgentConfig(t, s, dir, stream, false)
	for _, config := range []string{aggregated, plain} {
		changeConfig(t, config, map[string]any{"checkpointFile": filepath.Join(dir, "state"), "kinesis.endpoint": endpoint})
	}
	var ends []int64 // of the lines
	size := int64(0)
	gaps := 0
	for round := range *gapRounds {
		config := aggregated
		if round%2 == 1 {
			config = plain
		}
		g.next(true)
		agent := start(t, "streamagent", s.env(), "-c", config)
		// Long enough for positions to be stored after the first gap, and for several
		// requests behind it.
		begin := time.Now()
		eventually(t, time.Minute, "requests behind one that hangs", func() error {
			if agent.ended() {
				return fmt.Errorf("%w: the agent ended: %w", errGiveUp, agent.err)
			}
			var b strings.Builder
			for range 50 {
				b.WriteString(testLine(len(ends)) + "\n")
				ends = append(ends, size+int64(b.Len()))
			}
			n, err := f.WriteString(b.String())
			size += int64(n)
			if err != nil {
				return fmt.Errorf("%w: %w", errGiveUp, err)
			}
			if n := g.passed(); n < 8 || time.Since(begin) < 1200*time.Millisecond {
				return fmt.Errorf("%d requests", n)
			}
			return nil
		})
		agent.kill()
		g.next(false)

		committed := committedBytes(t, config, path)
		seen := s.linesStored(stream, len(ends))
		missing, later, behind := 0, 0, 0 // later than one that is missing
		for n, times := range seen {
			switch {
			case times > 0:
				if missing > 0 {
					later++
				}
				if ends[n] > committed {
					behind++
				}
			case ends[n] <= committed:
				t.Fatalf("round %d: the position is %d, and line %d, which ends at %d, is not stored", round, committed, n, ends[n])
			default:
				missing++
			}
		}
		if later > 0 {
			gaps++
		}
		t.Logf("round %d: of %d lines %d are not stored, and %d later ones are; %d that are stored lie behind the position, %d of %d bytes",
			round, len(ends), missing, later, behind, committed, size)
	}
	if gaps == 0 {
		t.Error("in no round was a later line stored before an earlier one")
	}

	agent := start(t, "streamagent", s.env(), "-c", aggregated)
	eventually(t, 60*time.Second, "all lines in the stream", func() error {
		if agent.ended() {
			return fmt.Errorf("%w: the agent ended: %w", errGiveUp, agent.err)
		}
		for n, times := range s.linesStored(stream, len(ends)) {
			if times == 0 {
				return fmt.Errorf("line %d of %d is missing", n, len(ends))
			}
		}
		return nil
	})
	if err := agent.stop(); err != nil {
		t.Errorf("the agent stops with %v", err)
	}
}

// linesStored returns how often each of the first n lines is in the stream, and
// fails if anything else is.
func (s *server) linesStored(stream string, n int) []int {
	s.t.Helper()
	seen := make([]int, n)
	for _, record := range s.readUserRecords(stream) {
		i, err := lineNumber(record, n)
		if err != nil {
			s.t.Fatal(err)
		}
		seen[i]++
	}
	return seen
}

// lineNumber returns which of the first n lines a record is.
func lineNumber(record []byte, n int) (int, error) {
	line := strings.TrimSuffix(string(record), "\n")
	number, _, _ := strings.Cut(line, " ")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= n || line != testLine(i) {
		return 0, fmt.Errorf("a line that nobody wrote: %q", line)
	}
	return i, nil
}

// changeConfig sets keys of a configuration.
func changeConfig(t *testing.T, path string, keys map[string]any) {
	t.Helper()
	var c map[string]any
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil {
		maps.Copy(c, keys)
		b, err = json.Marshal(c)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// committedBytes returns the position in a file that a killed agent left behind.
func committedBytes(t *testing.T, config, path string) int64 {
	t.Helper()
	for _, p := range positions(t, config) {
		if p.Path == path {
			return p.Offset
		}
	}
	return 0
}

// position is what "checkpoints list" says of a file.
type position struct {
	Path   string `json:"path"`
	FileID string `json:"fileId"`
	Offset int64  `json:"offset"`
}

// positions returns those that an agent which does not run any more has left behind.
func positions(t *testing.T, config string) (list []position) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin(t, "streamagent"), "checkpoints", "list", "--json", "-c", config)
	cmd.Env = cleanEnv()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("checkpoints list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var p position
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("checkpoints list: %v\n%s", err, out)
		}
		list = append(list, p)
	}
	return list
}
