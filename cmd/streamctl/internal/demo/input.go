package demo

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed text.txt
var builtinText []byte

// maxLine is the longest piece of text that becomes one line. Longer lines of
// the input are cut, so that each fits a record.
const maxLine = 64 << 10

// Input is the text that is replayed, over and over.
type Input struct {
	Paths []string
	Name  string // for a person
	Bytes int64  // of one round
}

// FilesInput returns the input made of files.
func FilesInput(paths []string) (Input, error) {
	in := Input{Paths: paths, Name: paths[0]}
	if len(paths) > 1 {
		in.Name = fmt.Sprintf("%d files", len(paths))
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return in, err
		}
		info, err := f.Stat()
		_ = f.Close()
		if err != nil {
			return in, err
		}
		if !info.Mode().IsRegular() {
			return in, fmt.Errorf("%q is no regular file: name files of text", p)
		}
		in.Bytes += info.Size()
	}
	if in.Bytes == 0 {
		return in, fmt.Errorf("%s has no text: name a file that has some", in.Name)
	}
	return in, nil
}

// HistoryInput writes the text of the git history in the current directory
// into dir, at most limit bytes of it. Where there is no history it uses a
// text that is part of the program.
func HistoryInput(ctx context.Context, dir string, limit int64) (Input, error) {
	path := filepath.Join(dir, "input.txt")
	in := Input{Paths: []string{path}, Name: "the history of this repository (git log -p)"}
	var err error
	if in.Bytes, err = writeHistory(ctx, path, limit); err != nil {
		return in, err
	}
	if in.Bytes > 0 {
		return in, nil
	}
	in.Name = "a text of the program, as there is no git history here"
	in.Bytes = int64(len(builtinText))
	return in, os.WriteFile(path, builtinText, 0o644)
}

// writeHistory returns 0 if there is no git, no repository or no commit.
func writeHistory(ctx context.Context, path string, limit int64) (int64, error) {
	out, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer out.Close() //nolint:errcheck // errors of writing are seen by Copy
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	git := exec.CommandContext(ctx, "git", "--no-pager", "log", "-p", "--no-color", "--no-ext-diff", "--no-textconv")
	pipe, err := git.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := git.Start(); err != nil {
		return 0, nil //nolint:nilerr // no git on this machine
	}
	n, err := io.Copy(out, io.LimitReader(pipe, limit))
	cancel() // a long history is not read to its end
	_ = git.Wait()
	return n, err
}

// lines reads the lines of an input round after round.
type lines struct {
	paths []string
	next  int
	round int // rounds begun
	file  *os.File
	r     *bufio.Reader
}

func newLines(in Input) *lines {
	return &lines{paths: in.Paths, r: bufio.NewReaderSize(nil, maxLine)}
}

// read returns the next line without its end, valid until the next call.
func (l *lines) read() ([]byte, error) {
	for {
		if l.file == nil {
			if l.next == 0 {
				l.round++
			}
			f, err := os.Open(l.paths[l.next])
			if err != nil {
				return nil, err
			}
			l.next = (l.next + 1) % len(l.paths)
			l.file = f
			l.r.Reset(f)
		}
		line, err := l.r.ReadSlice('\n')
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			return line, nil
		case !errors.Is(err, io.EOF):
			return nil, err
		}
		l.close()
		if len(line) > 0 {
			return line, nil
		}
	}
}

// whole reports whether each file was read to its end at least once.
func (l *lines) whole() bool { return l.round > 1 || (l.round == 1 && l.next == 0 && l.file == nil) }

func (l *lines) close() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
