package gen

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// Start measures the time from the launch of the process to its first answer.
type Start struct {
	Records int  // of 200 bytes, stored by a server before
	Kill    bool // that one had no time to end in order

	args []string // of the server
}

// Run implements [Load].
func (s Start) Run(ctx context.Context, env *Env) (Result, error) {
	if s.Records > 0 {
		srv, err := env.Start(ctx, s.args...)
		if err != nil {
			return Result{}, err
		}
		if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
			return Result{}, err
		}
		if err := fill(ctx, srv.Endpoint, s.Records); err != nil {
			return Result{}, err
		}
		if err := srv.Stop(s.Kill); err != nil {
			return Result{}, err
		}
	}
	srv, err := env.Start(ctx, s.args...)
	if err != nil {
		return Result{}, err
	}
	c, err := dial(ctx, srv.Endpoint)
	if err != nil {
		return Result{}, err
	}
	defer c.close()
	if _, err := c.do(c.request(typeJSON, kinesisTarget+"ListStreams", []byte("{}"))); err != nil {
		return Result{}, err
	}
	r := Result{StartTime: time.Since(srv.Launch)}
	use, err := srv.usage()
	r.RSS, r.Peak, r.CPU = use.RSS, use.Peak, use.CPU
	return r, err
}

// Recovery measures how fast the process is through a journal that was left by
// one that was killed, from its launch to its first answer. All of it is still
// to be applied, since the journal is so large that no checkpoint has come.
type Recovery struct {
	Records int // of 200 bytes, 400,000 at most
}

// Run implements [Load].
func (v Recovery) Run(ctx context.Context, env *Env) (Result, error) {
	r, err := Start{Records: v.Records, Kill: true, args: []string{"--journal", "2x512MiB"}}.Run(ctx, env)
	r.Count, r.Bytes, r.Elapsed = int64(v.Records), int64(v.Records)*(filled+KeySize), r.StartTime
	return r, err
}

// Idle looks at a server that has nothing to do: after it has started, or after
// it has stored records.
type Idle struct {
	Records int // of 200 bytes, stored before
	Shards  int // of a stream that exists from the start
}

// Run implements [Load].
func (i Idle) Run(ctx context.Context, env *Env) (Result, error) {
	var args []string
	if i.Shards > 0 {
		args = []string{"--create", fmt.Sprintf("idle:%d", i.Shards)}
	}
	srv, err := env.Start(ctx, args...)
	if err != nil {
		return Result{}, err
	}
	if i.Records > 0 {
		if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
			return Result{}, err
		}
		if err := fill(ctx, srv.Endpoint, i.Records); err != nil {
			return Result{}, err
		}
	}
	if i.Shards > 0 {
		out, err := kinesisClient(srv.Endpoint).DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("idle")})
		if err != nil {
			return Result{}, err
		}
		if open := aws.ToInt32(out.StreamDescriptionSummary.OpenShardCount); int(open) != i.Shards {
			return Result{}, fmt.Errorf("the stream has %d shards, not %d", open, i.Shards)
		}
	}
	// What runs after the last answer is part of what was done before.
	return measure(ctx, env, srv, func(bool) {}, func() bool { return true })
}
