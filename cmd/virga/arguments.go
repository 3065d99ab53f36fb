package main

import (
	"strings"

	"virga/image"
)

// bind is a --bind: a host path that a container sees.
type bind struct {
	source   string // absolute
	target   string // absolute, in the container
	readOnly bool
}

// parseBinds reads SRC[:DST[:ro]]. DST is SRC if it is left out. A relative
// SRC is relative to the working directory; DST has to be absolute.
//
// The site's binds come first.
func parseBinds(env *environment, list []string) ([]bind, error) {
	site, err := env.readSite()
	if err != nil {
		return nil, err
	}
	var out []bind
	for _, s := range append(site.bindsHere(), list...) {
		part := strings.Split(s, ":")
		if len(part) > 3 || part[0] == "" {
			return nil, usagef("--bind %q is not SRC[:DST[:ro]]", s)
		}
		b := bind{source: env.abs(part[0])}
		b.target = b.source
		if len(part) > 1 && part[1] != "" {
			b.target = part[1]
		}
		if !strings.HasPrefix(b.target, "/") {
			return nil, usagef("--bind %q: the destination %q is not absolute", s, b.target)
		}
		if len(part) == 3 {
			switch part[2] {
			case "ro":
				b.readOnly = true
			case "rw":
			default:
				return nil, usagef("--bind %q: %q is not ro or rw", s, part[2])
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// parsePairs reads K=V options named option.
func parsePairs(option string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usagef("%s %q is not K=V", option, s)
		}
		out[k] = v
	}
	return out, nil
}

// parseReference reads an image reference; a bad one is wrong usage.
func parseReference(s string) (image.Reference, error) {
	r, err := image.ParseReference(s)
	if err != nil {
		return r, &usageError{msg: err.Error(), hint: "a reference is [HOST[:PORT]/][PATH/]NAME[:TAG][@sha256:HEX]"}
	}
	return r, nil
}

func parseReferences(list []string) ([]image.Reference, error) {
	out := make([]image.Reference, len(list))
	for i, s := range list {
		var err error
		if out[i], err = parseReference(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}
