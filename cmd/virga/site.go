package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// siteFile is where a site puts its defaults, unless $VIRGA_SITE_FILE names
// another file. virga-config(1) describes it.
const siteFile = "/etc/virga/virga.conf"

// site is what the site's file says.
type site struct {
	file    string // "" if there is none
	storage string // template
	binds   []string
}

// readSite reads lines KEY = VALUE; empty lines and those that begin with # do
// not count.
func (env *environment) readSite() (site, error) {
	name := env.getenv("VIRGA_SITE_FILE")
	if name == "" {
		name = env.siteFile
	}
	if name == "" {
		return site{}, nil
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && name == env.siteFile {
		return site{}, nil
	}
	if err != nil {
		return site{}, fmt.Errorf("site file: %w", err)
	}
	s := site{file: name}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok || value == "":
			return s, fmt.Errorf("site file %q: line %d is not KEY = VALUE", name, n)
		case key == "storage":
			s.storage = value
		case key == "bind":
			s.binds = append(s.binds, value)
		default:
			return s, fmt.Errorf("site file %q: line %d: unknown key %q", name, n, key)
		}
	}
	return s, nil
}

// storageDir replaces $USER and other variables in the template.
func (s site) storageDir(env *environment) (string, error) {
	var missing string
	dir := os.Expand(s.storage, func(name string) string {
		v := env.getenv(name)
		if name == "USER" {
			v, _ = env.userName()
		}
		if v == "" {
			missing = name
		}
		return v
	})
	if missing != "" {
		return "", fmt.Errorf("site file %q: storage: $%s is not set", s.file, missing)
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("site file %q: storage %q is not an absolute path", s.file, dir)
	}
	return filepath.Clean(dir), nil
}

// bindsHere are the site's binds whose source exists on this machine.
func (s site) bindsHere() []string {
	var out []string
	for _, b := range s.binds {
		src, _, _ := strings.Cut(b, ":")
		if _, err := os.Stat(src); err == nil {
			out = append(out, b)
		}
	}
	return out
}
