// Command nullserver serves package nullserver: right answers, and nothing
// behind them. It prints the address that it listens on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/streamkit/streamkit/integration/load/nullserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "nullserver: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg nullserver.Config
	listen := flag.String("listen", "127.0.0.1:0", "address; port 0 takes a free one")
	flag.IntVar(&cfg.Shards, "shards", 4, "shards of every stream")
	flag.IntVar(&cfg.PageRecords, "page-records", 10000, "records of a page")
	flag.IntVar(&cfg.RecordBytes, "record-bytes", 200, "size of each record of a page")
	flag.Parse()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	// The settings that real servers have too: a cap must not be higher because
	// it does less HTTP.
	srv := &http.Server{Handler: nullserver.New(cfg), Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	fmt.Printf("http://%s\n", ln.Addr())
	context.AfterFunc(ctx, func() { _ = srv.Close() }) // nothing here is worth a wait
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
