package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// transports keeps one connection pool per host, because certs.d may give each
// host its own TLS configuration: a client certificate is never shown to the
// host that a redirect leads to.
type transports struct {
	opts *Options
	mu   sync.Mutex
	pool map[poolKey]*http.Transport
}

type poolKey struct {
	host     string
	insecure bool
}

func (t *transports) get(host string, insecure bool) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	insecure = insecure || t.opts.TLSNoVerify
	key := poolKey{host, insecure}
	if tr := t.pool[key]; tr != nil {
		return tr, nil
	}
	conf, err := t.tlsConfig(host)
	if err != nil {
		return nil, err
	}
	conf.InsecureSkipVerify = insecure
	// HTTP/1.1, because TLSClientConfig is set: layers come by connections of their
	// own, at half of the registry's processor time for one that is shared.
	tr := &http.Transport{
		Proxy: t.opts.Proxy,
		DialContext: (&net.Dialer{
			Timeout:   t.opts.Timeouts.Connect,
			KeepAlive: 30 * time.Second,
		}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: t.opts.Timeouts.Connect,
		DisableCompression:  true, // bytes must be those that were digested
		MaxIdleConnsPerHost: 16,
		// A refusal of a large upload is to arrive before its bytes are sent.
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
	}
	if t.pool == nil {
		t.pool = make(map[poolKey]*http.Transport)
	}
	t.pool[key] = tr
	return tr, nil
}

// close drops idle connections.
func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tr := range t.pool {
		tr.CloseIdleConnections()
	}
}

// tlsConfig reads docker's certs.d: in CertDirs/HOST[:PORT]/, *.crt are
// authorities beside the system's, NAME.cert and NAME.key a client
// certificate (docs.docker.com/engine/security/certificates).
func (t *transports) tlsConfig(host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, base := range t.opts.CertDirs {
		dir := filepath.Join(base, certDirName(host))
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read certificates of registry %s: %w", host, err)
		}
		for _, e := range entries {
			if err := addCertificate(conf, filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return conf, nil
}

// certDirName maps Docker Hub's API host back to the name people configure.
func certDirName(host string) string {
	if host == hubAPIHost {
		return hubHost
	}
	return host
}

func addCertificate(conf *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read certificate authority: %w", err)
		}
		if conf.RootCAs == nil {
			if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
				conf.RootCAs = x509.NewCertPool()
			}
		}
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read certificate authority %q: no PEM certificate in it", path)
		}
	case ".cert":
		cert, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
		if err != nil {
			return fmt.Errorf("read client certificate %q: %w", path, err)
		}
		conf.Certificates = append(conf.Certificates, cert)
	}
	return nil
}

// hostTransport is the http.RoundTripper of one session: host's own
// connections for host, ordinary ones for where redirects and token realms
// lead.
type hostTransport struct {
	all      *transports
	host     string
	insecure bool
	agent    string
}

func (h *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	tr, err := h.all.get(req.URL.Host, h.insecure && req.URL.Host == h.host)
	if err != nil {
		return nil, &certError{err}
	}
	if h.agent != "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", h.agent)
	}
	return tr.RoundTrip(req)
}

// certError is a configuration error, not the network's.
type certError struct{ err error }

func (e *certError) Error() string { return e.err.Error() }
func (e *certError) Unwrap() error { return e.err }

// errRedirect is a redirect that is not followed.
var errRedirect = errors.New("redirect refused")

// checkRedirect follows up to ten redirects. Authorization goes only to the
// very origin it was meant for: net/http itself would pass it on to another
// port or a subdomain. From HTTPS nothing leads down to HTTP.
func (s *session) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return fmt.Errorf("%w: more than 10 in a row", errRedirect)
	}
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		req.Header.Del("Authorization")
	}
	req.Header.Del("Referer")
	switch {
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return fmt.Errorf("%w: scheme %q", errRedirect, req.URL.Scheme)
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" && !s.end.insecure && !s.client.opts.TLSNoVerify:
		return fmt.Errorf("%w: from HTTPS to plain HTTP at %s", errRedirect, req.URL.Host)
	}
	return nil
}
