package agent_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What a program does to files.

func (p *program) pause(string) {
	d := time.Duration(p.rng.Int64N(int64(2 * time.Second)))
	p.note("wait %v", d)
	time.Sleep(d)
}

// looks reports whether there is an agent that looks at files.
func (p *program) looks() bool { return p.running && p.halted.IsZero() }

// seen lets a running agent notice what is there.
func (p *program) seen() {
	if p.looks() {
		p.settle(max(0, time.Until(p.late)) + 1200*time.Millisecond)
	}
}

func (p *program) file(name string) *content {
	c := p.at[name]
	if c == nil {
		c = &content{}
		p.at[name] = c
	}
	return c
}

// contents returns the lines of each file.
func (p *program) contents() [][]string {
	var all [][]string
	for _, c := range p.at {
		all = append(all, c.lines)
	}
	for _, c := range p.aside {
		all = append(all, c.lines)
	}
	return all
}

func (p *program) append(name string) {
	n := 1 + p.rng.IntN(200)
	if p.rng.IntN(10) == 0 {
		n *= 20
	}
	p.note("%s: %d lines from %d", name, n, p.n+1)
	p.add(name, n)
}

// add ends the line that is open and writes n others.
func (p *program) add(name string, n int) {
	p.complete(name)
	c := p.file(name)
	from := len(p.want)
	p.lines(name, n)
	for _, l := range p.want[from:] {
		c.lines = append(c.lines, l)
		p.refs[l]++
	}
}

// burst writes records of several lines, in pieces that end anywhere, and so soon one
// after the other that none of them is taken for all there is of a record.
func (p *program) burst(name string) {
	n := 1 + p.rng.IntN(20)
	p.note("%s: %d records of several lines from %d", name, n, p.n+1)
	p.complete(name)
	c := p.file(name)
	var text strings.Builder
	for range n {
		rec := p.line()
		for i := range p.rng.IntN(5) {
			rec += fmt.Sprintf("\tof %d: %s\n", i, strings.Repeat("y", p.rng.IntN(100)))
		}
		p.keep(c, rec)
		text.WriteString(rec)
	}
	for rest := text.String(); rest != ""; {
		cut := 1 + p.rng.IntN(len(rest))
		p.write(name, rest[:cut])
		if rest = rest[cut:]; rest != "" {
			time.Sleep(time.Duration(p.rng.Int64N(int64(300 * time.Millisecond))))
		}
	}
}

func (p *program) partial(name string) {
	c := p.file(name)
	if c.part != "" {
		return
	}
	p.note("%s: part of line %d", name, p.n+1)
	c.part = strings.TrimSuffix(p.line(), "\n")
	p.write(name, c.part)
}

func (p *program) complete(name string) {
	if c := p.at[name]; c != nil && c.part != "" {
		p.write(name, "\n")
		p.keep(c, c.part+"\n")
	}
}

// keep makes a line of the part that c ends with.
func (p *program) keep(c *content, line string) {
	p.want = append(p.want, line)
	c.lines = append(c.lines, line)
	p.refs[line]++
	c.part = ""
}

// leave ends the writing to a file: half of the times the last line has no end.
func (p *program) leave(name string) {
	c := p.at[name]
	if c.part == "" {
		return
	}
	if p.rng.IntN(2) == 0 {
		p.complete(name)
	} else {
		p.keep(c, c.part)
	}
}

func (p *program) exists(name string) bool { return p.at[name] != nil }

func (p *program) move(from, to string) {
	p.check(os.MkdirAll(filepath.Dir(p.path(to)), 0o700))
	p.rename(from, to)
	p.at[to] = p.at[from]
	delete(p.at, from)
}

// gone notes that the lines of c are not in a file any more, but for copies. handle
// says that a running agent has them open.
func (p *program) gone(c *content, handle bool) {
	if c.part != "" {
		p.keep(c, c.part)
	}
	for _, l := range c.lines {
		if p.refs[l]--; p.refs[l] > 0 {
			continue
		}
		if handle {
			p.handles = append(p.handles, l)
		} else {
			p.optional[l] = true
		}
	}
}

// shift makes way for name.1.
func (p *program) shift(name string) {
	last := 1
	for p.exists(fmt.Sprintf("%s.%d", name, last)) {
		last++
	}
	for i := last; i > 1; i-- {
		p.move(fmt.Sprintf("%s.%d", name, i-1), fmt.Sprintf("%s.%d", name, i))
	}
}

// known says whether files may go where only one who has seen them finds them: the
// agent runs, and has.
func (p *program) known() bool {
	if p.wide {
		return true
	}
	if !p.looks() || p.isHidden() {
		return false
	}
	p.seen()
	return p.allOpen()
}

// allOpen reports whether the agent has all of the flow's files open.
func (p *program) allOpen() bool { return p.cfg.Flows[0].MaxOpenFiles == 0 && p.cfg.NetworkFS == nil }

func (p *program) isHidden() bool {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	return len(p.files.hidden) > 0
}

func (p *program) rotate(name string) {
	if !p.exists(name) || !p.known() {
		return
	}
	p.note("%s: rotate", name)
	p.leave(name)
	p.shift(name)
	p.move(name, name+".1")
	p.add(name, 1+p.rng.IntN(3))
}

// copyTruncate copies name to name.1, at times to another directory or compressed,
// and truncates it.
func (p *program) copyTruncate(name string) {
	c := p.at[name]
	if c == nil || c.size() < 200 || p.isHidden() {
		return // too little content to recognise a copy by
	}
	p.seen() // a copy within the first look cannot be told from a file
	if !p.known() {
		return
	}
	p.copy(name, 0)
	if p.rng.IntN(3) == 0 {
		p.note("%s: refill", name)
		p.add(name, 1+p.rng.IntN(400))
	}
}

// copy copies name to name.1, and truncates it after a time.
func (p *program) copy(name string, wait time.Duration) {
	p.note("%s: copy and truncate", name)
	p.few = p.few || !p.looks()
	p.complete(name)
	p.shift(name)
	to := name + ".1"
	p.copyFile(name, to)
	p.at[to] = &content{lines: p.at[name].lines}
	time.Sleep(wait)
	p.truncate(name)
	p.at[name] = &content{}
}

// copySlowly is copyTruncate of what the agent may not have seen, with a pause before
// the file is truncated.
func (p *program) copySlowly(name string) {
	if c := p.at[name]; c == nil || c.size() < 200 || p.isHidden() || !p.known() {
		return
	}
	p.copy(name, time.Duration(p.rng.Int64N(int64(modelRotateWait/10*9))))
}

// truncateAway truncates a file of which there is no copy.
func (p *program) truncateAway(name string) {
	c := p.at[name]
	if c == nil || p.isHidden() {
		return
	}
	p.seen()
	if !p.looks() {
		p.inexact = true
	}
	p.note("%s: truncate", name)
	p.truncate(name)
	p.gone(c, false)
	p.at[name] = &content{}
	if p.rng.IntN(2) == 0 {
		p.note("%s: refill", name)
		p.add(name, 1+p.rng.IntN(400))
	}
}

func (p *program) old(name string) string {
	for i := 9; i > 0; i-- {
		if old := fmt.Sprintf("%s.%d", name, i); p.exists(old) {
			return old
		}
	}
	return ""
}

// deleteOld deletes the oldest rotated file.
func (p *program) deleteOld(name string) {
	if old := p.old(name); old != "" {
		p.erase(old)
	}
}

func (p *program) erase(name string) {
	if p.isHidden() {
		return
	}
	p.seen()
	open := p.looks() && p.allOpen()
	if !open {
		p.inexact = true
	}
	p.note("%s: delete", name)
	p.remove(name)
	p.gone(p.at[name], open)
	delete(p.at, name)
}

// deleteLive deletes a file, and makes another with its name, which may get its
// inode.
func (p *program) deleteLive(name string) {
	if !p.exists(name) {
		return
	}
	p.erase(name)
	if p.exists(name) {
		return
	}
	p.add(name, 1+p.rng.IntN(50))
}

// replace puts another file in the place of one.
func (p *program) replace(name string) {
	if !p.exists(name) || p.isHidden() {
		return
	}
	p.seen()
	open := p.looks() && p.allOpen()
	if !open {
		p.inexact = true
	}
	p.note("%s: replace", name)
	c := p.at[name]
	p.add("new", 1+p.rng.IntN(50))
	p.rename("new", name)
	p.gone(c, open)
	p.at[name] = p.at["new"]
	delete(p.at, "new")
}

// compress puts a rotated file into a compressed one.
func (p *program) compress(name string) {
	old := name + ".1"
	c := p.at[old]
	if c == nil || c.size() < 200 || p.isHidden() {
		return
	}
	p.seen()
	if !p.allOpen() {
		return
	}
	open := p.looks()
	p.note("%s: compress", old)
	b, err := os.ReadFile(p.path(old))
	p.check(err)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err = w.Write(b)
	p.check(errors.Join(err, w.Close()))
	if err := os.Remove(p.path(old + ".gz")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	half := z.Len() / 2
	p.write(old+".gz", z.String()[:half])
	time.Sleep(time.Duration(p.rng.Int64N(int64(300 * time.Millisecond))))
	p.write(old+".gz", z.String()[half:])
	p.remove(old)
	delete(p.at, old)
	if open {
		p.gone(c, true)
		return
	}
	// It is found if the agent knows it: it has run while it was there. The names of
	// compressed files are not shifted, so it may be overwritten by the next.
	p.gone(c, false)
	p.inexact = true
}

// rotateUnseen stops an agent that knows a file, which then grows and is rotated, in one of
// several ways, and starts another.
func (p *program) rotateUnseen(name string) {
	if c := p.at[name]; c == nil || c.size() < 200 || p.isHidden() || !p.looks() || !p.allOpen() {
		return
	}
	p.seen()
	p.terminate()
	p.add(name, 1+p.rng.IntN(200))
	c := p.at[name]
	switch p.rng.IntN(4) {
	case 0:
		p.note("%s: rotate unseen", name)
		p.shift(name)
		p.move(name, name+".1")
	case 1:
		p.note("%s: copy and truncate unseen", name)
		p.shift(name)
		p.copyFile(name, name+".1")
		p.truncate(name)
		p.at[name+".1"] = c
	case 2:
		p.note("%s: compress unseen", name)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, err := w.Write([]byte(strings.Join(c.lines, "")))
		p.check(errors.Join(err, w.Close()))
		p.write(fmt.Sprintf("%s.%d.gz", name, p.n), z.String())
		p.remove(name)
		p.aside = append(p.aside, c)
	default:
		p.note("%s: move away unseen", name)
		p.rename(name, fmt.Sprintf("old/%s.%d", name, p.n))
		p.aside = append(p.aside, c)
	}
	delete(p.at, name)
	p.add(name, 1+p.rng.IntN(3))
	p.note("start")
	p.begin()
	p.running = true
	p.settle(100 * time.Millisecond)
}

// moveAway moves a rotated file to the directory for them.
func (p *program) moveAway(name string) {
	old := name + ".1"
	if !p.exists(old) || p.isHidden() {
		return
	}
	p.seen()
	if !p.looks() || !p.allOpen() {
		return
	}
	p.note("%s: move away", old)
	c := p.at[old]
	p.rename(old, fmt.Sprintf("old/%s.%d", old, p.n))
	delete(p.at, old)
	p.gone(c, true)
}

// touch sets the time of a file to some other.
func (p *program) touch(name string) {
	if !p.exists(name) {
		return
	}
	p.note("%s: touch", name)
	at := time.Now().Add(time.Duration(p.rng.Int64N(int64(48*time.Hour))) - 24*time.Hour)
	p.check(os.Chtimes(p.path(name), at, at))
}

// hardLink gives a file a second name for a moment.
func (p *program) hardLink(name string) {
	if !p.exists(name) || p.isHidden() {
		return
	}
	p.note("%s: hard link", name)
	p.check(os.Link(p.path(name), p.path("app-9.log")))
	p.changed()
	time.Sleep(time.Duration(p.rng.Int64N(int64(300 * time.Millisecond))))
	p.remove("app-9.log")
}

// odd puts things that are no files where the pattern matches.
func (p *program) odd(string) {
	if _, err := os.Lstat(p.path("app-7.log")); err == nil {
		return
	}
	p.note("a directory and a dangling link")
	p.check(os.Mkdir(p.path("app-7.log"), 0o700))
	p.check(os.Symlink(p.path("nowhere"), p.path("app-8.log")))
	p.changed()
}

// swapLink has a symbolic link point at a new file, as programs do that write a log for
// each day.
func (p *program) swapLink(string) {
	if !p.wide {
		return // targets that do not match are known by the link alone
	}
	const link = "app-5.log"
	for range 1 + p.rng.IntN(3) {
		p.links++
		target := fmt.Sprintf("%s.day%03d", link, p.links)
		p.note("%s: is %s now", link, target)
		p.add(target, 1+p.rng.IntN(50))
		p.check(os.Symlink(p.path(target), p.path("new")))
		p.rename("new", link)
		time.Sleep(time.Duration(p.rng.Int64N(int64(30 * time.Millisecond))))
		p.add(target, 1+p.rng.IntN(50))
	}
}
