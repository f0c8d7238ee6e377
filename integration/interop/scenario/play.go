package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

// A play is a scenario that is under way.
type play struct {
	set    Setup
	dir    string
	report *Report
	log    io.Writer

	server  *process
	addr    string
	admin   string
	flags   []string
	ca      string
	client  *http.Client
	started []*process
	marked  []string // leases that mark has changed

	unsigned         bool     // requests to streamd need no signature
	elsewhere        string   // address of another server that has the tables; empty: this one has
	elsewhereProgram *process // valid then
}

// The key that programs sign with.
const (
	accessKey = "AKIDINTEROP"
	secretKey = "interop"
)

// serve starts streamd on a new data directory, with flags.
func (p *play) serve(ctx context.Context, flags ...string) error {
	var err error
	if p.addr, err = freeAddr(ctx); err != nil {
		return err
	}
	if p.admin, err = freeAddr(ctx); err != nil {
		return err
	}
	p.flags = append([]string{"--listen", p.addr, "--admin", p.admin, "--data", filepath.Join(p.dir, "data")}, flags...)
	if p.unsigned {
		p.client = producer.HTTPClient()
		return p.restart(ctx)
	}
	keys := filepath.Join(p.dir, "keys.yaml")
	if err := os.WriteFile(keys, fmt.Appendf(nil, "keys:\n  - id: %s\n    secret: %s\n", accessKey, secretKey), 0o600); err != nil {
		return err
	}
	// Each signature is verified.
	p.flags = append(p.flags, "--auth", "verify", "--auth-keys", keys)
	if p.set.Capture {
		p.flags = append(p.flags, "--capture", filepath.Join(p.dir, "requests.ndjson"))
	}
	p.client = producer.HTTPClient()
	if err := p.restart(ctx); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.set.Streamd, "ca", "--data", filepath.Join(p.dir, "data"))
	pem, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("streamd ca: %w", err)
	}
	p.ca = filepath.Join(p.dir, "ca.pem")
	return os.WriteFile(p.ca, pem, 0o600)
}

// restart starts streamd on the data it has, and waits until it is ready.
func (p *play) restart(ctx context.Context) error {
	var err error
	if p.server, err = p.start(ctx, "streamd", exec.CommandContext(ctx, p.set.Streamd, p.flags...)); err != nil {
		return err
	}
	return eventually(ctx, 20*time.Second, func() error {
		if p.server.ended() {
			return fmt.Errorf("%w: streamd has ended: %w", errGiveUp, p.server.err)
		}
		return httpOK(ctx, "http://"+p.admin+"/readyz")
	})
}

// kill ends streamd without a word, for a while.
func (p *play) kill(ctx context.Context, away time.Duration) error {
	p.server.kill()
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return p.restart(ctx)
}

func (p *play) config() aws.Config {
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String("http://" + p.addr),
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		HTTPClient:   p.client,
	}
}

func (p *play) kinesis() *kinesis.Client { return kinesis.NewFromConfig(p.config()) }

// dynamodb is a client of the tables: the server's, or those of another.
func (p *play) dynamodb() *dynamodb.Client {
	return dynamodb.NewFromConfig(p.config(), func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(p.tables("http")) })
}

// tables is where tables are, by scheme unless another server has them.
func (p *play) tables(scheme string) string {
	if p.elsewhere != "" {
		return p.elsewhere
	}
	return scheme + "://" + p.addr
}

// endpoints is what programs must know of the server.
func (p *play) endpoints() []string {
	return []string{
		"STREAMD_KINESIS=https://" + p.addr, "STREAMD_DYNAMODB=" + p.tables("https"), "STREAMD_PLAIN=http://" + p.addr,
		"TABLES_PLAIN=" + p.tables("http"), "STREAMD_CA=" + p.ca,
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=us-east-1",
	}
}

// java starts a program of ours in Java; env is NAME=value. Its checks go to the
// report.
func (p *play) java(ctx context.Context, module, class string, env ...string) (*process, error) {
	return p.javaArgs(ctx, module, "interop."+class, nil, env...)
}

// javaArgs starts any program in Java.
func (p *play) javaArgs(ctx context.Context, module, class string, args []string, env ...string) (*process, error) {
	path, err := os.ReadFile(filepath.Join(p.set.Java, "target", module+".cp"))
	if err != nil {
		return nil, fmt.Errorf("%w; build the programs with: mvn -f %s package", err, p.set.Java)
	}
	jar := filepath.Join(p.set.Java, module, "target", module+"-1.jar")
	heap := p.set.Heap
	if heap == "" {
		heap = "320m"
	}
	// The KPL unpacks its native process there: nothing of it stays behind.
	if err := os.MkdirAll(p.tmp(), 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "java", "-Djava.io.tmpdir="+p.tmp(), "-Xmx"+heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
		"-Daws.java.v1.disableDeprecationAnnouncement=true",
		"-Dsqlite4java.library.path="+filepath.Join(p.set.Java, "target", "native"),
		"-cp", jar+string(os.PathListSeparator)+strings.TrimSpace(string(path)), class)
	cmd.Args = append(cmd.Args, args...)
	cmd.Env = append(os.Environ(), p.endpoints()...)
	cmd.Env = append(cmd.Env, env...)
	return p.start(ctx, module+"-"+strings.ToLower(class[strings.LastIndexByte(class, '.')+1:]), cmd)
}

// A process is a program that was started.
type process struct {
	cmd   *exec.Cmd
	name  string
	stdin io.WriteCloser
	done  chan struct{} // closed once it has ended
	err   error         // valid then
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// wait waits for its end, and says how it went.
func (p *process) wait(ctx context.Context, atMost time.Duration) error {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s: %w", p.name, p.err)
		}
		return nil
	case <-t.C:
		return fmt.Errorf("%s has not ended after %v", p.name, atMost)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start runs cmd. What it says in lines of JSON goes to the report, the rest to
// a file.
func (p *play) start(ctx context.Context, name string, cmd *exec.Cmd) (*process, error) {
	logFile, err := os.OpenFile(filepath.Join(p.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	proc := &process{cmd: cmd, name: name, done: make(chan struct{})}
	cmd.Stderr = logFile
	if proc.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out := &lines{each: func(line []byte) { p.said(line, logFile) }}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, logFile.Close())
	}
	p.started = append(p.started, proc)
	go func() {
		defer close(proc.done)
		proc.err = errors.Join(cmd.Wait(), ctx.Err())
		out.end()
		_ = logFile.Close() // what it has is for people
	}()
	return proc, nil
}

// said takes a line of a program's standard output.
func (p *play) said(line []byte, log io.Writer) {
	var who Client
	var check Check
	switch {
	case json.Unmarshal(line, &who) == nil && who.Client != "":
		p.report.Client(who)
	case json.Unmarshal(line, &check) == nil && check.Check != "":
		p.report.Add(check)
	default:
		_, _ = log.Write(append(line, '\n'))
	}
}

// tmp is the directory for temporary files of programs.
func (p *play) tmp() string { return filepath.Join(p.dir, "tmp") }

// end ends what still runs.
func (p *play) end() {
	for _, proc := range p.started {
		proc.kill()
	}
	if err := os.RemoveAll(p.tmp()); err != nil {
		_, _ = fmt.Fprintf(p.log, "temporary files stay: %v\n", err)
	}
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
}

// lines cuts what is written into lines. Only one goroutine writes.
type lines struct {
	mu   sync.Mutex
	rest []byte
	each func([]byte)
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.each(bytes.Clone(line))
		l.rest = rest
	}
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.each(l.rest)
	}
}

var errGiveUp = errors.New("scenario: no use to try again")

// eventually calls try until it returns nil.
func eventually(ctx context.Context, atMost time.Duration, try func() error) error {
	end := time.Now().Add(atMost)
	for {
		err := try()
		if err == nil || errors.Is(err, errGiveUp) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %v: %w", atMost, err)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func httpOK(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

func freeAddr(ctx context.Context) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// readLines reads a file with an object of JSON in each line. A last line that
// has no end yet is left out.
func readLines[T any](name string) ([]T, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var all []T
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, len(all)+1, err)
		}
		all = append(all, v)
	}
}
