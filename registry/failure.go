package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// temporary reports whether trying again may help after err, which is not an
// answer of the registry.
func temporary(err error) bool {
	var (
		own   *Error
		local *localError
		cert  *certError
		dns   *net.DNSError
		te    *transport.Error
	)
	switch {
	case errors.As(err, &own), errors.As(err, &local), errors.As(err, &cert),
		errors.Is(err, errRedirect), errors.Is(err, http.ErrSchemeMismatch), isCertificate(err):
		return false
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.As(err, &te):
		return temporaryStatus(te.StatusCode)
	}
	return true
}

// isCertificate reports whether the registry's certificate, or ours, was
// refused.
func isCertificate(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
	)
	return errors.As(err, &verify) || errors.As(err, &alert)
}

// failure is the error for a request that got no answer.
func (s *session) failure(ctx context.Context, r call, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", r.op, r.object, context.Cause(ctx))
	}
	var (
		local *localError
		cert  *certError
		te    *transport.Error
	)
	switch {
	case errors.As(err, &local):
		return fmt.Errorf("%s %s: %w", r.op, r.object, local.err)
	case errors.As(err, &cert):
		return cert.err
	case errors.As(err, &te):
		return s.refusal(r, te, "")
	case errors.Is(err, errRedirect):
		return &Error{Op: r.op, Object: r.object, Kind: ErrProtocol, Err: withoutURL(err)}
	}
	cause, advice := s.explain(withoutURL(err))
	return &Error{Op: r.op, Object: r.object, Kind: ErrUnreachable, Err: cause, Advice: advice}
}

// withoutURL drops url.Error's method and address, which may hold secrets.
func withoutURL(err error) error {
	var ue *url.Error
	for errors.As(err, &ue) {
		err = ue.Err
	}
	return err
}

// explain turns the network's error into a cause and an advice.
func (s *session) explain(err error) (cause error, advice string) {
	host := s.end.apiHost()
	var (
		op        *net.OpError
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return fmt.Errorf("the proxy does not connect: %w", op.Err), "check the proxy settings (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("no host is named %q: %w", dns.Name, err), "check the registry's name; a reference without a host means Docker Hub"
	case errors.As(err, &dns):
		return err, "the name service does not answer; is the network up, or a proxy needed (HTTPS_PROXY)?"
	case errors.As(err, &authority):
		return fmt.Errorf("certificate of %s: %w", host, authority), "trust its authority with SSL_CERT_FILE or certs.d/" + certDirName(host) + "/ca.crt, or give --tls-no-verify"
	case errors.As(err, &name):
		return fmt.Errorf("certificate of %s: %w", host, name), "use the name in the certificate, or give --tls-no-verify"
	case errors.As(err, &invalid):
		return fmt.Errorf("certificate of %s: %w", host, invalid), "have the registry's certificate renewed, or give --tls-no-verify"
	case isCertificate(err):
		return fmt.Errorf("TLS with %s: %w", host, err), "does the registry want a client certificate (certs.d/" + certDirName(host) + "/client.cert)?"
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s speaks HTTP, not HTTPS", host), "--plain-http uses it without encryption"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connection to %s refused", host), "is the registry running, and its port right?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s broke the connection off: %w", host, err), "try again later; if it stays so, look for a proxy or firewall between"
	case errors.Is(err, errStalled):
		return err, "the connection hangs; try again, or look for a proxy or firewall between"
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return fmt.Errorf("%s does not answer: %w", host, err), "is the network up, or a proxy needed (HTTPS_PROXY)?"
	}
	return err, ""
}
