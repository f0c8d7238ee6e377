package certs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/certs"
)

// FuzzPair: what is read as a certificate and its key can be written, and is
// read as the same again.
func FuzzPair(f *testing.F) {
	dir := f.TempDir()
	if _, err := certs.Open(certs.Config{Dir: dir}); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"ca-key.pem", "server.pem", "ca.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := certs.Again(b)
		if err != nil {
			return
		}
		if twice, err := certs.Again(once); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%q, %v; was %q", twice, err, once)
		}
	})
}
