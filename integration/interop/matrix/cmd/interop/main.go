// Command interop runs the official clients against streamd, and writes what came
// of it to docs/compatibility.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/streamkit/streamkit/integration/interop/matrix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	smoke := flag.Bool("smoke", false, "only the rows of the short form")
	short := flag.Bool("short", false, "short rows in the place of longer ones")
	long := flag.Bool("long", false, "all rows, those of the long form among them")
	pattern := flag.String("rows", "", "only rows whose names match this regexp")
	capture := flag.Bool("capture", false, "keep what clients ask in bin/interop/captures")
	write := flag.Bool("write", true, "write docs/compatibility.md and what it is made of")
	list := flag.Bool("list", false, "list the rows, and run nothing")
	render := flag.Bool("render", false, "write the page anew from what is known, and run nothing")
	flag.Parse()
	m := matrix.All()
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "streamd")); err != nil {
		return fmt.Errorf("run it in the root of the checkout, as make interop does: %w", err)
	}
	if *render {
		return matrix.Publish(root, m, nil)
	}
	only, err := regexp.Compile(*pattern)
	if err != nil {
		return err
	}
	var rows []matrix.Row
	for _, row := range m.Rows {
		form := row.Short == *short && (!row.Long || *long || *pattern != "")
		if *smoke {
			form = row.Smoke
		}
		if form && only.MatchString(row.Name) {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return errors.New("no row of the matrix is so called; see -list")
	}
	if *list {
		for _, row := range rows {
			fmt.Printf("%-16s needs %s\n", row.Name, strings.Join(row.Needs, ", "))
		}
		return nil
	}
	require, err := m.ParseRequire(os.Getenv("INTEROP_REQUIRE"))
	if err != nil {
		return fmt.Errorf("INTEROP_REQUIRE: %w", err)
	}
	work := filepath.Join(root, "bin", "interop")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	streamd := filepath.Join(work, "streamd")
	build := exec.CommandContext(ctx, "go", "build", "-o", streamd, "./cmd/streamd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build streamd: %w\n%s", err, out)
	}
	r := &matrix.Runner{Matrix: m, Root: root, Work: work, Streamd: streamd, Require: require, Capture: *capture, Log: os.Stdout}
	ran := r.Run(ctx, rows)
	if *write {
		if err := matrix.Publish(root, m, ran); err != nil {
			return err
		}
	}
	return summary(ctx, ran, len(rows))
}

func summary(ctx context.Context, ran []matrix.Outcome, rows int) error {
	passed, failed, skipped := 0, 0, 0
	for _, o := range ran {
		switch {
		case o.Skipped != "":
			skipped++
		case o.OK():
			passed++
		default:
			failed++
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %d of %d rows", len(ran), rows)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d rows have failed; their logs are in bin/interop/rows", failed, rows)
	}
	return nil
}
