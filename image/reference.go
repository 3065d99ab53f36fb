package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// DefaultHost is the registry of references that name none.
const DefaultHost = "docker.io"

// Reference is a parsed image reference in canonical form: Docker Hub's
// aliases are one host, its one-component repositories are in "library/", and
// the tag is "latest" when neither tag nor digest was given.
type Reference struct {
	Host   string        // registry host[:port], DefaultHost for Docker Hub
	Path   string        // repository, e.g. library/debian
	Tag    string        // empty only when Digest is set
	Digest digest.Digest // empty, or sha256:HEX
}

// ErrReference is wrapped by every error of ParseReference.
var ErrReference = errors.New("invalid image reference")

// ParseReference reads [HOST[:PORT]/][PATH/]NAME[:TAG][@sha256:HEX], or the
// file-name form of the same (% for /, + for :). The first component is a
// host if it holds a dot or a colon or is "localhost" (the rule of
// distribution/reference). Names are limited to 255 characters.
func ParseReference(s string) (Reference, error) {
	bad := func(format string, a ...any) (Reference, error) {
		return Reference{}, fmt.Errorf("%w %q: %s", ErrReference, s, fmt.Sprintf(format, a...))
	}
	t := strings.NewReplacer("%", "/", "+", ":").Replace(s)
	if t == "" {
		return bad("it is empty")
	}
	var r Reference
	if name, d, ok := strings.Cut(t, "@"); ok {
		r.Digest = digest.Digest(d)
		if err := r.Digest.Validate(); err != nil || r.Digest.Algorithm() != digest.SHA256 {
			return bad("digest %q is not sha256: and 64 hexadecimal digits", d)
		}
		t = name
	}
	if i := strings.LastIndexByte(t, ':'); i > strings.LastIndexByte(t, '/') {
		r.Tag, t = t[i+1:], t[:i]
		if !validTag(r.Tag) {
			return bad("tag %q", r.Tag)
		}
	} else if r.Digest == "" {
		r.Tag = "latest"
	}
	r.Host, r.Path = splitHost(t)
	if !validHost(r.Host) {
		return bad("host %q", r.Host)
	}
	for c := range strings.SplitSeq(r.Path, "/") {
		if validComponent(c) {
			continue
		}
		if validComponent(strings.ToLower(c)) {
			return bad("repository names are lower case, %q is not", c)
		}
		return bad("path component %q", c)
	}
	if len(r.Host)+1+len(r.Path) > 255 {
		return bad("name is longer than 255 characters")
	}
	return r, nil
}

// The grammar is that of distribution/reference. It is matched by hand: to
// compile regular expressions costs every start of the program.

func lower(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func alnum(c byte) bool { return lower(c) || 'A' <= c && c <= 'Z' }

// validTag: [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
func validTag(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alnum(c) && c != '_' && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// validComponent: runs of [a-z0-9], joined by one dot, one or two
// underscores, or any number of hyphens.
func validComponent(s string) bool {
	for {
		n := 0
		for n < len(s) && lower(s[n]) {
			n++
		}
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		switch {
		case s[0] == '.':
			s = s[1:]
		case strings.HasPrefix(s, "__"):
			s = s[2:]
		case s[0] == '_':
			s = s[1:]
		case s[0] == '-':
			s = strings.TrimLeft(s, "-")
		default:
			return false
		}
	}
}

// validHost: a DNS name or an address (of IPv6 in brackets), and a port.
func validHost(s string) bool {
	name := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		name = s[:i]
		if port := s[i+1:]; port == "" || strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	if in, ok := strings.CutPrefix(name, "["); ok {
		in, ok = strings.CutSuffix(in, "]")
		return ok && in != "" && strings.Trim(in, "0123456789abcdefABCDEF:") == ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || !alnum(label[0]) || !alnum(label[len(label)-1]) {
			return false
		}
		for i := range len(label) {
			if !alnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

func splitHost(name string) (host, path string) {
	host, path, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, path = DefaultHost, name
	}
	switch strings.TrimSuffix(host, ":443") {
	case "index.docker.io", "registry-1.docker.io", DefaultHost:
		host = DefaultHost
		if !strings.Contains(path, "/") {
			path = "library/" + path
		}
	}
	return host, path
}

// String returns the shortest spelling: no host and no library/ for Docker
// Hub, always the tag.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Name returns the reference without tag and digest, in its shortest spelling.
func (r Reference) Name() string {
	if r.Host != DefaultHost {
		return r.Host + "/" + r.Path
	}
	return strings.TrimPrefix(r.Path, "library/")
}

// Full returns the canonical spelling with host and path.
func (r Reference) Full() string {
	s := r.Host + "/" + r.Path
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// FileName returns String with / as % and : as +, the name of the image's
// files in storage.
func (r Reference) FileName() string {
	return strings.NewReplacer("/", "%", ":", "+").Replace(r.String())
}
