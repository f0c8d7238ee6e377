// Package certs keeps the certificates of a server: those that it is given, or
// those of a certificate authority of its own.
//
// An authority of its own lives in a directory:
//
//	ca.pem       its certificate, which clients must trust
//	ca-key.pem   its certificate and key
//	server.pem   the server's certificate and key, made anew when it is due
//	LOCK         held by a server while it reads or makes them
//
// ca-key.pem is what counts: it is written at once, so that no crash leaves a
// key without its certificate, and ca.pem is a copy for those who read it.
package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

// Names of files in the directory of an authority.
const (
	CAFile     = "ca.pem"
	caKeyFile  = "ca-key.pem"
	serverFile = "server.pem"
	lockFile   = "LOCK"
)

const (
	caLife = 10 * 365 * 24 * time.Hour
	// leafLife is the longest that clients of any kind accept.
	leafLife = 397 * 24 * time.Hour
	// skew is how far a client's clock may be behind.
	skew = time.Hour
)

// Config says how to open a [Source] with an authority of its own.
type Config struct {
	// Dir is the authority's directory, made if it does not exist. Empty keeps
	// the authority in memory.
	Dir string
	// Names are the names and addresses that the certificate is for, beside
	// localhost, 127.0.0.1 and ::1.
	Names  []string
	FS     vfs.FS           // default vfs.OS
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default slog.Default()
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Names = append([]string{"localhost", "127.0.0.1", "::1"}, c.Names...)
	return c
}

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Open returns the certificates of the authority in cfg.Dir, which it makes if
// it is not there. Errors are for the operator, and say what to do.
func Open(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg.withDefaults()}
	var err error
	if cfg.Dir != "" {
		if err := s.cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, cannotWrite(err)
		}
		defer s.cfg.lock()()
		s.ca, err = s.cfg.openCA()
	} else {
		s.ca, err = s.cfg.newCA()
	}
	if err != nil {
		return nil, err
	}
	leaf, ok := s.readLeaf()
	if !ok {
		if leaf, err = s.renew(); err != nil {
			return nil, err
		}
	}
	s.leaf.Store(leaf)
	return s, nil
}

// lock keeps other servers that start on the directory now from making an
// authority too. The caller must call unlock. Without a lock it goes on: a
// directory that cannot be written to has all that is needed, or the write will
// say why.
func (c Config) lock() (unlock func()) {
	const tries, pace = 250, 20 * time.Millisecond // making takes milliseconds
	for range tries {
		l, err := c.FS.Lock(filepath.Join(c.Dir, lockFile))
		if err == nil {
			return func() { _ = l.Close() } // the end of the process does the same
		}
		if !errors.Is(err, vfs.ErrLocked) {
			break
		}
		<-time.After(pace)
	}
	return func() {}
}

// ReadCA returns the certificate of the authority in dir, in PEM.
func ReadCA(dir string) ([]byte, error) {
	name := filepath.Join(dir, CAFile)
	b, err := vfs.ReadFile(vfs.OS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no certificate authority in %s; start streamd once with this directory, and it makes one", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate of the authority: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s is not a certificate in PEM; remove it and start streamd, which writes it again", name)
	}
	return pem.EncodeToMemory(block), nil // whatever else is in the file stays there
}

// openCA reads the authority's files, or makes them.
func (c Config) openCA() (pair, error) {
	name := filepath.Join(c.Dir, caKeyFile)
	copyName := filepath.Join(c.Dir, CAFile)
	b, err := vfs.ReadFile(c.FS, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := c.FS.Stat(copyName); err == nil {
			return pair{}, fmt.Errorf("%s is missing beside %s; restore it, or remove both to make a new authority, which clients must trust anew", name, copyName)
		}
		return c.makeCA(name, copyName)
	case err != nil:
		return pair{}, fmt.Errorf("cannot read the key of the certificate authority: %w; make it readable, or turn TLS off with --tls=off", err)
	}
	ca, err := parsePair(b)
	if err == nil && !ca.cert.IsCA {
		err = errors.New("its certificate is not that of an authority")
	}
	if err != nil {
		return pair{}, fmt.Errorf("%s is damaged (%w); restore it, or remove it and %s to make a new authority, which clients must trust anew", name, err, copyName)
	}
	if now := c.Now(); !now.Before(ca.cert.NotAfter) {
		return pair{}, fmt.Errorf("the certificate authority in %s has ended at %s; remove %s and %s to make a new one, which clients must trust anew", c.Dir, ca.cert.NotAfter.Format(time.DateOnly), name, copyName)
	}
	text := certPEM(ca.cert.Raw)
	if b, err := vfs.ReadFile(c.FS, copyName); err != nil || !bytes.Equal(b, text) {
		if err := vfs.WriteFile(c.FS, copyName, text, 0o600); err != nil {
			return pair{}, cannotWrite(err)
		}
	}
	return ca, nil
}

func (c Config) makeCA(name, copyName string) (pair, error) {
	ca, err := c.newCA()
	if err != nil {
		return pair{}, err
	}
	text, err := pairPEM(ca)
	if err != nil {
		return pair{}, err
	}
	if err := vfs.WriteFile(c.FS, name, text, 0o600); err != nil {
		return pair{}, cannotWrite(err)
	}
	if err := vfs.WriteFile(c.FS, copyName, certPEM(ca.cert.Raw), 0o600); err != nil {
		return pair{}, cannotWrite(err)
	}
	c.Logger.Info("made a certificate authority", slog.String("certificate", copyName))
	return ca, nil
}

func cannotWrite(err error) error {
	return fmt.Errorf("cannot keep the server's certificates: %w; choose another directory with --tls-dir, or turn TLS off with --tls=off", err)
}

// newCA makes an authority. Its number is in its name, so that two of them in
// one trust store can be told apart.
func (c Config) newCA() (pair, error) {
	serial, err := newSerial()
	if err != nil {
		return pair{}, err
	}
	now := c.Now()
	return sign(&x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"streamd"}, CommonName: fmt.Sprintf("streamd CA %x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
}

// newLeaf makes a certificate for the server.
func (c Config) newLeaf(ca pair) (pair, error) {
	serial, err := newSerial()
	if err != nil {
		return pair{}, err
	}
	from := c.Now().Add(-skew)
	until := from.Add(leafLife)
	if until.After(ca.cert.NotAfter) {
		until = ca.cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"streamd"}, CommonName: "localhost"},
		NotBefore:             from,
		NotAfter:              until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	seen := make(map[string]bool)
	for _, name := range c.Names {
		if name = strings.ToLower(name); seen[name] {
			continue
		}
		seen[name] = true
		if ip, err := netip.ParseAddr(name); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	return sign(t, &ca)
}

// sign makes a key, and a certificate for it by ca, or by itself if ca is nil.
func sign(t *x509.Certificate, ca *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make a key: %w", err)
	}
	if ca == nil {
		ca = &pair{cert: t, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return pair{}, fmt.Errorf("make a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, fmt.Errorf("make a certificate: %w", err)
	}
	return pair{cert: cert, key: key}, nil
}

// newSerial returns a number of 16 bytes, positive and of full length.
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pairPEM(p pair) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return append(certPEM(p.cert.Raw), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

// parsePair reads a file that holds a certificate and its key. Its errors do
// not repeat what is in the file.
func parsePair(b []byte) (pair, error) {
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return pair{}, err
	}
	key, ok := c.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return pair{}, errors.New("its key is not one of ECDSA")
	}
	return pair{cert: c.Leaf, key: key}, nil
}
