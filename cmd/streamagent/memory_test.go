package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// With many flows each producer has the least memory there is, and a batch of short
// lines, which cost more than they are long, has no room in it at once.
func TestShortLinesInManyFlows(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	const flows, lines = 6, 3000
	var list []string
	for i := range flows {
		name := filepath.Join(logs, fmt.Sprintf("f%d.txt", i))
		write(t, name, strings.Repeat(strings.Repeat("x", 110)+"\n", lines))
		list = append(list, fmt.Sprintf(`{"filePattern": %q, "kinesisStream": "s", "initialPosition": "START_OF_FILE", "maxBufferAgeMillis": 10}`, name))
	}
	write(t, config, fmt.Sprintf(`{"kinesis.endpoint": %q, "checkpointFile": %q, "flows": [%s]}`,
		srv.Endpoint(), filepath.Join(filepath.Dir(config), "state", "checkpoints"), strings.Join(list, ",")))
	var errOut buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code := run(ctx, []string{"run", "--once", "-c", config}, &errOut, &errOut); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, errOut.String())
	}
	if got := len(stored(t, srv)); got != flows*lines {
		t.Errorf("%d records are stored, want %d", got, flows*lines)
	}
}

// A stream that is set to take records of 10 MiB gets them.
func TestTenMebibytes(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	sum, err := srv.Kinesis().DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = srv.Kinesis().UpdateMaxRecordSize(t.Context(), &kinesis.UpdateMaxRecordSizeInput{
		StreamARN: sum.StreamDescriptionSummary.StreamARN, MaxRecordSizeInKiB: aws.Int32(10240),
	})
	if err != nil {
		t.Fatal(err)
	}
	config, logs := setUp(t, srv.Endpoint(), "")
	line := strings.Repeat("x", 10<<20-65) + "\n"
	write(t, filepath.Join(logs, "a.log"), "before\n"+line+"after\n")
	write(t, config, fmt.Sprintf(`{"kinesis.endpoint": %q, "checkpointFile": %q, "maxMemoryBytes": 41943040, "socketTimeoutMillis": 60000,
		"flows": [{"filePattern": %q, "kinesisStream": "s", "initialPosition": "START_OF_FILE", "maxBufferAgeMillis": 10, "maxRecordBytes": 10485760}]}`,
		srv.Endpoint(), filepath.Join(filepath.Dir(config), "state", "checkpoints"), filepath.Join(logs, "*.log")))
	var errOut buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if code := run(ctx, []string{"run", "--once", "-c", config}, &errOut, &errOut); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, errOut.String())
	}
	got := stored(t, srv)
	if len(got) != 3 || len(got[0])+len(got[1])+len(got[2]) != len("before\n"+line+"after\n") {
		t.Errorf("%d records are stored", len(got))
	}
}
