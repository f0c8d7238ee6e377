package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
)

// Names that the demo uses.
const (
	Stream = "demo"
	App    = "demo-app" // also the lease table
)

// cluster is all that runs: the processes, and clients for the server.
type cluster struct {
	dir      string
	self     string // path of streamctl
	streamd  string
	agentBin string
	listen   string
	admin    string
	status   string // address of the agent's status
	endpoint string
	keep     bool
	shards   int

	kinesis  *kinesis.Client
	dynamodb *dynamodb.Client

	mu      sync.Mutex // guards the processes, which faults replace
	server  *Proc
	agent   *Proc
	service *Proc
	workers [2]*Proc
	starts  [2]int // of each worker
}

func newCluster(dir string, shards int, keep bool) (*cluster, error) {
	c := &cluster{dir: dir, shards: shards, keep: keep}
	var err error
	if c.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if c.streamd, err = Beside("streamd"); err != nil {
		return nil, err
	}
	if c.agentBin, err = Beside("streamagent"); err != nil {
		return nil, err
	}
	for _, addr := range []*string{&c.listen, &c.admin, &c.status} {
		if *addr, err = freePort(); err != nil {
			return nil, err
		}
	}
	c.endpoint = "http://" + c.listen
	for _, d := range []string{c.data(), c.logs(), c.receipts(), c.state(), c.processLogs()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) data() string        { return filepath.Join(c.dir, "streamd") }
func (c *cluster) logs() string        { return filepath.Join(c.dir, "logs") }
func (c *cluster) receipts() string    { return filepath.Join(c.dir, "receipts") }
func (c *cluster) state() string       { return filepath.Join(c.dir, "agent") }
func (c *cluster) processLogs() string { return filepath.Join(c.dir, "processes") }

// serviceStats is where the logging service writes its [ServiceStats].
func (c *cluster) serviceStats() string { return filepath.Join(c.dir, "service.json") }

// logOf is the file that takes the output of a process.
func (c *cluster) logOf(name string) string { return filepath.Join(c.processLogs(), name+".log") }

// freePort returns an address on this machine that nobody listens at now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local and immediate
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// clients makes the clients, as the environment of the children would have it.
func (c *cluster) clients(ctx context.Context) error {
	cfg, err := endpoint.Load(ctx, endpoint.Options{Endpoint: c.endpoint, Region: endpoint.DefaultRegion})
	if err != nil {
		return err
	}
	if c.kinesis, _, err = cfg.Kinesis(); err != nil {
		return err
	}
	c.dynamodb, _, err = cfg.DynamoDB()
	return err
}

// readyLimit is how long a server may take to start.
const readyLimit = 20 * time.Second

func (c *cluster) startServer(ctx context.Context) error {
	p, err := start(command{
		name: "streamd", path: c.streamd, env: childEnv(c.endpoint), log: c.logOf("streamd"),
		args: []string{"--listen", c.listen, "--admin", c.admin, "--data", c.data()},
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.server = p
	c.mu.Unlock()
	deadline := time.Now().Add(readyLimit)
	for {
		_, err := c.kinesis.ListStreams(ctx, &kinesis.ListStreamsInput{}, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !p.Running():
			return p.endedError()
		case time.Now().After(deadline):
			return fmt.Errorf("streamd did not answer within %v: %w", readyLimit, err)
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

func (c *cluster) createStream(ctx context.Context) error {
	_, err := c.kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(Stream), ShardCount: aws.Int32(int32(c.shards))})
	if err != nil {
		return err
	}
	return c.waitActive(ctx)
}

// waitActive returns when the stream is not being changed.
func (c *cluster) waitActive(ctx context.Context) error {
	for {
		out, err := c.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(Stream)})
		if err != nil {
			return err
		}
		if out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// startAgent writes agent.json and starts streamagent with it.
func (c *cluster) startAgent() error {
	config := map[string]any{
		"kinesis.endpoint": c.endpoint,
		"kinesis.region":   endpoint.DefaultRegion,
		"checkpointFile":   filepath.Join(c.state(), "checkpoints"),
		"flows": []any{map[string]any{
			"filePattern":     filepath.Join(c.logs(), "app-*.log*"),
			"kinesisStream":   Stream,
			"partitionKey":    "file",
			"aggregation":     true,
			"initialPosition": "START_OF_FILE",

			"maxBufferAgeMillis": 100, "minTimeBetweenFilePollsMillis": 20, "maxTimeBetweenFileTrackerRefreshMillis": 1000,
		}},
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, "agent.json")
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return err
	}
	p, err := start(command{
		name: "streamagent", path: c.agentBin, args: []string{"-c", path, "--status-addr", c.status},
		env: childEnv(c.endpoint), log: c.logOf("streamagent"),
	})
	c.mu.Lock()
	c.agent = p
	c.mu.Unlock()
	return err
}

func (c *cluster) startService() error {
	args := []string{"demo-logger", "--stream", Stream, "--stats", c.serviceStats()}
	if c.keep {
		args = append(args, "--stay")
	}
	p, err := start(command{
		name: "logging service", path: c.self, args: args, env: childEnv(c.endpoint), log: c.logOf("service"), stdin: true,
	})
	c.mu.Lock()
	c.service = p
	c.mu.Unlock()
	return err
}

func workerName(i int) string { return fmt.Sprintf("worker-%d", i+1) }

// startWorker starts a worker with a new file of receipts.
func (c *cluster) startWorker(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts[i]++
	name := workerName(i)
	receipts := filepath.Join(c.receipts(), fmt.Sprintf("%s.%d.receipts", name, c.starts[i]))
	p, err := start(command{
		name: name, path: c.self, env: childEnv(c.endpoint), log: c.logOf(name),
		args: []string{"demo-worker", "--stream", Stream, "--app", App, "--id", name, "--receipts", receipts},
	})
	if err != nil {
		return err
	}
	c.workers[i] = p
	return nil
}

// processes returns the running set, in the order in which it is stopped: who
// writes, who reads, and last the server.
func (c *cluster) processes() []*Proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*Proc
	for _, p := range []*Proc{c.service, c.agent, c.workers[0], c.workers[1], c.server} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// died returns an error for the first process that has ended by itself.
func (c *cluster) died() error {
	for _, p := range c.processes() {
		if p.died() {
			return p.endedError()
		}
	}
	return nil
}

// stopPatience is how long a process may take to stop.
const stopPatience = 10 * time.Second

// stop stops everything. Writers and readers stop at the same time, and the
// server after them, for they have last things to say to it.
func (c *cluster) stop() error {
	all := c.processes()
	if len(all) == 0 {
		return nil
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		if p == c.server {
			continue
		}
		wg.Go(func() { errs[i] = p.Stop(stopPatience) })
	}
	wg.Wait()
	if c.server != nil {
		errs = append(errs, c.server.Stop(stopPatience))
	}
	return errors.Join(errs...)
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
