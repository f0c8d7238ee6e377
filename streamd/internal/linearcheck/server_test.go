package linearcheck_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

const dataDir = "/data"

// tableFunc answers an operation, as [awsproto.Config] has it.
type tableFunc func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error)

// server is streamd from its HTTP handler down to a disk in memory, which can be
// stopped or killed and started again.
type server struct {
	damage func(tableFunc) tableFunc // what is wrong with it, nil if nothing is

	mu    sync.RWMutex // guards what follows; held for reading while a request runs
	disk  *vfstest.Disk
	store *store.Store
	clock *clock.Clock
	http  http.Handler
	next  chan struct{} // closed when the next process runs
}

func newServer(damage func(tableFunc) tableFunc) (*server, error) {
	s := &server{damage: damage, disk: vfstest.NewDisk(), next: make(chan struct{})}
	if err := errors.Join(s.disk.MkdirAll(dataDir, 0o700), s.disk.SyncDir("/"), s.open()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *server) open() error {
	clk := new(clock.Clock)
	st, err := store.Open(store.Options{
		Dir: dataDir, FS: s.disk, Clock: clk, Logger: slog.New(slog.DiscardHandler), RingFiles: 3, RingBytes: 64 << 10,
	})
	if err != nil {
		clk.Close()
		return err
	}
	ops := api.New(st, api.Config{})
	var answer tableFunc = func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error) {
		return ops.Table(ctx, scope, op, body)
	}
	if s.damage != nil {
		answer = s.damage(answer)
	}
	s.store, s.clock = st, clk
	s.http = awsproto.NewHandler(awsproto.Config{
		Operations: ops.Operations(), Table: answer, Logger: slog.New(slog.DiscardHandler), Observe: func(awsproto.Exchange) {},
	})
	return nil
}

// restart stops the process in order, or kills it, and starts the next. Requests
// that run meanwhile end with an error, or with an answer.
func (s *server) restart(kill bool) error {
	s.mu.RLock()
	st, clk, disk := s.store, s.clock, s.disk
	s.mu.RUnlock()
	if kill {
		disk = disk.TakeOver()
	}
	err := st.Close() // what of a killed process is left
	clk.Close()
	if kill {
		err = nil // its disk is gone
	}
	s.mu.Lock() // all its requests have ended
	defer s.mu.Unlock()
	s.disk = disk
	err = errors.Join(err, s.open())
	close(s.next)
	s.next = make(chan struct{})
	return err
}

func (s *server) close() error {
	err := s.store.Close()
	s.clock.Close()
	return err
}

// answer is what a client got.
type answer struct {
	status int
	code   string
	body   struct {
		Item, Attributes map[string]map[string]string
		Responses        []struct{ Item map[string]map[string]string }
	}
}

// send sends a request.
func (s *server) send(op, body string) (answer, error) {
	req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	w := httptest.NewRecorder()
	s.mu.RLock()
	next := s.next
	s.http.ServeHTTP(w, req)
	s.mu.RUnlock()
	a := answer{status: w.Code}
	if w.Code >= http.StatusInternalServerError {
		<-next // what a process did not do before it ended, it does not do
	}
	if w.Code == http.StatusOK {
		return a, json.Unmarshal(w.Body.Bytes(), &a.body)
	}
	var e struct {
		Type string `json:"__type"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		return a, err
	}
	a.code = e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	return a, nil
}
