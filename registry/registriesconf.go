package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"virga/image"
)

// RegistriesConf is containers-registries.conf(5): mirrors, relocated, blocked
// and insecure registries, short-name aliases, and a search list as far as it
// leaves no choice. A nil one is empty.
type RegistriesConf struct {
	tables  map[string]registryTable // by prefix
	aliases map[string]string
	search  []string // unqualified-search-registries
	from    string   // the file that says so
}

// registryTable is a [[registry]] table.
type registryTable struct {
	Prefix       string        `toml:"prefix"`
	Location     string        `toml:"location"`
	Insecure     bool          `toml:"insecure"`
	Blocked      bool          `toml:"blocked"`
	ByDigestOnly bool          `toml:"mirror-by-digest-only"`
	Mirrors      []mirrorTable `toml:"mirror"`

	file string // where it stands
}

type mirrorTable struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure"`
	Pull     string `toml:"pull-from-mirror"`
}

// registriesFile is one file, of version 2 or of the old version 1.
type registriesFile struct {
	Registry []registryTable   `toml:"registry"`
	Aliases  map[string]string `toml:"aliases"`
	Search   []string          `toml:"unqualified-search-registries"`
	Old      struct {
		Insecure struct{ Registries []string } `toml:"insecure"`
		Block    struct{ Registries []string } `toml:"block"`
		Search   struct{ Registries []string } `toml:"search"`
	} `toml:"registries"`
}

// LoadRegistriesConf reads file and then the *.conf of each drop-in directory
// in order of their names. Later tables replace earlier ones of the same
// prefix, later aliases earlier ones; an empty alias removes one; the last
// search list counts. What does not exist is empty.
func LoadRegistriesConf(file string, dropIns ...string) (*RegistriesConf, error) {
	files := []string{file}
	for _, dir := range dropIns {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read registries configuration: %w", err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".conf" {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	r := &RegistriesConf{tables: map[string]registryTable{}, aliases: map[string]string{}}
	for _, f := range files {
		if err := r.add(f); err != nil {
			return nil, fmt.Errorf("read registries configuration %q: %w", f, err)
		}
	}
	return r, nil
}

func (r *RegistriesConf) add(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || path == "" {
		return nil
	}
	if err != nil {
		return err
	}
	var f registriesFile
	if _, err := toml.Decode(string(b), &f); err != nil {
		return err
	}
	for _, h := range f.Old.Insecure.Registries {
		f.Registry = append(f.Registry, registryTable{Location: h, Insecure: true})
	}
	for _, h := range f.Old.Block.Registries {
		f.Registry = append(f.Registry, registryTable{Location: h, Blocked: true})
	}
	for _, t := range f.Registry {
		if err := t.normalize(); err != nil {
			return err
		}
		t.file = path
		r.tables[t.Prefix] = t
	}
	if list := append(f.Search, f.Old.Search.Registries...); len(list) > 0 {
		r.search, r.from = list, path
	}
	maps.Copy(r.aliases, f.Aliases)
	maps.DeleteFunc(r.aliases, func(_, to string) bool { return to == "" })
	return nil
}

func (t *registryTable) normalize() error {
	t.Prefix, t.Location = strings.TrimSuffix(t.Prefix, "/"), strings.TrimSuffix(t.Location, "/")
	t.Prefix = cmp.Or(t.Prefix, t.Location)
	switch {
	case t.Prefix == "":
		return errors.New("a [[registry]] has neither prefix nor location")
	case strings.HasPrefix(t.Prefix, "*.") && strings.ContainsAny(t.Prefix, "/:@"), strings.Contains(strings.TrimPrefix(t.Prefix, "*."), "*"):
		return fmt.Errorf("prefix %q: a wildcard is *.HOST", t.Prefix)
	}
	for i, m := range t.Mirrors {
		t.Mirrors[i].Location = strings.TrimSuffix(m.Location, "/")
		if m.Location == "" {
			return fmt.Errorf("a mirror of %q has no location", t.Prefix)
		}
		if !slices.Contains([]string{"", "all", "digest-only", "tag-only"}, m.Pull) {
			return fmt.Errorf("mirror %q: pull-from-mirror %q", m.Location, m.Pull)
		}
	}
	return nil
}

// matches reports whether the table is for a full reference: the prefix is
// followed by the end or a separator. The colon of a port is none.
func (t *registryTable) matches(full string) bool {
	if sub, ok := strings.CutPrefix(t.Prefix, "*"); ok {
		host, _, _ := strings.Cut(full, "/")
		return strings.HasSuffix(hostname(host), sub)
	}
	rest, ok := strings.CutPrefix(full, t.Prefix)
	if !ok || rest == "" {
		return ok
	}
	return rest[0] == '/' || rest[0] == '@' || rest[0] == ':' && strings.Contains(t.Prefix, "/")
}

// find returns the table of the longest matching prefix.
func (r *RegistriesConf) find(full string) (best registryTable, ok bool) {
	if r == nil {
		return best, false
	}
	for _, t := range r.tables {
		if t.matches(full) && len(t.Prefix) > len(best.Prefix) {
			best, ok = t, true
		}
	}
	return best, ok
}

// insecure reports whether a registry as a whole is declared insecure.
func (r *RegistriesConf) insecure(host string) bool {
	t, ok := r.find(host)
	return ok && t.Insecure
}

// endpoints lists where ref may be pulled from, mirrors first.
func (r *RegistriesConf) endpoints(ref image.Reference) ([]endpoint, error) {
	t, ok := r.find(ref.Full())
	if !ok {
		return []endpoint{{host: ref.Host, repo: ref.Path}}, nil
	}
	if err := t.blocks(ref); err != nil {
		return nil, err
	}
	var out []endpoint
	for _, m := range t.Mirrors {
		byDigest := ref.Digest != ""
		if t.ByDigestOnly && !byDigest || m.Pull == "digest-only" && !byDigest || m.Pull == "tag-only" && byDigest {
			continue
		}
		e := t.relocate(ref, m.Location)
		e.insecure, e.mirror = m.Insecure, true
		out = append(out, e)
	}
	e := t.relocate(ref, t.Location)
	e.insecure = t.Insecure
	return append(out, e), nil
}

// pushEndpoint is where ref is pushed to: what it says. Mirrors and relocation
// are for pulling alone.
func (r *RegistriesConf) pushEndpoint(ref image.Reference) (endpoint, error) {
	t, _ := r.find(ref.Full())
	return endpoint{host: ref.Host, repo: ref.Path, insecure: t.Insecure}, t.blocks(ref)
}

func (t *registryTable) blocks(ref image.Reference) error {
	if !t.Blocked {
		return nil
	}
	return &Error{
		Op: "use image", Object: ref.String(), Kind: ErrBlocked, Advice: "this is the site's choice: " + t.file,
		Err: fmt.Errorf("registry %q is blocked", t.Prefix),
	}
}

// relocate replaces the prefix of ref's name by location. A wildcard prefix
// and an empty location replace nothing.
func (t *registryTable) relocate(ref image.Reference, location string) endpoint {
	name := ref.Host + "/" + ref.Path
	if location == "" {
		return endpoint{host: ref.Host, repo: ref.Path}
	}
	rest := ""
	if strings.HasPrefix(t.Prefix, "*") {
		rest = "/" + ref.Path
	} else if len(t.Prefix) < len(name) {
		rest = name[len(t.Prefix):]
	} else {
		location = withoutTag(location)
	}
	host, path, _ := strings.Cut(location+rest, "/")
	return endpoint{host: ServerHost(host), repo: path}
}

func withoutTag(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') && strings.Contains(name, "/") {
		name = name[:i]
	}
	return name
}

// Qualify completes a name that says no registry: by its alias, else by the
// search list. Any other name, well formed or not, is returned as it is. Apply
// it to what users want to pull, before image.ParseReference.
//
// A list of several registries is not tried out one by one: whoever takes the
// name in the first would be believed. The name is Docker Hub's then if that
// is in the list, and refused if it is not.
func (r *RegistriesConf) Qualify(name string) (string, error) {
	if r == nil {
		return name, nil
	}
	short, _, _ := strings.Cut(name, "@")
	if i := strings.LastIndexByte(short, ':'); i > strings.LastIndexByte(short, '/') {
		short = short[:i]
	}
	if full, ok := r.aliases[short]; ok {
		return full + name[len(short):], nil
	}
	first, _, deep := strings.Cut(short, "/")
	switch {
	case short == "", deep && (strings.ContainsAny(first, ".:") || first == "localhost"), strings.ContainsAny(short, "%+"), len(r.search) == 0:
		return name, nil
	case len(r.search) == 1:
		return r.search[0] + "/" + name, nil
	case slices.ContainsFunc(r.search, func(s string) bool { return ServerHost(s) == hubHost }):
		return name, nil
	}
	return "", &Error{
		Op: "find the registry of", Object: name, Kind: ErrAmbiguous,
		Err:    fmt.Errorf("it may be in any of %s (%s)", strings.Join(r.search, ", "), r.from),
		Advice: "write the name in full: " + r.search[0] + "/" + name,
	}
}
