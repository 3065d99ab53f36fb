package image

import (
	"errors"
	"fmt"
	"regexp"
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

var (
	hostRE      = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$`)
	componentRE = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagRE       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

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
		if !tagRE.MatchString(r.Tag) {
			return bad("tag %q", r.Tag)
		}
	} else if r.Digest == "" {
		r.Tag = "latest"
	}
	r.Host, r.Path = splitHost(t)
	if !hostRE.MatchString(r.Host) {
		return bad("host %q", r.Host)
	}
	for c := range strings.SplitSeq(r.Path, "/") {
		if componentRE.MatchString(c) {
			continue
		}
		if componentRE.MatchString(strings.ToLower(c)) {
			return bad("repository names are lower case, %q is not", c)
		}
		return bad("path component %q", c)
	}
	if len(r.Host)+1+len(r.Path) > 255 {
		return bad("name is longer than 255 characters")
	}
	return r, nil
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
