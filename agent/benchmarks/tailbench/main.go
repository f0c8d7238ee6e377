// Command tailbench reads files from their start to their end with nxadm/tail, one after
// the other, and prints how many lines there are. `make bench` measures it beside the agent.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"github.com/nxadm/tail"
)

func main() {
	n := 0
	for _, path := range os.Args[1:] {
		lines, err := count(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "tailbench: %v\n", err)
			os.Exit(1)
		}
		n += lines
	}
	fmt.Println(n)
}

func count(path string) (n int, err error) {
	t, err := tail.TailFile(path, tail.Config{Logger: log.New(io.Discard, "", 0), CompleteLines: true})
	if err != nil {
		return 0, err
	}
	for line := range t.Lines {
		if line.Err != nil {
			return n, line.Err
		}
		n++
	}
	return n, t.Wait()
}
