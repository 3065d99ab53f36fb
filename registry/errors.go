package registry

import (
	"errors"
	"slices"
	"strings"

	"virga/image"
)

// The kinds of failure, for errors.Is.
var (
	ErrUnreachable  = errors.New("registry not reachable") // no connection, TLS, proxy, time-outs, 5xx to the end
	ErrUnauthorized = errors.New("not authorized")         // 401 and 403
	ErrNotFound     = errors.New("not found")              // no such image, tag or blob
	ErrRateLimited  = errors.New("too many requests")      // 429 to the end
	ErrPlatform     = errors.New("platform not available") // always a *PlatformError
	ErrUnsupported  = errors.New("not supported")          // schema 1, foreign layers, what is no image
	ErrProtocol     = errors.New("unexpected answer")      // what no registry should say
	ErrCorrupt      = errors.New("bytes do not match their digest or size")
	ErrBlocked      = errors.New("registry is blocked")  // by registries.conf
	ErrAmbiguous    = errors.New("ambiguous short name") // by registries.conf
)

// Error is a failure of one of the kinds above.
type Error struct {
	Op     string // what was done, e.g. "fetch blob"
	Object string // to what, e.g. a reference or digest
	Kind   error  // one of the Err values
	Err    error  // the cause, one line
	Advice string // what the user may do, or empty
}

// Error returns "operation object: cause", on one line.
func (e *Error) Error() string { return e.Op + " " + e.Object + ": " + oneLine(e.Err.Error()) }

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Hint returns what the user may do about it, or "".
func (e *Error) Hint() string { return e.Advice }

// PlatformError says that an image is not available for a platform.
type PlatformError struct {
	Reference image.Reference
	Wanted    image.Platform
	Available []image.Platform // in the registry's order, none if it does not say
}

// Error lists the platforms there are.
func (e *PlatformError) Error() string {
	s := "pull " + e.Reference.String() + ": not available for " + e.Wanted.String()
	if len(e.Available) == 0 {
		return s + ", and the image does not say for what it is"
	}
	names := make([]string, len(e.Available))
	for i, p := range e.Available {
		names[i] = p.String()
	}
	return s + ", only for " + strings.Join(slices.Compact(names), ", ")
}

// Hint says how to choose another.
func (e *PlatformError) Hint() string {
	if len(e.Available) == 0 {
		return "--arch yolo takes the image as it is"
	}
	return "choose one with --platform " + e.Available[0].String() + ", or --arch yolo to take what the registry gives"
}

// Is makes every PlatformError an ErrPlatform.
func (e *PlatformError) Is(target error) bool { return target == ErrPlatform }

// oneLine folds what a server said into printable text of bearable length.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
