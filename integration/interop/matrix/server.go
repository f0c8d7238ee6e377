package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// What programs sign with.
const (
	accessKey = "AKIDINTEROP"
	secretKey = "interop"
	region    = "us-east-1"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 20 * time.Second
)

// Server is a streamd with a data directory, on a port that it keeps over
// restarts. Its methods are for one goroutine at a time.
type Server struct {
	binary, addr string
	args         []string
	log          *os.File

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
	err  error         // of Wait; read after done
}

// startServer starts the binary with its files in dir.
func startServer(ctx context.Context, binary, dir, tlsDir string, args []string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{binary: binary, addr: addr}
	keys := filepath.Join(dir, "keys.yaml")
	if err := os.WriteFile(keys, fmt.Appendf(nil, "keys:\n  - id: %s\n    secret: %s\n", accessKey, secretKey), 0o600); err != nil {
		return nil, err
	}
	// Each signature is verified: so clients of all kinds are tried with that too.
	s.args = append([]string{
		"--listen", addr, "--admin", "off", "--data", filepath.Join(dir, "data"), "--tls-dir", tlsDir,
		"--auth", "verify", "--auth-keys", keys,
	}, args...)
	if s.log, err = os.Create(filepath.Join(dir, "streamd.log")); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	return s, nil
}

// freeAddr returns a loopback address that nothing listened on a moment ago.
func freeAddr(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (s *Server) start(ctx context.Context) error {
	// No context: it is stopped in order, after the row's context has ended.
	s.cmd = exec.Command(s.binary, s.args...) //nolint:noctx // stopped by Stop
	s.cmd.Env = cleanEnv()
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if answers(ctx, s.Plain()) {
				return nil
			}
		case <-s.done:
			return fmt.Errorf("streamd has not started: %w; see %s", s.err, s.log.Name())
		case <-limit.C:
			return errors.Join(fmt.Errorf("streamd does not answer after %v; see %s", startLimit, s.log.Name()), s.Stop())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.Stop())
		}
	}
}

// answers reports whether something speaks HTTP at url.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// Stop asks the server to end, and waits until it has.
func (s *Server) Stop() error {
	select {
	case <-s.done:
		return s.err
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = s.cmd.Process.Kill() // where processes cannot be asked
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-s.done:
		return s.err
	case <-limit.C:
		_ = s.cmd.Process.Kill()
		<-s.done
		return fmt.Errorf("streamd had not ended after %v", stopLimit)
	}
}

// Restart stops the server and starts it again on what it has stored.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.start(ctx)
}

// Plain is its endpoint without TLS.
func (s *Server) Plain() string { return "http://" + s.addr }

// Secure is its endpoint with TLS.
func (s *Server) Secure() string { return "https://" + s.addr }

var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, Source: "interop"}, nil
})

// Kinesis returns a client of the server.
func (s *Server) Kinesis() *kinesis.Client {
	return kinesis.New(kinesis.Options{Region: region, Credentials: credentials, BaseEndpoint: aws.String(s.Plain())})
}

// DynamoDB returns a client of the server.
func (s *Server) DynamoDB() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{Region: region, Credentials: credentials, BaseEndpoint: aws.String(s.Plain())})
}

// authority writes the certificate that programs must trust, and returns its file.
func (r *Runner) authority(ctx context.Context) (string, error) {
	var out, said bytes.Buffer
	cmd := r.process(ctx, []string{r.Streamd, "ca", "--tls-dir", r.tlsDir()})
	cmd.Env = cleanEnv()
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("streamd ca: %w: %s", err, strings.TrimSpace(said.String()))
	}
	name := filepath.Join(r.Work, "ca.pem")
	return name, os.WriteFile(name, out.Bytes(), 0o644)
}

func (r *Runner) tlsDir() string { return filepath.Join(r.Work, "tls") }
