package build

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"virga/fakeroot"
	"virga/parser"
)

// copyKey is what a COPY depends on besides the state below it.
type copyKey struct {
	Op      string
	Sources string // digest of names, modes, owners and contents
	Dest    string
	Dir     bool
	Chown   string `json:",omitempty"`
	Chmod   string `json:",omitempty"`
	Parents bool   `json:",omitempty"`
}

// errNoContext is the answer to COPY in a build without context.
var errNoContext = errors.New("there is no build context to copy from: the Dockerfile came on standard input")

func (s *stage) runCopy(ctx context.Context, in *parser.Copy, step *Step) error {
	from, err := s.origin(ctx, in.From.Text)
	if err != nil {
		return err
	}
	return s.place(ctx, placement{op: "COPY", from: from, paths: &in.Paths, parents: in.Parents, text: in.String()}, step)
}

// placement is a COPY or ADD on its way.
type placement struct {
	op      string
	from    *origin
	paths   *parser.Paths
	parents bool
	text    string

	groups []group      // what find found
	files  []inlineFile // here-documents
	remote func(context.Context) ([]group, error)
	unpack bool // archives among local sources are unpacked
}

// group is what was found in one source.
type group struct {
	src     *source
	matches []match
	unpack  bool // archives are unpacked, not copied
}

// inlineFile is a heredoc of COPY or ADD.
type inlineFile struct{ Name, Content string }

func heredocFiles(docs []*parser.Heredoc) ([]inlineFile, error) {
	var out []inlineFile
	for _, d := range docs {
		if strings.Contains(d.Name, "/") || d.Name == "." || d.Name == ".." {
			return nil, fmt.Errorf("here-document name %q is no file name", d.Name)
		}
		out = append(out, inlineFile{d.Name, d.Body()})
	}
	return out, nil
}

// place carries out a placement.
func (s *stage) place(ctx context.Context, p placement, step *Step) (err error) {
	defer func() { err = errors.Join(err, p.from.close(ctx)) }()
	if p.files, err = heredocFiles(p.paths.Files); err != nil {
		return err
	}
	dest := p.paths.Dest.Text
	if len(p.paths.Sources) > 0 && p.remote == nil && p.from.key == "" && p.from.src == nil {
		return errNoContext
	}
	key := copyKey{
		Op: p.op, Dest: workdir(s.set.WorkingDir, dest), Parents: p.parents,
		Dir:   strings.HasSuffix(dest, "/") || dest == "." || strings.HasSuffix(dest, "/.") || len(p.paths.Sources)+len(p.files) > 1 || p.parents,
		Chown: p.paths.Chown.Text, Chmod: p.paths.Chmod.Text,
		Sources: fmt.Sprintf("%q %q", p.files, sourceArgs(p.paths.Exclude)),
	}
	o := op{step: step, text: p.text}
	if p.from.key != "" {
		alias := key
		alias.Sources += fmt.Sprintf(" %s %q", p.from.key, sourceArgs(p.paths.Sources))
		o.alias = alias
	}
	o.what = func(ctx context.Context) (any, error) {
		err := p.find(ctx)
		if err != nil {
			return nil, err
		}
		return key, p.complete(ctx, &key)
	}
	o.do = func(ctx context.Context, snap *snapshot) (fakeroot.Table, error) {
		return s.copyInto(ctx, &p, key, snap)
	}
	return s.apply(ctx, o)
}

// find looks the sources up.
func (p *placement) find(ctx context.Context) error {
	if p.remote != nil {
		groups, err := p.remote(ctx)
		p.groups = groups
		return err
	}
	if len(p.paths.Sources) == 0 {
		return nil
	}
	src, err := p.from.open(ctx)
	if err != nil {
		return err
	}
	find := src.find
	if p.parents {
		find = src.findParents
	}
	matches, err := findAll(ctx, find, p.paths.Sources, p.paths.Exclude)
	p.groups = []group{{src: src, matches: matches, unpack: p.unpack}}
	return err
}

// complete puts into the key what was found.
func (p *placement) complete(ctx context.Context, key *copyKey) error {
	n := len(p.files)
	for _, g := range p.groups {
		sum, err := g.src.digest(ctx, g.matches)
		if err != nil {
			return err
		}
		n += len(g.matches)
		key.Sources += fmt.Sprintf(" %x %v", sum, g.unpack)
	}
	key.Dir = key.Dir || n > 1
	if p.parents {
		key.Sources += fmt.Sprintf(" %q", sourceArgs(p.paths.Sources))
	}
	return nil
}

func sourceArgs(words []parser.Word) []string {
	var out []string
	for _, w := range words {
		out = append(out, w.Text)
	}
	return out
}

// copyInto writes what was found into the snapshot.
func (s *stage) copyInto(ctx context.Context, p *placement, key copyKey, snap *snapshot) (fakeroot.Table, error) {
	defer s.b.store.WriteBack()()
	c := &copier{dst: snap.root, when: s.b.Epoch, real: s.b.Chroot, placed: fakeroot.Table{}, links: map[[2]uint64]string{}}
	var err error
	if key.Chown != "" {
		if c.owner, err = snap.owner(key.Chown); err != nil {
			return nil, err
		}
	}
	if key.Chmod != "" {
		if c.chmod, c.parentMode, err = parseChmod(key.Chmod); err != nil {
			return nil, err
		}
	}
	if p.parents { // also where nothing matches
		if _, err := c.ensureDir(key.Dest); err != nil {
			return nil, err
		}
	}
	for _, g := range p.groups {
		c.src = g.src
		for i := range g.matches {
			if err := p.copyMatch(ctx, c, g, &g.matches[i], key); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range p.files {
		if err := c.inline(f, key.Dest, key.Dir); err != nil {
			return nil, err
		}
	}
	return c.placed, c.finishTimes()
}

func (p *placement) copyMatch(ctx context.Context, c *copier, g group, m *match, key copyKey) error {
	if g.unpack && !m.isDir() {
		done, err := c.extract(ctx, m, key.Dest)
		if done || err != nil {
			return err
		}
	}
	if !p.parents {
		return c.copyTo(ctx, m, key.Dest, key.Dir)
	}
	dir, err := c.ensureDir(key.Dest)
	if err != nil {
		return err
	}
	return c.items(ctx, m.items, dir)
}

// findAll lists all sources of an instruction.
func findAll(ctx context.Context, find func(context.Context, string, filter) ([]match, error), args, exclude []parser.Word) ([]match, error) {
	pm, err := newMatcher(sourceArgs(exclude))
	if err != nil {
		return nil, fmt.Errorf("--exclude: %w", err)
	}
	var out []match
	for _, a := range args {
		m, err := find(ctx, a.Text, filter{pm})
		if err != nil {
			return nil, err
		}
		out = append(out, m...)
	}
	return out, nil
}

// parseChmod reads --chmod: an octal mode that replaces permission bits, and
// is that of new parents, too; or chmod(1)'s symbolic form.
func parseChmod(arg string) (apply func(mode uint32, dir bool) uint32, parents uint32, err error) {
	if n, err := strconv.ParseUint(arg, 8, 32); err == nil && n <= 0o7777 {
		return func(uint32, bool) uint32 { return uint32(n) }, uint32(n), nil
	}
	clauses := strings.Split(arg, ",")
	for _, c := range clauses {
		if _, err := symbolic(c, 0, false); err != nil {
			return nil, 0, fmt.Errorf("--chmod=%s: %w", arg, err)
		}
	}
	return func(mode uint32, dir bool) uint32 {
		for _, c := range clauses {
			mode, _ = symbolic(c, mode, dir) // checked above
		}
		return mode
	}, 0, nil
}

// symbolic applies one clause of a symbolic mode, [ugoa]*([-+=][rwxXst]*)+.
func symbolic(clause string, mode uint32, dir bool) (uint32, error) {
	i := strings.IndexAny(clause, "+-=")
	if i < 0 || strings.Trim(clause[:i], "ugoa") != "" {
		return 0, fmt.Errorf("mode %q is neither octal nor symbolic", clause)
	}
	who := clause[:i]
	if who == "" || strings.Contains(who, "a") {
		who = "ugo"
	}
	for rest := clause[i:]; rest != ""; {
		action := rest[0]
		perms := rest[1:]
		if j := strings.IndexAny(perms, "+-="); j >= 0 {
			perms = perms[:j]
		}
		rest = rest[1+len(perms):]
		if strings.Trim(perms, "rwxXst") != "" {
			return 0, fmt.Errorf("mode %q: unknown permission", clause)
		}
		set, mask := permBits(who, perms, mode, dir)
		switch action {
		case '+':
			mode |= set
		case '-':
			mode &^= set
		case '=':
			mode = mode&^mask | set
		}
	}
	return mode, nil
}

func permBits(who, perms string, mode uint32, dir bool) (set, mask uint32) {
	for _, w := range who {
		shift := map[rune]uint32{'u': 6, 'g': 3, 'o': 0}[w]
		mask |= 7 << shift
		special := map[rune]uint32{'u': 0o4000, 'g': 0o2000, 'o': 0}[w]
		mask |= special
		for _, p := range perms {
			switch p {
			case 'r':
				set |= 4 << shift
			case 'w':
				set |= 2 << shift
			case 'x':
				set |= 1 << shift
			case 'X':
				if dir || mode&0o111 != 0 {
					set |= 1 << shift
				}
			case 's':
				set |= special
			case 't':
				set |= 0o1000
			}
		}
	}
	return set, mask
}
