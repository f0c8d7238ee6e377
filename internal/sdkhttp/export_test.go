package sdkhttp

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
)

// Trust makes client accept the certificate of a test server.
func Trust(client *http.Client, srv *httptest.Server) {
	pool := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	t := client.Transport.(*transport)
	t.bulk.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	t.streaming.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
}
