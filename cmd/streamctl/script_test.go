package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streamkit/streamkit/cmd/internal/endpoint"
	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"streamctl": main, "kclchild": kclChild, "putlease": putLease})
}

// TestScripts runs the command lines in testdata/script, each script against a
// server of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				tb = t
			}
			srv := streamdtest.New(tb, streamdtest.Listen(), streamdtest.Config(func(c *streamd.Config) { c.Admin = "127.0.0.1:0" }))
			plain := streamdtest.New(tb, streamdtest.Listen(), streamdtest.Config(func(c *streamd.Config) { c.Admin, c.EnableFaults = "127.0.0.1:0", false }))
			env.Setenv("ADMIN", srv.AdminAddr())
			env.Setenv("ADMIN_WITHOUT_FAULTS", plain.AdminAddr())
			env.Setenv("AWS_ENDPOINT_URL", srv.Endpoint())
			env.Setenv("ENDPOINT_HOST", strings.TrimPrefix(srv.Endpoint(), "http://"))
			env.Setenv("SERVER", srv.Endpoint())
			if err := leaveSpool(filepath.Join(env.WorkDir, "spool")); err != nil {
				return err
			}
			if err := leaveSpool(filepath.Join(env.WorkDir, "cut")); err != nil {
				return err
			}
			if err := os.Truncate(filepath.Join(env.WorkDir, "cut", "0000000000000001.seg"), 32); err != nil {
				return err
			}
			env.Setenv("AWS_CONFIG_FILE", "/nonexistent")
			env.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// kclChild is a record processor of the KCL: it reads three records, and tells
// its parent to stop when it has.
func kclChild() {
	in := bufio.NewScanner(os.Stdin)
	var texts []string
	for in.Scan() {
		var req struct {
			Action  string
			Records []struct{ Data []byte }
		}
		if err := json.Unmarshal(in.Bytes(), &req); err != nil {
			os.Exit(1)
		}
		for _, r := range req.Records {
			texts = append(texts, string(r.Data))
		}
		switch {
		case req.Action == "processRecords" && len(texts) == 3:
			fmt.Fprintln(os.Stderr, strings.Join(texts, ", "))
			if p, err := os.FindProcess(os.Getppid()); err != nil || p.Signal(os.Interrupt) != nil {
				os.Exit(1)
			}
		case req.Action == "shutdownRequested":
			fmt.Fprintln(os.Stdout, `{"action":"checkpoint","sequenceNumber":null}`)
			in.Scan()
		}
		fmt.Fprintf(os.Stdout, "{\"action\":\"status\",\"responseFor\":%q}\n", req.Action)
	}
}

// putLease stores a lease, as "putlease TABLE KEY NAME=VALUE …" says, in a table
// that it makes if need be.
func putLease() {
	l := consumer.Lease{Key: os.Args[2], Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
	for _, arg := range os.Args[3:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "owner":
			l.Owner, l.Counter, l.Incarnation = value, 7, "i-"+value
		case "foreign":
			l.Owner, l.Counter = value, 7
		case "at":
			l.Checkpoint.SequenceNumber = value
		case "parent":
			l.Parents = append(l.Parents, value)
		case "child":
			l.Children = append(l.Children, value)
		default:
			panic(arg)
		}
	}
	ctx := context.Background()
	cfg, err := endpoint.Load(ctx, endpoint.Options{})
	if err != nil {
		panic(err)
	}
	db, _, err := cfg.DynamoDB()
	if err != nil {
		panic(err)
	}
	store, err := dynamolease.New(db, os.Args[1], dynamolease.Config{})
	if err != nil {
		panic(err)
	}
	if err := store.Prepare(ctx); err != nil {
		panic(err)
	}
	if _, err := store.Create(ctx, l); err != nil {
		panic(err)
	}
}

// leaveSpool makes a spool of a producer of the stream "spooled" that is dead: one
// record is acknowledged, three are not.
func leaveSpool(dir string) error {
	s, err := spool.Open[struct{}](dir, spool.Options{Stream: "spooled"})
	if err != nil {
		return err
	}
	key := func(k, data string) spool.Entry {
		return spool.Entry{PartitionKey: k, Hash: hashkey.Of(k), Data: []byte(data)}
	}
	last := spool.Entry{PartitionKey: "k", Hash: hashkey.Max, Explicit: true, Data: []byte("last")}
	if err := s.Append([]spool.Entry{key("k", "sent"), key("k", "one"), key("k", "two"), last}, struct{}{}, false); err != nil {
		return err
	}
	b, _, err := s.Next()
	if err != nil {
		return err
	}
	s.Ack(func(yield func(uint64) bool) { yield(b.First) })
	return s.Close()
}
