package streamd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/certs"
	"github.com/streamkit/streamkit/streamd/internal/sniff"
)

// TLSOff as Config.TLS means plain connections only.
const TLSOff = "off"

// checkTLS returns the errors in the settings of TLS.
func (c Config) checkTLS() []error {
	var errs []error
	switch c.TLS {
	case "", "on":
	case TLSOff:
		if c.TLSDir != "" || c.TLSCert != "" || c.TLSKey != "" || len(c.TLSNames) > 0 {
			errs = append(errs, errors.New("tls is off, but there are settings for it (tls-dir, tls-cert, tls-key or san); drop them, or say tls on"))
		}
	default:
		errs = append(errs, fmt.Errorf("tls %q is none of on and off", c.TLS))
	}
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		errs = append(errs, errors.New("of tls-cert and tls-key one is missing; give both, or none to use a certificate of streamd's own"))
	case c.TLSCert != "" && (c.TLSDir != "" || len(c.TLSNames) > 0):
		errs = append(errs, errors.New("tls-cert excludes tls-dir and san, which are about a certificate of streamd's own; say one"))
	}
	for _, name := range c.TLSNames {
		if !isHostName(name) {
			errs = append(errs, fmt.Errorf("san %q is not a host name or an address without a port", name))
		}
	}
	return errs
}

// isHostName reports whether a certificate can be for s.
func isHostName(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	s = strings.TrimPrefix(s, "*.")
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 253
}

// tlsDir returns the directory of the server's own certificates, empty if they
// are in memory.
func (c Config) tlsDir() string {
	if c.TLSDir == "" && c.DataDir != "" {
		return filepath.Join(c.DataDir, "tls")
	}
	return c.TLSDir
}

// CACertificate returns the certificate, in PEM, that clients must trust to use
// a server with this configuration over TLS. The server must have been started
// once with the same DataDir or TLSDir. Errors are for the operator, and say
// what to do.
func (c Config) CACertificate() ([]byte, error) {
	dir := c.tlsDir()
	if dir == "" {
		return nil, errors.New("a server in memory without a TLS directory makes a new authority at each start; give it one with --tls-dir")
	}
	return certs.ReadCA(dir)
}

// openTLS makes s.listener tell TLS connections from plain ones.
func (s *Server) openTLS() error {
	if s.set.TLS == TLSOff {
		return nil
	}
	var err error
	if s.set.TLSCert != "" {
		s.certs, err = certs.FromFiles(s.set.TLSCert, s.set.TLSKey)
	} else {
		s.certs, err = certs.Open(certs.Config{Dir: s.set.tlsDir(), Names: s.certNames(), Logger: s.log})
	}
	if err != nil {
		return err
	}
	s.listener = sniff.NewListener(s.listener, s.certs.TLS(), s.log)
	return nil
}

// certNames returns the names that the server's certificate is for: that of the
// machine, the address it listens on, and those that are configured.
func (s *Server) certNames() []string {
	names := s.set.TLSNames
	if name, err := os.Hostname(); err == nil && isHostName(name) {
		names = append([]string{name}, names...)
	}
	if host, _, err := net.SplitHostPort(s.set.Listen); err == nil && isHostName(host) {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
			names = append([]string{host}, names...)
		}
	}
	return names
}

// HTTPSEndpoint returns the URL of the AWS APIs over TLS, empty if TLS is off.
// It differs from [Server.Endpoint] in the scheme alone.
func (s *Server) HTTPSEndpoint() string {
	if s.certs == nil {
		return ""
	}
	return "https://" + reached(s.listener.Addr())
}

// CACertificate returns the certificate, in PEM, that clients must trust to use
// [Server.HTTPSEndpoint]. It is nil if TLS is off or Config.TLSCert is set.
func (s *Server) CACertificate() []byte {
	if s.certs == nil {
		return nil
	}
	return s.certs.CA()
}
