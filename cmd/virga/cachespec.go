package main

import (
	"fmt"
	"slices"
	"strings"

	"virga/exchange"
)

// cachePlaces reads the values of --cache-from or --cache-to (option): a
// reference, or type=registry,ref=REF, or type=local with the directory as
// src= or dest= (dir); mode=min|max if it is to be written.
func (env *environment) cachePlaces(option, dir string, list []string) ([]exchange.CachePlace, error) {
	var out []exchange.CachePlace
	for _, s := range list {
		if !strings.Contains(s, "=") {
			s = "type=registry,ref=" + s
		}
		p, err := env.cachePlace(option, dir, s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (env *environment) cachePlace(option, dir, spec string) (p exchange.CachePlace, err error) {
	keys := []string{"type", "ref", dir}
	if dir == "dest" {
		keys = append(keys, "mode")
	}
	opts := map[string]string{}
	for part := range strings.SplitSeq(spec, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return p, usagef("%s %q: %q is not K=V", option, spec, part)
		}
		if !slices.Contains(keys, k) {
			return p, notOneOf(fmt.Sprintf("%s %q: the key", option, spec), k, keys)
		}
		opts[k] = v
	}
	switch m := opts["mode"]; m {
	case "", "min":
	case "max":
		p.All = true
	default:
		return p, notOneOf(fmt.Sprintf("%s %q: mode", option, spec), m, []string{"min", "max"})
	}
	switch t := opts["type"]; {
	case t == "registry" && opts["ref"] != "" && opts[dir] == "":
		p.Ref, err = parseReference(opts["ref"])
		if err == nil && p.Ref.Digest != "" && dir == "dest" {
			err = usagef("%s %q: a digest cannot be written to", option, spec)
		}
	case t == "local" && opts[dir] != "" && opts["ref"] == "":
		p.Dir = env.abs(opts[dir])
	case t != "registry" && t != "local":
		err = notOneOf(fmt.Sprintf("%s %q: type", option, spec), t, []string{"registry", "local"})
	default:
		err = usagef("%s %q: neither type=registry,ref=REF nor type=local,%s=DIR", option, spec, dir)
	}
	return p, err
}
