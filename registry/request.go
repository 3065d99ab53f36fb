package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// call is one request to the registry's API and what it is for.
type call struct {
	op, object string // for errors
	method     string
	url        string // absolute, or the path below the registry
	header     http.Header
	scope      scope
	body       func(context.Context) (io.ReadCloser, error) // nil: none
	size       int64                                        // of body
	moved      func(int64)                                  // hears of body bytes sent
	ok         []int                                        // answers that are no error
	once       bool                                         // the caller retries
	hasty      bool                                         // a refused connection is final
}

// accepts reports whether the caller wants to see the status.
func (r *call) accepts(status int) bool {
	for _, s := range r.ok {
		if s == status {
			return true
		}
	}
	return false
}

// do sends a request, authenticated, retried, and returns an answer whose
// status is one of r.ok. The caller closes its body.
func (s *session) do(ctx context.Context, r call) (*http.Response, error) {
	base, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(r.url, "/") {
		r.url = base + r.url
	}
	attempt := func(ctx context.Context) (*http.Response, error) { return s.authenticated(ctx, r) }
	var resp *http.Response
	if r.once {
		if resp, err = attempt(ctx); err != nil {
			return nil, s.failure(ctx, r, err)
		}
	} else if resp, err = s.retry(ctx, r, attempt); err != nil {
		return nil, err
	}
	if r.accepts(resp.StatusCode) {
		return resp, nil
	}
	after := resp.Header.Get("Retry-After")
	return nil, s.refusal(r, serverError(resp, s.client.opts.Timeouts.Header), after)
}

// newRequest builds the HTTP request of one attempt.
func (s *session) newRequest(ctx context.Context, r call, authorization string) (*http.Request, *watchedUpload, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, nil)
	if err != nil {
		return nil, nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if authorization != "" && sameOrigin(r.url, s.base) {
		req.Header.Set("Authorization", authorization)
	}
	if r.body == nil || r.size == 0 {
		return req, nil, nil
	}
	wrap := func() (*watchedUpload, error) {
		body, err := r.body(ctx)
		if err != nil {
			return nil, &localError{err}
		}
		t := s.client.opts.Timeouts
		return &watchedUpload{body: body, stall: t.Stall, finish: 10 * t.Header, moved: r.moved}, nil
	}
	up, err := wrap()
	if err != nil {
		return nil, nil, err
	}
	req.ContentLength = r.size
	req.GetBody = func() (io.ReadCloser, error) { // for redirects 307 and 308
		again, err := wrap()
		if err != nil {
			return nil, err
		}
		again.dog = up.dog
		return again, nil
	}
	return req, up, nil
}

// sameOrigin reports whether an absolute URL is at base (scheme://host).
func sameOrigin(url, base string) bool {
	rest, ok := strings.CutPrefix(url, base)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// localError is a failure on our side: of a file that is pushed, or of the
// caller's own reader. It is never retried.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// retry repeats attempt after failures that time may heal.
func (s *session) retry(ctx context.Context, r call, attempt func(context.Context) (*http.Response, error)) (*http.Response, error) {
	for n := 1; ; n++ {
		resp, err := attempt(ctx)
		if err == nil && (!temporaryStatus(resp.StatusCode) || r.accepts(resp.StatusCode)) {
			return resp, nil
		}
		var wait time.Duration
		if err != nil {
			if ctx.Err() != nil || !temporary(err) || r.hasty && errors.Is(err, syscall.ECONNREFUSED) || n >= s.client.opts.Retry.Attempts {
				return nil, s.failure(ctx, r, err)
			}
			wait = s.client.backoff(n)
		} else {
			after := resp.Header.Get("Retry-After")
			var ok bool
			wait, ok = retryAfter(after, time.Now())
			te := serverError(resp, s.client.opts.Timeouts.Header)
			if wait > s.client.opts.Retry.Max || n >= s.client.opts.Retry.Attempts {
				return nil, s.refusal(r, te, after)
			}
			if !ok {
				wait = s.client.backoff(n)
			}
			err = te
		}
		s.client.log.Debug("retry", "operation", r.op, "object", r.object, "attempt", n, "wait", wait, "cause", err)
		if err := sleep(ctx, wait); err != nil {
			return nil, s.failure(ctx, r, err)
		}
	}
}

// backoff is the wait after attempt n failed: doubled each time, shortened by
// up to a half at random so that many clients do not return together.
func (c *Client) backoff(n int) time.Duration {
	d := min(c.opts.Retry.Initial<<min(n-1, 16), c.opts.Retry.Max)
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// retryAfter reads the header of RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(h string, now time.Time) (time.Duration, bool) {
	if h == "" {
		return 0, false
	}
	if n, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

func temporaryStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// statusError is the status of an answer and what the registry said with it.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// refusesMethod reports whether err is an answer by which a registry may mean
// the kind of request (HEAD, a range) and not what was asked for.
func refusesMethod(err error) bool {
	var answer *statusError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusRequestedRangeNotSatisfiable, http.StatusNotImplemented:
		return true
	}
	return false
}

// refusal is the error for an answer that was not wanted.
func (s *session) refusal(r call, te *transport.Error, after string) *Error {
	status := &statusError{te.StatusCode, diagnosis(te)}
	e := &Error{Op: r.op, Object: r.object, Err: status}
	switch te.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return s.unauthorized(r, status)
	case http.StatusNotFound:
		e.Kind = ErrNotFound
		e.Err = fmt.Errorf("not found in registry %s (%w)", s.end.host, status)
		e.Advice = "check the spelling of name and tag"
	case http.StatusTooManyRequests:
		e.Kind = ErrRateLimited
		e.Advice = "wait a while; registries allow more to users who are logged in (virga login)"
		if after != "" {
			e.Err = fmt.Errorf("%w (retry after %s)", status, after)
		}
	default:
		e.Kind = ErrProtocol
		if te.StatusCode >= 500 {
			e.Kind = ErrUnreachable
			e.Advice = "the trouble is the registry's; try again later"
		}
	}
	return e
}

// diagnosis is one line about a refused request, without its URL: signed URLs
// of blob stores are secrets.
func diagnosis(te *transport.Error) string {
	status := fmt.Sprintf("status %d %s", te.StatusCode, http.StatusText(te.StatusCode))
	if len(te.Errors) == 0 {
		return status
	}
	d := te.Errors[0]
	text := oneLine(strings.TrimSpace(d.Message))
	if text == "" {
		text = string(d.Code)
	}
	return fmt.Sprintf("status %d: %s", te.StatusCode, text)
}
