package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// session is the conversation with one registry: which scheme it speaks, how
// it wants to be authenticated, and the tokens it gave.
type session struct {
	client *Client
	end    endpoint // host and insecure; the repository is that of the first use
	http   http.Client

	pingMu sync.Mutex
	base   string // scheme://host, once known

	auth authState
}

// session returns the conversation with the registry of e, begun or not.
func (c *Client) session(e endpoint) *session {
	type key struct {
		host     string
		insecure bool
	}
	k := key{e.apiHost(), e.insecure}
	if s, ok := c.sessions.Load(k); ok {
		return s.(*session)
	}
	s := &session{client: c, end: e}
	s.http = http.Client{
		Transport:     &hostTransport{all: &c.transports, host: e.apiHost(), insecure: e.insecure, agent: c.opts.UserAgent},
		CheckRedirect: s.checkRedirect,
	}
	got, _ := c.sessions.LoadOrStore(k, s)
	return got.(*session)
}

// open finds out once which scheme the registry speaks and how it wants to be
// authenticated, by GET /v2/ (distribution specification, end-1).
func (s *session) open(ctx context.Context) (base string, err error) {
	s.pingMu.Lock()
	defer s.pingMu.Unlock()
	if s.base != "" {
		return s.base, nil
	}
	var first error
	for _, scheme := range s.client.schemes(s.end) {
		base, err := s.ping(ctx, scheme+"://"+s.end.apiHost())
		if err == nil {
			s.base = base
			s.client.log.Debug("registry answers", "registry", s.end.host, "base", base)
			return base, nil
		}
		if first == nil || errors.Is(first, http.ErrSchemeMismatch) || errors.Is(first, syscall.ECONNREFUSED) {
			first = err
		}
		if !mayFallBack(err) {
			break
		}
	}
	return "", first
}

// ping asks /v2/ and notes the challenge. A registry that redirects its own
// host to HTTPS is spoken to in HTTPS from then on.
func (s *session) ping(ctx context.Context, base string) (string, error) {
	what := call{op: "reach registry", object: s.end.host, hasty: true}
	resp, err := s.retry(ctx, what, func(ctx context.Context) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v2/", nil)
		if err != nil {
			return nil, err
		}
		return s.send(req, nil)
	})
	if err != nil {
		return "", err
	}
	defer discard(resp.Body)
	if u := resp.Request.URL; u.Scheme == "https" && u.Hostname() == hostname(s.end.apiHost()) {
		base = "https://" + u.Host
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return base, s.auth.learn(ctx, s, resp)
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusMethodNotAllowed:
		// What is asked for next may be allowed.
	case resp.StatusCode >= 400 || isHTML(resp):
		return "", &Error{
			Op: what.op, Object: what.object, Kind: ErrProtocol,
			Err:    fmt.Errorf("it does not answer as a registry does (%s, %q, for /v2/)", resp.Status, resp.Header.Get("Content-Type")),
			Advice: "is this the registry's name and port, and is there a proxy or a login page between?",
		}
	}
	return base, nil
}

// mayFallBack: a server whose certificate is wrong speaks TLS, HTTP is no
// remedy; nor is it when the time is up.
func mayFallBack(err error) bool {
	return errors.Is(err, ErrUnreachable) && !isCertificate(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// send makes one attempt under a watchdog that also guards the body of the
// answer. body, if there is one, is read under it as well.
func (s *session) send(req *http.Request, up *watchedUpload) (*http.Response, error) {
	t := s.client.opts.Timeouts
	dog := newWatchdog(req.Context(), t.Header)
	req = req.WithContext(dog.ctx)
	if up != nil {
		up.dog = dog
		req.Body = up
	}
	resp, err := s.http.Do(req)
	if err != nil {
		err = dog.explain(err)
		dog.stop()
		return nil, err
	}
	dog.pause()
	resp.Body = &watchedBody{body: resp.Body, dog: dog, limit: t.Stall}
	return resp, nil
}

// discard reads what little is left, so that the connection can be used again.
func discard(body io.ReadCloser) {
	defer bounded(body, time.Second)()
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

func isHTML(resp *http.Response) bool {
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return t == "text/html"
}

// serverError reads what the registry has to say about a refused request.
func serverError(resp *http.Response, timeout time.Duration) *transport.Error {
	defer discard(resp.Body)
	defer bounded(resp.Body, min(timeout, 10*time.Second))()
	page := isHTML(resp)
	var te *transport.Error
	err := transport.CheckError(resp)
	if !errors.As(err, &te) || page {
		te = &transport.Error{StatusCode: resp.StatusCode, Request: resp.Request}
	}
	return te
}
