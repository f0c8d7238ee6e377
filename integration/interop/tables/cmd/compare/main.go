// Command compare plays the corpus of a server to it and to streamd, live, prints
// where their answers differ, and writes what the server answered to a file.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/streamkit/streamkit/integration/interop/tables"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	corpus := flag.String("corpus", "dynalite", "which corpus, by its name in tables.Corpora")
	url := flag.String("url", "", "where the server listens that is compared with")
	record := flag.String("record", "", "file to write its answers to")
	with := flag.String("with", "", "where streamd listens")
	all := flag.Bool("all", false, "print what the decisions explain too")
	flag.Parse()
	ctx := context.Background()
	client := &http.Client{Timeout: 10 * time.Second} // for servers that do not answer
	corpora, err := tables.Corpora()
	if err != nil {
		return err
	}
	list, ok := corpora[*corpus]
	if !ok {
		return fmt.Errorf("there is no corpus %q", *corpus)
	}
	list, theirs, ours, err := tables.Record(ctx, tables.Server{URL: *url, Client: client}, tables.Server{URL: *with, Client: client}, list)
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
	if differ > 0 && *record != "" {
		return errors.New("differences without a decision; see integration/interop/tables/decisions.go")
	}
	return nil
}
