package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// line returns the text that files of a format repeat: of about 200 bytes a line.
func line(format string) []byte {
	switch format {
	case "multiline":
		return []byte("[2026-01-01 00:00:00] ERROR something went wrong in a place\n" +
			strings.Repeat("    at com.example.service.Handler.handle(Handler.java:123)\n", 9))
	case "combined":
		return []byte(`203.0.113.7 - frank [10/Oct/2026:13:55:36 -0700] "GET /images/logo.gif?size=large HTTP/1.1" 200 2326 ` +
			`"https://www.example.com/start/page.html" "Mozilla/5.0 (X11; Linux x86_64) Example/17.4"` + "\n")
	}
	return append(bytes.Repeat([]byte("x"), 199), '\n')
}

func name(i int) string { return fmt.Sprintf("app-%05d.log", i) }

// write makes the files, of whole lines, and corrects the job's numbers to what they
// have.
func (j *job) write() error {
	text := line(j.format)
	each := max(1, int(j.bytes)/j.files/len(text))
	block := bytes.Repeat(text, max(1, min(each, (1<<20)/len(text)))) // memory of the writing must not count
	for i := range j.files {
		f, err := os.Create(filepath.Join(j.dir, name(i)))
		if err != nil {
			return err
		}
		for left := each * len(text); left > 0 && err == nil; {
			var n int
			n, err = f.Write(block[:min(left, len(block))])
			left -= n
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	j.bytes = int64(len(text)) * int64(each) * int64(j.files)
	j.lines = int64(bytes.Count(text, []byte("\n"))) * int64(each) * int64(j.files)
	return nil
}
