package docs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"
)

// gateway is an HTTP proxy behind which the names of the pages are: each host
// it knows is, with TLS, one of the test's registries; others are themselves.
// It makes the pages' commands work as they stand, without a line in /etc/hosts.
type gateway struct {
	*httptest.Server
	doors map[string]string // host to address of its TLS server
	certs map[string][]byte // registry to certificate, PEM
}

// newGateway takes for each registry (host:port, plain HTTP) the names it has.
func newGateway(t *testing.T, registries map[string][]string) *gateway {
	t.Helper()
	g := &gateway{doors: make(map[string]string), certs: make(map[string][]byte)}
	for registry, hosts := range registries {
		cert, text := newCertificate(t, hosts)
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			host := r.In.Host
			r.SetURL(&url.URL{Scheme: "http", Host: registry})
			r.Out.Host = host
			r.SetXForwarded()
		}}
		door := httptest.NewUnstartedServer(proxy)
		door.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		door.StartTLS()
		t.Cleanup(door.Close)
		for _, h := range hosts {
			g.doors[h] = door.Listener.Addr().String()
		}
		g.certs[registry] = text
	}
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			g.connect(w, r)
		} else {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(g.Server.Close)
	return g
}

func (g *gateway) address() string { return g.Server.Listener.Addr().String() }

// connect answers CONNECT HOST:PORT.
func (g *gateway) connect(w http.ResponseWriter, r *http.Request) {
	to := r.Host
	if door, ok := g.doors[r.URL.Hostname()]; ok {
		to = door
	}
	there, err := net.DialTimeout("tcp", to, 20*time.Second)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	go func() {
		_, _ = io.Copy(there, buffered) // ends with the connection
		_ = there.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(here, there)
}

// newCertificate signs itself.
func newCertificate(t *testing.T, hosts []string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, text.Bytes()
}
