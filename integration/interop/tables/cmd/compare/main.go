// Command compare plays the corpus of a server to it, live, and writes what it
// answered, or prints where two servers' answers differ.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/streamkit/streamkit/integration/interop/tables"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	corpus := flag.String("corpus", "dynalite", "whose corpus: dynalite or moto")
	url := flag.String("url", "", "where the server listens that is compared with")
	record := flag.String("record", "", "file to write its answers to")
	with := flag.String("with", "", "where streamd listens; empty: only record")
	all := flag.Bool("all", false, "print what the decisions explain too")
	flag.Parse()
	ctx := context.Background()
	list, ok := tables.Corpora()[*corpus]
	if !ok {
		return fmt.Errorf("there is no corpus %q", *corpus)
	}
	theirs, err := tables.Play(ctx, tables.Server{URL: *url, Client: http.DefaultClient}, list)
	if err != nil {
		return err
	}
	if *record != "" {
		var b bytes.Buffer
		if err := tables.Write(&b, list, theirs); err != nil {
			return err
		}
		if err := os.WriteFile(*record, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if *with == "" {
		return nil
	}
	ours, err := tables.Play(ctx, tables.Server{URL: *with, Client: http.DefaultClient}, list)
	if err != nil {
		return err
	}
	differ := 0
	for _, d := range tables.Compare(*corpus, list, ours, theirs) {
		if d.Decision == "" || *all {
			fmt.Println(d)
		}
		if d.Decision == "" {
			differ++
		}
	}
	fmt.Printf("%d requests, %d differ without a decision\n", len(list), differ)
	return nil
}
