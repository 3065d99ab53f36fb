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
		plain tls.RecordHeaderError
		dns   *net.DNSError
		te    *transport.Error
	)
	switch {
	case errors.As(err, &own), errors.As(err, &local), errors.As(err, &cert), errors.As(err, &plain),
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
		op     *net.OpError
	)
	// A TLS alert that the server sent is a net.OpError of this name
	// (crypto/tls, Conn.readRecord).
	return errors.As(err, &verify) || errors.As(err, &op) && op.Op == "remote error"
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

// reworded is an error in better words; the original is still there for
// errors.Is.
type reworded struct {
	text string
	err  error
}

func (r *reworded) Error() string { return r.text }
func (r *reworded) Unwrap() error { return r.err }

func reword(err error, format string, a ...any) error {
	return &reworded{fmt.Sprintf(format, a...), err}
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
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return fmt.Errorf("the proxy does not connect: %w", op), "check the proxy settings (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"
	case errors.As(err, &dns) && dns.IsNotFound:
		return reword(err, "no host is named %q", dns.Name), "check the registry's name; a reference without a host means Docker Hub"
	case errors.As(err, &dns):
		return err, "the name service does not answer; is the network up, or a proxy needed (HTTPS_PROXY)?"
	case errors.As(err, &authority):
		return reword(err, "certificate of %s: %v", host, authority), "trust its authority with SSL_CERT_FILE or certs.d/" + certDirName(host) + "/ca.crt, or give --tls-no-verify"
	case errors.As(err, &name):
		return reword(err, "certificate of %s: %v", host, name), "use the name in the certificate, or give --tls-no-verify"
	case errors.As(err, &invalid):
		return reword(err, "certificate of %s: %v", host, invalid), "have the registry's certificate renewed, or give --tls-no-verify"
	case isCertificate(err):
		return fmt.Errorf("TLS with %s: %w", host, err), "does the registry want a client certificate (certs.d/" + certDirName(host) + "/client.cert)?"
	case errors.Is(err, http.ErrSchemeMismatch):
		return reword(err, "%s speaks HTTP, not HTTPS", host), "--plain-http uses it without encryption"
	case errors.As(err, &record):
		return reword(err, "%s does not speak TLS", host), "is the port right? --plain-http does without TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return reword(err, "connection to %s refused", host), "is the registry running, and its port right?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return reword(err, "%s broke the connection off", host), "try again later; if it stays so, look for a proxy or firewall between"
	case errors.Is(err, errStalled):
		return fmt.Errorf("%s does not answer: %w", host, err), "try again; is the network up, or a proxy needed (HTTPS_PROXY)?"
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return reword(err, "%s does not answer", host), "is the network up, or a proxy needed (HTTPS_PROXY)?"
	}
	return err, ""
}
