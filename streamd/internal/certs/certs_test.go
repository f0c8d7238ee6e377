package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/certs"
)

// day0 is when the tests begin.
var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// rig opens sources on a clock of its own.
type rig struct {
	now time.Time
	log bytes.Buffer
}

func (r *rig) open(t *testing.T, dir string, names ...string) *certs.Source {
	t.Helper()
	s, err := certs.Open(r.config(dir, names...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rig) config(dir string, names ...string) certs.Config {
	return certs.Config{
		Dir: dir, Names: names, Now: func() time.Time { return r.now },
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
}

// shown returns the certificate that a handshake gets.
func shown(t *testing.T, s *certs.Source) *x509.Certificate {
	t.Helper()
	c, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func authority(t *testing.T, s *certs.Source) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(s.CA())
	if block == nil || len(rest) != 0 || block.Type != "CERTIFICATE" {
		t.Fatalf("CA() is %q", s.CA())
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestCertificates(t *testing.T) {
	r := &rig{now: day0}
	s := r.open(t, "", "Streamd.Test", "192.0.2.7", "2001:db8::1", "localhost")
	ca, leaf := authority(t, s), shown(t, s)
	if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("authority: %t, path length %d, usage %b", ca.IsCA, ca.MaxPathLen, ca.KeyUsage)
	}
	if got := ca.NotAfter.Sub(day0); got != 3650*day {
		t.Errorf("authority lives %v", got)
	}
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got != 397*day || leaf.NotBefore.After(day0) {
		t.Errorf("certificate lives %v from %v", got, leaf.NotBefore)
	}
	for _, c := range []*x509.Certificate{ca, leaf} {
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve.Params().Name != "P-256" {
			t.Errorf("%s has a key %T", c.Subject, c.PublicKey)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "streamd.test", "192.0.2.7", "2001:db8::1"} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: day0})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(leaf.DNSNames) != 2 {
		t.Errorf("names %v, want each once", leaf.DNSNames)
	}
	if err := leaf.VerifyHostname("other.test"); err == nil {
		t.Error("the certificate is for names that were not asked for")
	}
}

func TestKept(t *testing.T) {
	r := &rig{now: day0}
	dir := filepath.Join(t.TempDir(), "deep", "tls")
	first := r.open(t, dir)
	again := r.open(t, dir)
	if !bytes.Equal(first.CA(), again.CA()) || !shown(t, first).Equal(shown(t, again)) {
		t.Error("the second start has other certificates")
	}
	read, err := certs.ReadCA(dir)
	if err != nil || !bytes.Equal(read, first.CA()) {
		t.Errorf("ReadCA: %q, %v", read, err)
	}
	more := r.open(t, dir, "new.test")
	if !bytes.Equal(first.CA(), more.CA()) || shown(t, more).VerifyHostname("new.test") != nil {
		t.Error("a new name needs a new certificate of the same authority")
	}
	// The wider certificate does for who asks for less.
	if !shown(t, r.open(t, dir)).Equal(shown(t, more)) {
		t.Error("the certificate was made anew without need")
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode())
		}
	}
	if got := strings.Join(names, " "); got != "LOCK ca-key.pem ca.pem server.pem" {
		t.Errorf("files %s", got)
	}
	if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
}

// TestServersStartAtOnce has several share a directory that is not there yet.
func TestServersStartAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	var sources [6]*certs.Source
	var wg sync.WaitGroup
	for i := range sources {
		wg.Go(func() {
			var err error
			if sources[i], err = certs.Open(certs.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range sources {
		if s != nil && (!bytes.Equal(s.CA(), sources[0].CA()) || !shown(t, s).Equal(shown(t, sources[0]))) {
			t.Error("two servers of one directory have different certificates")
		}
	}
}

// TestDirectoryThatIsOnlyRead has the files made elsewhere.
func TestDirectoryThatIsOnlyRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	r := &rig{now: day0}
	r.open(t, dir)
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	r.open(t, dir)
	if _, err := certs.Open(r.config(dir, "new.test")); err == nil || !strings.Contains(err.Error(), "--tls-dir") {
		t.Errorf("a new certificate: %v", err)
	}
}

func TestRenewal(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		r := &rig{now: day0}
		s := r.open(t, dir)
		first := shown(t, s)
		r.now = day0.Add(260 * day)
		if !shown(t, s).Equal(first) {
			t.Error("renewed before two thirds of its life")
		}
		r.now = day0.Add(265 * day)
		second := shown(t, s)
		if second.Equal(first) || second.NotAfter.Sub(r.now) < 396*day {
			t.Errorf("not renewed after two thirds: until %v", second.NotAfter)
		}
		if err := second.CheckSignatureFrom(authority(t, s)); err != nil {
			t.Error(err)
		}
		if !shown(t, s).Equal(second) {
			t.Error("renewed twice")
		}
		if dir != "" && !shown(t, r.open(t, dir)).Equal(second) {
			t.Error("the renewed certificate was not kept")
		}
	}
}

// TestRenewalAtStart has a server stopped for long.
func TestRenewalAtStart(t *testing.T) {
	r := &rig{now: day0}
	dir := t.TempDir()
	first := r.open(t, dir)
	r.now = day0.Add(500 * day)
	second := r.open(t, dir)
	if !bytes.Equal(first.CA(), second.CA()) || !shown(t, second).NotAfter.After(r.now.Add(396*day)) {
		t.Errorf("until %v", shown(t, second).NotAfter)
	}
}

func TestEndOfAuthority(t *testing.T) {
	r := &rig{now: day0}
	dir := t.TempDir()
	ca := authority(t, r.open(t, dir))
	r.now = day0.Add(3500 * day)
	s := r.open(t, dir)
	last := shown(t, s)
	if !last.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("the certificate ends at %v, its authority at %v", last.NotAfter, ca.NotAfter)
	}
	r.now = day0.Add(3649 * day)
	if !shown(t, s).Equal(last) {
		t.Error("renewed, though it could not live longer")
	}
	r.now = day0.Add(3651 * day)
	if _, err := certs.Open(r.config(dir)); err == nil || !strings.Contains(err.Error(), "has ended at 2036") {
		t.Errorf("after the end: %v", err)
	}
}

// TestRenewalWithoutDisk has the directory go while the server runs.
func TestRenewalWithoutDisk(t *testing.T) {
	r := &rig{now: day0}
	dir := filepath.Join(t.TempDir(), "tls")
	s := r.open(t, dir)
	first := shown(t, s)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r.now = day0.Add(300 * day)
	if shown(t, s).Equal(first) {
		t.Error("not renewed in memory")
	}
	if !strings.Contains(r.log.String(), "cannot renew") && !strings.Contains(r.log.String(), "cannot keep") {
		t.Errorf("log: %s", &r.log)
	}
}

func TestBrokenFiles(t *testing.T) {
	other := t.TempDir()
	r := &rig{now: day0}
	r.open(t, other)
	foreign, err := os.ReadFile(filepath.Join(other, "server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(dir string) error
		want   string // in the error; empty if it is made good
	}{
		{"no key", func(dir string) error { return os.Remove(filepath.Join(dir, "ca-key.pem")) }, "ca-key.pem is missing beside"},
		{"key cut off", func(dir string) error { return os.Truncate(filepath.Join(dir, "ca-key.pem"), 100) }, "ca-key.pem is damaged"},
		{"key of no authority", func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca-key.pem"), foreign, 0o600) }, "not that of an authority"},
		{"key is a directory", func(dir string) error {
			name := filepath.Join(dir, "ca-key.pem")
			if err := os.Remove(name); err != nil {
				return err
			}
			return os.Mkdir(name, 0o700)
		}, "cannot read the key"},
		{"no copy", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.pem")) }, ""},
		{"copy of another", func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.pem"), foreign, 0o600) }, ""},
		{"no certificate", func(dir string) error { return os.Remove(filepath.Join(dir, "server.pem")) }, ""},
		{"certificate cut off", func(dir string) error { return os.Truncate(filepath.Join(dir, "server.pem"), 100) }, ""},
		{"certificate of another", func(dir string) error { return os.WriteFile(filepath.Join(dir, "server.pem"), foreign, 0o600) }, ""},
		{"nothing", os.RemoveAll, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tls")
			r := &rig{now: day0}
			before := r.open(t, dir)
			if err := tt.change(dir); err != nil {
				t.Fatal(err)
			}
			s, err := certs.Open(r.config(dir))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.name != "nothing" && !bytes.Equal(s.CA(), before.CA()) {
				t.Error("the authority is another")
			}
			if err := shown(t, s).CheckSignatureFrom(authority(t, s)); err != nil {
				t.Error(err)
			}
			if ca, err := certs.ReadCA(dir); err != nil || !bytes.Equal(ca, s.CA()) {
				t.Errorf("ca.pem: %v", err)
			}
		})
	}
}

func TestReadCA(t *testing.T) {
	dir := t.TempDir()
	if _, err := certs.ReadCA(dir); err == nil || !strings.Contains(err.Error(), "start streamd once") {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, certs.CAFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.ReadCA(dir); err == nil || !strings.Contains(err.Error(), "not a certificate") {
		t.Errorf("broken: %v", err)
	}
}

func TestFromFiles(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	r := &rig{now: day0}
	made := shown(t, r.open(t, dir))
	r.open(t, other)
	file := filepath.Join(dir, "server.pem")
	s, err := certs.FromFiles(file, file)
	if err != nil {
		t.Fatal(err)
	}
	if !shown(t, s).Equal(made) || s.CA() != nil {
		t.Error("not the certificate that was given")
	}
	for _, tt := range []struct{ name, cert, key, want string }{
		{"no certificate", filepath.Join(dir, "nope"), file, "the TLS certificate " + filepath.Join(dir, "nope") + " does not exist"},
		{"no key", file, filepath.Join(dir, "nope"), "the TLS key"},
		{"not a key", file, filepath.Join(dir, "ca.pem"), "cannot be used"},
		{"another's key", file, filepath.Join(other, "server.pem"), "belong together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := certs.FromFiles(tt.cert, tt.key); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestNothingSecretIsLogged reads the log of everything above that logs.
func TestNothingSecretIsLogged(t *testing.T) {
	r := &rig{now: day0}
	dir := t.TempDir()
	s := r.open(t, dir)
	r.now = day0.Add(300 * day)
	shown(t, s)
	key, err := os.ReadFile(filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if r.log.Len() == 0 {
		t.Fatal("nothing was logged")
	}
	for line := range strings.SplitSeq(string(key), "\n") {
		if len(line) > 10 && strings.Contains(r.log.String(), line) {
			t.Errorf("the log has %q", line)
		}
	}
}
