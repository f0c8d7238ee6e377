package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

// Source has the certificate that a server shows. It is safe for concurrent
// use.
type Source struct {
	cfg  Config
	ca   pair // none if the certificate was given
	leaf atomic.Pointer[leaf]

	renewing sync.Mutex // held by the one that makes a certificate
}

// leaf is a certificate of the server with what a handshake needs.
type leaf struct {
	tls.Certificate
	due time.Time // when another should be made; zero for never
}

// FromFiles returns a Source that shows the certificate in one file with the
// key in another, both in PEM.
func FromFiles(certFile, keyFile string) (*Source, error) {
	for _, f := range []struct{ what, name string }{{"certificate", certFile}, {"key", keyFile}} {
		file, err := vfs.Open(vfs.OS, f.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the TLS %s %s does not exist; give the right file, or none to use a certificate of streamd's own", f.what, f.name)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the TLS %s: %w; make it readable for streamd", f.what, err)
		}
		_ = file.Close() // it was only opened
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("the TLS certificate %s and the key %s cannot be used: %s; both must be PEM, and belong together", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	s := new(Source)
	s.leaf.Store(&leaf{Certificate: cert})
	return s, nil
}

// CA returns the certificate of the authority in PEM, nil if the server's
// certificate was given.
func (s *Source) CA() []byte {
	if s.ca.cert == nil {
		return nil
	}
	return certPEM(s.ca.cert.Raw)
}

// TLS returns the configuration of a server that shows the certificate, and
// speaks HTTP.
func (s *Source) TLS() *tls.Config {
	return &tls.Config{
		GetCertificate: s.certificate,
		NextProtos:     []string{"h2", "http/1.1"},
		MinVersion:     tls.VersionTLS12,
	}
}

// certificate returns the certificate to show, and makes another when it is
// due. One handshake waits for that, the others show the old one meanwhile.
func (s *Source) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	l := s.leaf.Load()
	if l.due.IsZero() || s.cfg.Now().Before(l.due) || !s.renewing.TryLock() {
		return &l.Certificate, nil
	}
	defer s.renewing.Unlock()
	if current := s.leaf.Load(); current != l {
		return &current.Certificate, nil
	}
	renewed, err := s.renew()
	if err != nil {
		s.cfg.Logger.Error("cannot renew the server's certificate", slog.Any("err", err))
		if renewed == nil {
			return &l.Certificate, nil
		}
	}
	s.leaf.Store(renewed)
	return &renewed.Certificate, nil
}

// renew makes a certificate and writes it down. If only that fails it returns
// both the certificate and the error.
func (s *Source) renew() (*leaf, error) {
	p, err := s.cfg.newLeaf(s.ca)
	if err != nil {
		return nil, err
	}
	l := s.newLeaf(p)
	if s.cfg.Dir == "" {
		return l, nil
	}
	text, err := pairPEM(p)
	if err != nil {
		return l, err
	}
	if err := vfs.WriteFile(s.cfg.FS, filepath.Join(s.cfg.Dir, serverFile), text, 0o600); err != nil {
		return l, cannotWrite(err)
	}
	s.cfg.Logger.Info("made a certificate for the server",
		slog.Time("until", p.cert.NotAfter), slog.String("names", strings.Join(p.cert.DNSNames, " ")))
	return l, nil
}

// newLeaf returns p as a leaf, which is due for renewal after two thirds of its
// life. One that lives as long as the authority cannot be renewed.
func (s *Source) newLeaf(p pair) *leaf {
	l := &leaf{Certificate: tls.Certificate{
		Certificate: [][]byte{p.cert.Raw, s.ca.cert.Raw}, PrivateKey: p.key, Leaf: p.cert,
	}}
	if p.cert.NotAfter.Before(s.ca.cert.NotAfter) {
		l.due = p.cert.NotBefore.Add(p.cert.NotAfter.Sub(p.cert.NotBefore) / 3 * 2)
	}
	return l
}

// readLeaf returns the certificate that an earlier run has made, if it will do:
// one that is damaged, due, of another authority or for other names will not.
func (s *Source) readLeaf() (*leaf, bool) {
	if s.cfg.Dir == "" {
		return nil, false
	}
	b, err := vfs.ReadFile(s.cfg.FS, filepath.Join(s.cfg.Dir, serverFile))
	if err != nil {
		return nil, false
	}
	p, err := parsePair(b)
	if err != nil || p.cert.CheckSignatureFrom(s.ca.cert) != nil {
		return nil, false
	}
	now := s.cfg.Now()
	l := s.newLeaf(p)
	if now.Before(p.cert.NotBefore) || !now.Before(p.cert.NotAfter) || !l.due.IsZero() && !now.Before(l.due) {
		return nil, false
	}
	missing := func(name string) bool { return !covers(p.cert, name) }
	return l, !slices.ContainsFunc(s.cfg.Names, missing)
}

// covers reports whether cert is for a name or an address.
func covers(cert *x509.Certificate, name string) bool {
	return cert.VerifyHostname(strings.ToLower(name)) == nil
}
