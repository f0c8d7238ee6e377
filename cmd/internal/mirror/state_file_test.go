package mirror_test

import "github.com/streamkit/streamkit/internal/vfs"

func (p *pair) readState() []byte {
	p.t.Helper()
	b, err := vfs.ReadFile(p.disk, "state")
	if err != nil {
		return nil // there is none yet
	}
	return b
}

func (p *pair) writeState(b []byte) {
	p.t.Helper()
	p.must(vfs.WriteFile(p.disk, "state", b, 0o600))
}
