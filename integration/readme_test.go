package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A block is a fenced code block of README.md. An HTML comment on the line
// before it says what the test does with it:
//
//	<!-- test: file NAME -->          it is written to NAME, in the session's directory
//	<!-- test: background -->         it is run and left running
//	<!-- test: prints "TEXT" -->      its output must contain TEXT; in the
//	                                  background, by the end of the session
//	<!-- test: target -->             too long or too far away for a test: each
//	                                  line must be `make TARGET` of the Makefile,
//	                                  or what the session begins with
//
// Without one, sh blocks are run, text blocks are read by people only, and all
// others are refused.
type block struct {
	line       int
	lang, text string
	file       string
	background bool
	prints     string
	target     bool
}

var directive = regexp.MustCompile(`^<!-- test: (.*) -->$`)

func readBlocks(t *testing.T, path string) []block {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var now *block
	var note string
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case now != nil && line == "```":
			blocks = append(blocks, *now)
			now, note = nil, ""
		case now != nil:
			now.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			now = &block{line: i + 1, lang: line[3:]}
			for part := range strings.SplitSeq(note, ", ") {
				verb, arg, _ := strings.Cut(part, " ")
				switch verb {
				case "":
				case "file":
					now.file = arg
				case "background":
					now.background = true
				case "prints":
					now.prints = strings.Trim(arg, `"`)
				case "target":
					now.target = true
				default:
					t.Fatalf("README.md:%d: directive %q is not known", i, part)
				}
			}
		default:
			if m := directive.FindStringSubmatch(line); m != nil {
				note = m[1]
			} else if line != "" {
				note = ""
			}
		}
	}
	if now != nil {
		t.Fatalf("README.md:%d: block is not closed", now.line)
	}
	return blocks
}

// TestReadme follows README.md as a reader would, block after block in one
// shell session, with the binaries on PATH. The reader's ports are replaced by
// free ones.
func TestReadme(t *testing.T) {
	needProcesses(t)
	blocks := readBlocks(t, filepath.Join(moduleRoot(), "README.md"))
	if len(blocks) < 5 {
		t.Fatalf("README.md has %d code blocks", len(blocks))
	}
	s := newSession(t)
	for _, b := range blocks {
		where := fmt.Sprintf("README.md:%d", b.line)
		switch {
		case b.target:
			checkTargets(t, where, b.text)
		case b.file != "":
			s.writeFile(b.file, b.text)
		case b.lang == "text":
		case b.lang == "sh" && b.background:
			s.background(where, b)
		case b.lang == "sh":
			s.run(where, b)
		default:
			t.Errorf("%s: a block in %q that no test uses: name its file, or mark it", where, b.lang)
		}
		if t.Failed() {
			return
		}
	}
	s.finish()
}

// given are lines of marked blocks whose effect the session has from its start.
var given = []string{
	"git clone https://github.com/streamkit/streamkit",
	"cd streamkit",
	`export STREAMKIT="$PWD" PATH="$PWD/bin:$PATH"`,
}

// checkTargets looks up each line of a block that is not run.
func checkTargets(t *testing.T, where, text string) {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(moduleRoot(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		line, _, _ = strings.Cut(line, " #")
		line = strings.TrimSpace(line)
		if target, ok := strings.CutPrefix(line, "make "); ok {
			target, _, _ = strings.Cut(target, " ")
			if !strings.Contains(string(makefile), "\n"+target+":") {
				t.Errorf("%s: the Makefile has no target %q", where, target)
			}
		} else if !slices.Contains(given, line) {
			t.Errorf("%s: %q can be run by the test; remove the mark", where, line)
		}
	}
}

// A session is a reader's shell: working directory and exported variables last
// from block to block.
type session struct {
	t      *testing.T
	dir    string // where it began
	state  string // holds the directory and the variables between blocks
	env    []string
	ports  *strings.Replacer
	admin  string
	behind []*job
}

// A job is a block that is left running.
type job struct {
	where  string
	prints string
	cmd    *exec.Cmd
	out    *output
	done   chan struct{}
}

func newSession(t *testing.T) *session {
	t.Helper()
	addr, admin := freeAddr(t), freeAddr(t)
	s := &session{
		t: t, dir: t.TempDir(), state: t.TempDir(), admin: admin,
		ports: strings.NewReplacer("127.0.0.1:4567", addr, "127.0.0.1:4568", admin, "localhost:4567", addr),
	}
	s.env = append(cleanEnv(),
		"PATH="+binDir(t)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"STREAMKIT="+moduleRoot(),
		"HOME="+t.TempDir(),
		"GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOPATH="+goEnv(t, "GOPATH"),
		// All modules are in the cache, because the tests are built from them.
		"GOPROXY=off", "GOSUMDB=off", "GOFLAGS=", "CGO_ENABLED=0",
		"STREAMD_LISTEN="+addr, "STREAMD_ADMIN="+admin,
	)
	t.Cleanup(s.end)
	return s
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := goCommand("env", name)
	if err != nil {
		t.Fatalf("go env %s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *session) writeFile(name, text string) {
	s.t.Helper()
	dir := s.dir
	if cwd, err := os.ReadFile(filepath.Join(s.state, "cwd")); err == nil {
		dir = strings.TrimSpace(string(cwd))
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.ports.Replace(text)), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// command returns a shell that goes on where the last block ended.
func (s *session) command(ctx context.Context, text string, save bool) *exec.Cmd {
	script := `set -e
if [ -f "$STATE/env" ]; then . "$STATE/env"; cd "$(cat "$STATE/cwd")"; fi
` + s.ports.Replace(text)
	if save {
		script += `
export -p > "$STATE/env"
pwd > "$STATE/cwd"
`
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = s.dir
	cmd.Env = append(s.env, "STATE="+s.state)
	ownGroup(cmd)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs a block to its end.
func (s *session) run(where string, b block) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := s.command(ctx, b.text, true)
	cmd.Cancel = func() error { return killGroup(cmd) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("%s: %v\n%s%s", where, err, b.text, out)
	} else if !strings.Contains(string(out), b.prints) {
		s.t.Errorf("%s: the output has no %q:\n%s", where, b.prints, out)
	}
}

// background starts a block and leaves it running. A server is waited for.
func (s *session) background(where string, b block) {
	s.t.Helper()
	j := &job{where: where, prints: b.prints, out: &output{}, done: make(chan struct{})}
	j.cmd = s.command(context.WithoutCancel(s.t.Context()), b.text, false)
	j.cmd.Stdout, j.cmd.Stderr = j.out, j.out
	if err := j.cmd.Start(); err != nil {
		s.t.Fatalf("%s: %v", where, err)
	}
	go func() {
		_ = j.cmd.Wait() // it ends by the signal of end
		close(j.done)
	}()
	s.behind = append(s.behind, j)
	if strings.HasPrefix(b.text, "streamd") {
		eventually(s.t, time.Minute, where+": streamd ready", func() error {
			select {
			case <-j.done:
				return fmt.Errorf("%w: it ended", errGiveUp)
			default:
				return httpOK(s.t.Context(), "http://"+s.admin+"/readyz")
			}
		})
	}
}

// finish waits until every block left running has printed what it must.
func (s *session) finish() {
	s.t.Helper()
	for _, j := range s.behind {
		eventually(s.t, 60*time.Second, fmt.Sprintf("%s prints %q", j.where, j.prints), func() error {
			out := j.out.String()
			if strings.Contains(out, j.prints) {
				return nil
			}
			select {
			case <-j.done:
				return fmt.Errorf("%w: it ended", errGiveUp)
			default:
				return fmt.Errorf("%d bytes printed", len(out))
			}
		})
	}
}

// end kills what was left running, the last started first.
func (s *session) end() {
	for _, j := range slices.Backward(s.behind) {
		_ = killGroup(j.cmd) // the only error is that it has ended
		<-j.done
		if s.t.Failed() {
			s.t.Logf("output of %s:\n%s", j.where, j.out.String())
		}
	}
}
