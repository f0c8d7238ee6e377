// Spooler puts numbered records with a spool, for the tests: after each Put it
// prints what the spool has taken.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

func main() {
	// It goes on until it is killed, or cannot.
	fmt.Fprintln(os.Stderr, "spooler:", run(context.Background()))
	os.Exit(1)
}

func run(ctx context.Context) error {
	stream := flag.String("stream", "", "stream")
	dir := flag.String("dir", "", "directory of the spool")
	flag.Parse()
	awsConfig, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	p, err := producer.New(kinesis.NewFromConfig(awsConfig), *stream, producer.Config{
		MaxBufferedBytes: 4 << 20,
		Spool:            producer.SpoolConfig{Dir: *dir, Mode: producer.SpoolAlways},
	})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		line := fmt.Sprintf("key-%d|%d", i%10, i)
		if err := p.Put(ctx, producer.UserRecord{PartitionKey: fmt.Sprintf("key-%d", i%10), Data: []byte(line)}, nil); err != nil {
			return err
		}
		fmt.Println(line)
	}
}
