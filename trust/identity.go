package trust

import (
	"fmt"
	"strings"

	"virga/image"
)

// signedIdentity says which name must stand in a signature
// (containers-policy.json(5)). nil is matchRepoDigestOrExact.
type signedIdentity struct {
	Type             string `json:"type"`
	DockerReference  string `json:"dockerReference"`
	DockerRepository string `json:"dockerRepository"`
	Prefix           string `json:"prefix"`
	SignedPrefix     string `json:"signedPrefix"`
}

func (s *signedIdentity) check() error {
	bad := func(name, value string) error { return fmt.Errorf("signedIdentity %s: %s is %q", s.Type, name, value) }
	switch {
	case s == nil, s.Type == "matchExact", s.Type == "matchRepoDigestOrExact", s.Type == "matchRepository":
		return nil
	case s.Type == "exactReference":
		if r, ok := parseSigned(s.DockerReference); !ok || r.Tag == "" && r.Digest == "" {
			return bad("dockerReference", s.DockerReference)
		}
	case s.Type == "exactRepository":
		if r, ok := parseSigned(s.DockerRepository); !ok || r.Tag != "" || r.Digest != "" {
			return bad("dockerRepository", s.DockerRepository)
		}
	case s.Type == "remapIdentity":
		switch {
		case s.Prefix == "" || strings.HasSuffix(s.Prefix, "/"):
			return bad("prefix", s.Prefix)
		case s.SignedPrefix == "" || strings.HasSuffix(s.SignedPrefix, "/"):
			return bad("signedPrefix", s.SignedPrefix)
		}
	default:
		return fmt.Errorf("signedIdentity: type %q", s.Type)
	}
	return nil
}

// parseSigned reads a name without making up a tag that it lacks.
func parseSigned(s string) (image.Reference, bool) {
	r, err := image.ParseReference(s)
	if r.Digest == "" && strings.LastIndexByte(s, ':') <= strings.LastIndexByte(s, '/') {
		r.Tag = ""
	}
	return r, err == nil
}

// accepts reports whether a signature that names signed may stand for ref.
func (s *signedIdentity) accepts(signed string, ref image.Reference) bool {
	got, ok := parseSigned(signed)
	if !ok {
		return false
	}
	kind := "matchRepoDigestOrExact"
	if s != nil {
		kind = s.Type
	}
	switch kind {
	case "matchExact":
		return sameName(got, ref)
	case "matchRepoDigestOrExact":
		return digestOrSame(got, ref)
	case "matchRepository":
		return sameRepository(got, ref)
	case "exactReference":
		want, _ := parseSigned(s.DockerReference)
		return sameName(got, want)
	case "exactRepository":
		want, _ := parseSigned(s.DockerRepository)
		return sameRepository(got, want)
	case "remapIdentity":
		mapped, ok := s.remap(ref)
		return ok && digestOrSame(got, mapped)
	}
	return false
}

func sameRepository(a, b image.Reference) bool { return a.Host == b.Host && a.Path == b.Path }

// sameName compares two references of which neither is a mere repository.
func sameName(got, want image.Reference) bool {
	return sameRepository(got, want) && got.Tag == want.Tag && got.Digest == want.Digest && (got.Tag != "" || got.Digest != "")
}

// digestOrSame: who pulls by digest knows what he gets; else the tag must be
// the one that was signed.
func digestOrSame(got, want image.Reference) bool {
	if want.Digest != "" {
		return sameRepository(got, want)
	}
	return sameName(got, want)
}

// remap replaces the prefix of a name.
func (s *signedIdentity) remap(ref image.Reference) (image.Reference, bool) {
	rest, ok := strings.CutPrefix(ref.Host+"/"+ref.Path, s.Prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return ref, true
	}
	to, err := image.ParseReference(s.SignedPrefix + rest)
	to.Tag, to.Digest = ref.Tag, ref.Digest
	return to, err == nil
}
