package build

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"virga/layer"
	"virga/parser"
)

// runAdd is COPY from the context that also fetches URLs and git
// repositories, and unpacks local archives.
func (s *stage) runAdd(ctx context.Context, in *parser.Add, step *Step) error {
	from, err := s.origin(ctx, "")
	if err != nil {
		return err
	}
	p := placement{op: "ADD", from: from, paths: &in.Paths, text: in.String(), unpack: in.Unpack == nil || *in.Unpack}
	for _, w := range in.Sources {
		if isRemote(w.Text) {
			p.remote = func(ctx context.Context) ([]group, error) { return s.remoteGroups(ctx, in, &p) }
		} else if from.src == nil {
			return errNoContext
		}
	}
	if in.Checksum.Text != "" && (p.remote == nil || len(in.Sources) != 1) {
		return errors.New("--checksum needs exactly one source, a URL")
	}
	return s.place(ctx, p, step)
}

// remoteGroups finds the sources of an ADD of which at least one is remote.
func (s *stage) remoteGroups(ctx context.Context, in *parser.Add, p *placement) ([]group, error) {
	var out []group
	for _, w := range in.Sources {
		var src *source
		var err error
		arg, unpack := w.Text, in.Unpack != nil && *in.Unpack
		switch {
		case isGit(w.Text):
			src, err = s.b.clone(ctx, w.Text, in.KeepGitDir != nil && *in.KeepGitDir)
			arg, unpack = ".", false
		case isRemote(w.Text):
			src, arg, err = s.b.download(ctx, w.Text, in.Checksum.Text)
		default:
			src, err = p.from.open(ctx)
			unpack = p.unpack
		}
		if err != nil {
			return nil, err
		}
		matches, err := findAll(ctx, src.find, []parser.Word{{Text: arg}}, in.Exclude)
		if err != nil {
			return nil, err
		}
		out = append(out, group{src: src, matches: matches, unpack: unpack})
	}
	return out, nil
}

func isRemote(arg string) bool {
	return strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") || isGit(arg)
}

// isGit tells repository addresses from file addresses, as Docker does.
func isGit(arg string) bool {
	for _, p := range []string{"git://", "git@", "ssh://"} {
		if strings.HasPrefix(arg, p) {
			return true
		}
	}
	base, _, _ := strings.Cut(arg, "#")
	return strings.HasPrefix(base, "http") && strings.HasSuffix(base, ".git")
}

// extract unpacks m below dest if it is a tar archive, compressed or not; it
// reports false if it is none.
func (c *copier) extract(ctx context.Context, m *match, dest string) (bool, error) {
	f, err := c.src.root.OpenFile(m.items[0].src, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, fmt.Errorf("open %q: %w", m.name, plain(err))
	}
	defer f.Close()
	if !m.items[0].is(unix.S_IFREG) || !isArchive(f) {
		return false, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, fmt.Errorf("read %q: %w", m.name, err)
	}
	plain := *c
	plain.parentMode = 0 // --chmod is for what is copied
	if _, err := plain.ensureDir(dest); err != nil {
		return false, err
	}
	u, err := layer.ExtractTar(ctx, c.dst.Name(), f, layer.ExtractOptions{Into: dest, KeepDev: true, KeepOwners: c.real, AllOwners: true})
	if err != nil {
		return false, fmt.Errorf("unpack %q: %w", m.name, err)
	}
	for p, rec := range u.Owners {
		if c.owner != nil {
			rec.UID, rec.GID = c.owner.UID, c.owner.GID
		}
		c.placed[path.Clean(p)] = rec
	}
	return true, nil
}

// isArchive reports whether f starts like a tar archive, perhaps compressed.
func isArchive(f io.Reader) bool {
	r, _, err := layer.Decompress(f)
	if err != nil {
		return false
	}
	defer r.Close()
	_, err = tar.NewReader(r).Next()
	return err == nil
}
