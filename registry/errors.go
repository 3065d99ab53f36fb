package registry

import (
	"errors"

	"virga/image"
)

// The kinds of failure, for errors.Is.
var (
	ErrUnreachable  = errors.New("registry not reachable") // no connection, TLS, proxy, time-outs
	ErrUnauthorized = errors.New("not authorized")         // 401 and 403
	ErrNotFound     = errors.New("not found")              // no such image, tag or blob
	ErrRateLimited  = errors.New("too many requests")      // 429 to the end
	ErrPlatform     = errors.New("platform not available") // always a *PlatformError
	ErrUnsupported  = errors.New("not supported")          // schema 1, foreign layers, artifacts
	ErrProtocol     = errors.New("unexpected answer")      // what no registry should say
	ErrCorrupt      = errors.New("bytes do not match their digest or size")
	ErrBlocked      = errors.New("registry is blocked") // by registries.conf
)

// Error is every failure of this package that has a kind.
type Error struct {
	Op     string // what was done, e.g. "fetch blob"
	Object string // to what, e.g. a reference or digest
	Kind   error  // one of the Err values
	Err    error  // the cause, one line
	Advice string // what the user may do, or empty
}

// Error returns "operation object: cause".
func (e *Error) Error() string { return e.Op + " " + e.Object + ": " + e.Err.Error() }

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Hint returns what the user may do about it, or "".
func (e *Error) Hint() string { return e.Advice }

// PlatformError says that an image is not available for a platform.
type PlatformError struct {
	Reference image.Reference
	Wanted    image.Platform
	Available []image.Platform
}

// Error lists the platforms there are.
func (e *PlatformError) Error() string { panic("BUG: not yet") }

// Hint says how to choose another.
func (e *PlatformError) Hint() string { panic("BUG: not yet") }

// Is makes every PlatformError an ErrPlatform.
func (e *PlatformError) Is(target error) bool { return target == ErrPlatform }
