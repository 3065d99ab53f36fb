package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// authority is a certificate authority made for one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test authority"},
	})
	return a
}

func (a *authority) issue(tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore = time.Now().Add(-time.Hour)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// server returns a certificate for 127.0.0.1, or for name alone.
func (a *authority) server(name string, until time.Time) tls.Certificate {
	tmpl := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: until}
	if name == "" {
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		tmpl.DNSNames = []string{name}
	}
	cert, key := a.issue(tmpl)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// client writes NAME.cert and NAME.key.
func (a *authority) client(dir, name string) {
	cert, key := a.issue(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	write(a.t, filepath.Join(dir, name+".cert"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	write(a.t, filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func serveTLS(t *testing.T, conf *tls.Config) *server {
	t.Helper()
	s := &server{t: t, inner: newRegistry()}
	s.Server = httptest.NewUnstartedServer(s)
	s.TLS = conf
	s.Config.ErrorLog = log.New(&s.refused, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	good := ca.server("", time.Time{})
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good}})
	wrongName := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.server("registry.test", time.Time{})}})
	expired := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.server("", time.Now().Add(-time.Minute))}})
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	mutual := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	for _, s := range []*server{s, wrongName, expired, mutual} {
		s.putImage("app", "t", "linux/amd64", []byte("x"))
	}
	certs := t.TempDir()
	for _, s := range []*server{s, wrongName, expired, mutual} {
		write(t, filepath.Join(certs, s.host(), "ca.crt"), ca.pem())
	}
	withClient := t.TempDir()
	ca.client(filepath.Join(withClient, mutual.host()), "client")
	junk := t.TempDir()
	write(t, filepath.Join(junk, s.host(), "ca.crt"), []byte("not PEM"))

	tests := []struct {
		name string
		s    *server
		opts Options
		says string // empty: success
		hint string
	}{
		{"unknown authority", s, Options{}, "signed by unknown authority", "--tls-no-verify"},
		{"no verification", s, Options{TLSNoVerify: true}, "", ""},
		{"certs.d", s, Options{CertDirs: []string{filepath.Join(certs, "none"), certs}}, "", ""},
		{"wrong name", wrongName, Options{CertDirs: []string{certs}}, "certificate of 127.0.0.1:", "use the name"},
		{"expired", expired, Options{CertDirs: []string{certs}}, "expired", "renewed"},
		{"no client certificate", mutual, Options{CertDirs: []string{certs}}, "TLS with 127.0.0.1:", "client certificate"},
		{"client certificate", mutual, Options{CertDirs: []string{certs, withClient}}, "", ""},
		{"bad authority file", s, Options{CertDirs: []string{junk}}, "no PEM certificate", ""},
	}
	for _, tt := range tests {
		_, err := quick(t, tt.opts).Resolve(t.Context(), parseRef(t, "%s/app:t", tt.s.host()), amd64())
		if tt.says == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
		}
		var e *Error
		if errors.As(err, &e) && (e.Kind != ErrUnreachable || !strings.Contains(e.Hint(), tt.hint)) || tt.hint != "" && e == nil {
			t.Errorf("%s: kind %v, hint %q, want %q in it", tt.name, e.Kind, e.Hint(), tt.hint)
		}
	}
	// No plain HTTP was tried after a certificate had been refused.
	if said := s.refused.String(); strings.Contains(said, "HTTP request to an HTTPS server") || !strings.Contains(said, "TLS handshake error") {
		t.Errorf("the registry noted %s", said)
	}
	if n := s.count("GET", "/v2/"); n != 6 {
		t.Errorf("%d requests reached the registry, want the 6 of the two that could trust it", n)
	}
}

// From HTTPS nothing leads to plain HTTP.
func TestRedirectDown(t *testing.T) {
	ca := newAuthority(t)
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.server("", time.Time{})}})
	plain := serve(t)
	blob := random(100, 1)
	d := Descriptor{Digest: plain.putBlob("a", blob), Size: 100}
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
		return true
	})
	certs := t.TempDir()
	write(t, filepath.Join(certs, s.host(), "ca.crt"), ca.pem())
	if _, err := readBlob(t, quick(t, Options{CertDirs: []string{certs}}), s, d); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "plain HTTP") {
		t.Errorf("got %v", err)
	}
	if _, err := readBlob(t, quick(t, Options{TLSNoVerify: true}), s, d); err != nil {
		t.Errorf("with TLSNoVerify: %v", err)
	}
}

func TestSchemes(t *testing.T) {
	for _, tt := range []struct {
		host string
		opts Options
		want string
	}{
		{"127.0.0.1:5000", Options{}, "https http"}, {"127.9.8.7", Options{}, "https http"}, {"localhost:1", Options{}, "https http"},
		{"LOCALHOST", Options{}, "https http"}, {"[::1]:5000", Options{}, "https http"}, {"[::ffff:127.0.0.1]", Options{}, "https http"},
		{"10.0.0.1:5000", Options{}, "https"}, {"192.168.1.1", Options{}, "https"}, {"localhost.example.org", Options{}, "https"},
		{"a.localhost", Options{}, "https"}, {"docker.io", Options{}, "https"}, {"128.0.0.1", Options{}, "https"},
		{"127.0.0.1.example.org:80", Options{}, "https"}, {"10.0.0.1:5000", Options{PlainHTTP: true}, "http"},
	} {
		c := quick(t, tt.opts)
		if got := strings.Join(c.schemes(endpoint{host: tt.host}), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.host, got, tt.want)
		}
	}
	if got := (endpoint{host: "docker.io"}).apiHost(); got != "registry-1.docker.io" {
		t.Errorf("Docker Hub is asked at %s", got)
	}
}

// Everything that may stand, or not stand, where a registry should.
func TestUnreachable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr().String()
	_ = closed.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>")
	}))
	defer web.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	proxy := func(*http.Request) (*url.URL, error) { return url.Parse("http://" + refused) }
	tests := []struct {
		name, host, says, hint string
		opts                   Options
		kind                   error
	}{
		{"refused", refused, "connection to " + refused + " refused", "running", Options{}, ErrUnreachable},
		{"proxy down", "registry.invalid", "the proxy does not connect", "HTTPS_PROXY", Options{Proxy: proxy}, ErrUnreachable},
		{"accepts and says nothing", mute.Addr().String(), "does not answer", "network", Options{}, ErrUnreachable},
		{"a web server", web.Listener.Addr().String(), "does not answer as a registry does", "port", Options{}, ErrProtocol},
		{"another server", other.Listener.Addr().String(), "does not answer as a registry does", "port", Options{}, ErrProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Timeouts.Connect = 300 * time.Millisecond
			tt.opts.Timeouts.Header = 300 * time.Millisecond
			tt.opts.Retry = Retry{Attempts: 2, Initial: time.Millisecond}
			c, err := New(tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Resolve(t.Context(), parseRef(t, "%s/a:t", tt.host), amd64())
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Error(), tt.says) || !strings.Contains(e.Hint(), tt.hint) {
				t.Fatalf("got %v (hint %q), want %q (hint %q)", err, e.Hint(), tt.says, tt.hint)
			}
		})
	}
}

// What needs a network of its own to happen.
func TestExplain(t *testing.T) {
	c := quick(t, Options{})
	s := c.session(endpoint{host: "docker.io"})
	for _, tt := range []struct {
		err        error
		says, hint string
		again      bool // worth it
	}{
		{&net.DNSError{Name: "no.example", IsNotFound: true}, `no host is named "no.example"`, "Docker Hub", false},
		{&net.DNSError{Name: "no.example", IsTimeout: true}, "no.example", "name service", true},
		{&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}, "the proxy does not connect", "HTTPS_PROXY", true},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "registry-1.docker.io does not answer", "network", true},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "broke the connection off", "again", true},
		{tls.RecordHeaderError{Msg: "x"}, "does not speak TLS", "--plain-http", false},
		{http.ErrSchemeMismatch, "speaks HTTP", "--plain-http", false},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "certificate of registry-1.docker.io", "certs.d/docker.io/ca.crt", false},
	} {
		err := s.failure(t.Context(), call{op: "fetch", object: "x"}, &url.Error{Op: "Get", URL: "https://x/?sig=hush", Err: tt.err})
		var e *Error
		if !errors.As(err, &e) || e.Kind != ErrUnreachable || !strings.Contains(e.Error(), tt.says) || !strings.Contains(e.Hint(), tt.hint) || strings.Contains(e.Error(), "hush") {
			t.Errorf("%v becomes %v (hint %q), want %q (%q)", tt.err, err, e.Hint(), tt.says, tt.hint)
		}
		if got := temporary(tt.err); got != tt.again {
			t.Errorf("%v: temporary %v", tt.err, got)
		}
	}
}
