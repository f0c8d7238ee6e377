package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm asks before something that cannot be undone or that costs. Where
// nobody can be asked it refuses, so that a script must say --yes.
func (a *app) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(a.in) {
		return fmt.Errorf("not done without being asked at a terminal: %s Say --yes to do it", question)
	}
	return a.ask(ctx, question)
}

func (a *app) ask(ctx context.Context, question string) error {
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	// A read from a terminal cannot be interrupted; after ctrl-C it is left
	// behind, and the process ends.
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1) // the reader may find nobody waiting
	go func() {
		text, err := bufio.NewReader(a.in).ReadString('\n')
		answers <- answer{text, err}
	}()
	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return errors.New("interrupted; nothing was changed")
	}
	if got.err != nil && !errors.Is(got.err, io.EOF) {
		return got.err
	}
	switch strings.ToLower(strings.TrimSpace(got.text)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed: answer y, or say --yes, to go on")
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
